"""What one worker finds out about users' modules, the others are told."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.executor_contract import ends, starts
from tests.execute.sweeps import local_executor, make_job
from tuner.records import EpochsFinished, TrialEvent
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec

CHANGING = '''
"""Changes while it trains, in the first process that sees a file."""

import os
from pathlib import Path

from torch import nn

HERE = Path(__file__).parent


def has_changed():
    if not (HERE / "late").exists():
        return False
    try:
        (HERE / "taken").touch(exist_ok=False)
        (HERE / "taken").write_text(str(os.getpid()))
    except FileExistsError:
        pass
    return (HERE / "taken").read_text() == str(os.getpid())


class Changing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1)) * (2.0 if has_changed() else 1.0)


def build(params, data):
    return Changing()
'''


@pytest.mark.slow
def test_what_one_worker_finds_to_differ_is_fused_by_none(tmp_path: Path) -> None:
    """Of another size, too; what is found while it trains there begins again as written."""
    (tmp_path / "changing.py").write_text(CHANGING)
    spec = SweepSpec(
        study="small", data=DataSpec(source="sklearn/digits"), model=ModelSpec(kind="changing.py:build"),
        training=TrainingSpec(epochs=1000, fuse="verify"), root=str(tmp_path),
    )  # fmt: skip
    jobs = [make_job(tmp_path / "small", trial, to_epoch=1000, batch_size=256 << trial) for trial in (0, 1)]
    found: list[TrialEvent] = []
    with closing(local_executor(spec, tmp_path / "small")) as executor:
        executor.submit(jobs)
        while {event.trial for event in starts(found) if event.anew} != {0, 1} and not ends(found):
            found += executor.events(1.0)
            recorded = [e.trial for e in found if isinstance(e, EpochsFinished) and e.results[-1].epoch >= 8]
            if {*recorded} == {0, 1}:  # their steps are replayed, and see nothing more of the module's code
                (tmp_path / "late").touch()
    assert {(event.trial, event.path, event.anew) for event in starts(found)} == {
        (0, "vmap", False), (1, "vmap", False), (0, "plain", True), (1, "plain", True),
    }  # fmt: skip
