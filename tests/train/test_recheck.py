"""What a module does later than the proof looked is found, and the trial is repeated as written."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import per_trial
from tests.train.trials import plan_of
from tuner.execute.runner import CohortRunner
from tuner.records import EpochsFinished, TrialEvent, TrialFinished, TrialStarted
from tuner.train.programs.modules.grouped import GroupedProgram
from tuner.train.programs.modules.recheck import RowsDifferError
from tuner.train.programs.modules.vmapped import ModuleProgram

FILE = "tests/train/user_modules.py"


@pytest.fixture
def switch() -> Iterator[list[bool]]:
    task = make_task(model=f"{FILE}:switched")
    module = task.member(jobs(Path(), [{}])[0]).make_module()
    found: list[bool] = vars(importlib.import_module(type(module).__module__))["SWITCH"]
    found[0] = False
    yield found
    found[0] = False


@pytest.mark.slow
def test_a_module_that_changes_later_is_found_out_and_its_trial_repeated_as_written(
    tmp_path: Path, switch: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(model=f"{FILE}:switched", fuse="verify", epochs=4, batch_size=16)
    runner = CohortRunner(task, worker="test", too_wide=lambda width: None)
    events: list[TrialEvent] = []
    for some in runner.train(jobs(tmp_path / "found", per_trial(2), to_epoch=4)):
        events += some
        if any(isinstance(e, EpochsFinished) and e.results[-1].epoch == 2 for e in some):
            switch[0] = True
    started = [(e.path, e.anew, e.from_epoch) for e in events if isinstance(e, TrialStarted)]
    assert started == [("vmap", False, 0)] * 2 + [("plain", True, 0)] * 2
    finished = [e for e in events if isinstance(e, TrialFinished)]
    assert len(finished) == 2
    why = "it trains layer.weight otherwise than its own code does"
    assert [e.facts["not_fused"] for e in finished] == [why] * 2
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and why in r.getMessage()]
    off = make_task(model=f"{FILE}:switched", fuse="off", epochs=4, batch_size=16)
    expected = curves(run_cohort(off, jobs(tmp_path / "off", per_trial(2), to_epoch=4)))
    assert {t: figures(c[-4:]) for t, c in curves(events).items()} == {t: figures(c) for t, c in expected.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("two_layers", {"weight_decay": 0.01, "l1": 0.001, "clip_norm": 0.1}),
        ("normed", {"averaging": "ema", "optimizer": "adam"}),
        ("residual", {"mixup": 0.3, "augment": 0.5, "label_smoothing": 0.1}),
        ("frozen", {"optimizer": "adamw", "weight_decay": 0.1}),
        ("tied", {"max_norm": 0.5}),
        ("normed", {"train_last": 1}),
    ],
)
def test_what_is_the_same_passes_all_checks_and_keeps_its_bits(
    name: str, training: dict[str, Any], tmp_path: Path
) -> None:
    """Dropout included: a check draws the masks of the stack."""
    runs = {}
    for fuse in ("auto", "verify"):
        task = make_task(model=f"{FILE}:{name}", fuse=fuse, **training)
        events = run_cohort(task, jobs(tmp_path / fuse, per_trial(3)))
        assert {e.path for e in events if isinstance(e, TrialStarted)} == {"vmap"}
        runs[fuse] = {trial: figures(curve) for trial, curve in curves(events).items()}
    assert runs["auto"] == runs["verify"]


@pytest.mark.parametrize("what", ["parameters", "outputs"])
def test_a_row_that_is_wrong_is_found(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(model=f"{FILE}:two_layers", fuse="verify")
    members = [task.member(job) for job in jobs(tmp_path, per_trial(2))]
    program = task.program(members)
    assert isinstance(program, GroupedProgram)
    plan = plan_of(members, num_train=300)
    if what == "outputs":
        program.train_steps(plan, 0, 10)
        right = ModuleProgram.outputs
        monkeypatch.setattr(ModuleProgram, "outputs", lambda self, inputs: 1.1 * right(self, inputs))
        with pytest.raises(RowsDifferError, match="gives other outputs"):
            program.outputs(digits().dev.inputs)
        return
    right_step = ModuleProgram.train_steps

    def wrong(self: ModuleProgram, plan: Any, first: int, last: int) -> None:
        right_step(self, plan, first, last)
        with torch.no_grad():
            self.g_KP.mul_(1.05)

    monkeypatch.setattr(ModuleProgram, "train_steps", wrong)
    with pytest.raises(RowsDifferError, match=r"trains 1\.weight otherwise"):
        program.train_steps(plan, 0, 10)
