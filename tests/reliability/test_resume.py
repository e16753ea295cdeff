"""What a run that is resumed, or a sweep file that has changed, must not do to the results."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.depth import but_deep
from tests.reliability.rig import Rig, states
from tests.reliability.test_signals import SLOW
from tuner.records import TrialState

pytestmark = pytest.mark.slow

MODULE = """
from torch import nn

def build(params, data):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, data.num_outputs))
"""


SEARCHES: dict[str, dict[str, Any]] = {
    "tpe": {"search": {"trials": 12, "strategy": "tpe"}, "training": {"epochs": 3, "batch_size": 128, "fuse": "off"}},
    # How much thought a proposal is worth depends on the seconds of training: here on any machine enough for all of it.
    "priority": {
        "model": {"kind": SLOW["model"]["kind"], "slow": 0.2},
        "space": {"learning_rate": {"low": 1e-3, "high": 0.1}, "weight_decay": {"low": 1e-5, "high": 1e-2}},
        "search": {"trials": 10, "strategy": "priority"},
        "training": {"epochs": 2, "batch_size": 256, "fuse": "off"},
    },
}


@pytest.mark.parametrize("strategy", but_deep(SEARCHES, "priority"))
def test_a_search_that_is_stopped_and_resumed_proposes_what_an_unbroken_one_does(
    quick_rigs: Callable[[str], Rig], strategy: str
) -> None:
    unbroken, broken = quick_rigs("unbroken"), quick_rigs("broken")
    for rig in (unbroken, broken):
        rig.sweep(**SEARCHES[strategy])
    unbroken.resume()
    for fault in ("checkpoint_written:5", "checkpoint_replaced:3", "weights_written:1"):
        assert broken.start(fault=fault).wait() == -9
        broken.audit()
    broken.resume()
    broken.audit(like=unbroken)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"data": {"source": "sklearn/wine"}}, "data.source: was sklearn/digits, is sklearn/wine"),
        ({"objective": {"metric": "loss"}}, "is to maximize, the sweep file to minimize"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 1.0}}}, "space.learning_rate: was 0.001 to 1"),
    ],
    ids=["data", "objective", "space"],
)
def test_a_sweep_file_that_is_of_another_study_is_refused_with_what_differs(
    quick_rig: Rig, change: dict[str, Any], line: str
) -> None:
    small = {"search": {"trials": 3, "strategy": "random"}}
    quick_rig.sweep(**small)
    quick_rig.resume()
    before = _files(quick_rig)
    quick_rig.sweep(**small, **change)
    run = quick_rig.start()
    assert run.wait() == 4
    assert line in run.err
    after = _files(quick_rig)
    assert {path.name for path in after.keys() ^ before.keys()} <= {"study.db-shm", "study.db-wal"}
    changed = {path.name for path in after.keys() & before.keys() if after[path] != before[path]}
    assert changed <= {"study.db"}  # the lease was taken and given back


def test_a_space_that_only_grew_is_gone_on_with(quick_rig: Rig) -> None:
    quick_rig.sweep(space={"learning_rate": {"low": 1e-2, "high": 0.1}}, search={"trials": 3, "strategy": "random"})
    quick_rig.resume()
    quick_rig.sweep(space={"learning_rate": {"low": 1e-3, "high": 1.0}}, search={"trials": 6, "strategy": "random"})
    quick_rig.resume()
    quick_rig.audit(complete=True)


def test_other_versions_than_those_of_the_study_are_warned_of(quick_rig: Rig) -> None:
    quick_rig.sweep(search={"trials": 3, "strategy": "random"})
    quick_rig.resume()
    assert "since this study was run last" not in quick_rig.last.err
    with closing(sqlite3.connect(quick_rig.paths.database)) as connection, connection:
        ((key, text),) = connection.execute(
            "SELECT key, value_json FROM study_user_attributes WHERE key LIKE '%versions'"
        )
        text = re.sub(r'"torch": ?"[^"]*"', '"torch": "1.13.1"', text)
        connection.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (text, key))
    run = quick_rig.resume("--trials", "4")
    assert "torch was 1.13.1, is " in " ".join(run.err.split())


@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_a_module_of_another_shape_is_said_when_its_trials_are_to_go_on(quick_rig: Rig, fuse: str) -> None:
    module = quick_rig.folder / "model.py"
    module.write_text(MODULE.format(width=16))
    quick_rig.sweep(
        model="model.py:build",
        space={"learning_rate": {"low": 1e-3, "high": 0.1}},
        training={"epochs": 3, "batch_size": 128, "fuse": fuse},
        search={"trials": 2, "strategy": "random"},
    )
    assert quick_rig.start(fault="checkpoint_replaced:1").wait() == -9
    reached = quick_rig.checkpoints()
    module.write_text(MODULE.format(width=24))
    run = quick_rig.start()
    assert run.wait() == 4
    said = " ".join(run.err.split())
    assert "your code has changed (model.py)" in said
    assert re.search(r"trial \d cannot go on: its checkpoint does not fit model.py:build.*was of shape.*--fresh", said)
    assert TrialState.FAILED not in states(quick_rig)
    assert quick_rig.checkpoints() == reached
    module.write_text(MODULE.format(width=16))
    quick_rig.resume()
    assert quick_rig.last.went_on
    quick_rig.audit(complete=True)


OWN_MODULE = {
    "model": "model.py:build",
    "space": {"learning_rate": {"low": 1e-3, "high": 0.1}},
    "training": {"epochs": 2, "batch_size": 128},
    "search": {"trials": 3, "strategy": "random"},
}


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        pytest.param(("test", "sweep.yaml"), "module", marks=pytest.mark.slow),
        pytest.param(("best", "sweep.yaml", "--verify"), "weights", marks=pytest.mark.slow),
        pytest.param(("best", "sweep.yaml", "--export", "winner"), "module", marks=pytest.mark.slow),
        pytest.param(("best", "sweep.yaml", "--export", "winner.onnx"), "weights", marks=pytest.mark.deep),
        pytest.param(("best", "sweep.yaml", "--verify"), "module", marks=pytest.mark.deep),
        pytest.param(("test", "sweep.yaml"), "weights", marks=pytest.mark.deep),
    ],
)
def test_weights_that_no_longer_fit_are_said_in_a_line_and_nothing_is_written(
    quick_rig: Rig, arguments: tuple[str, ...], changed: str
) -> None:
    rig = quick_rig
    (rig.folder / "model.py").write_text(MODULE.format(width=16))
    rig.sweep(**OWN_MODULE)
    rig.resume()
    if changed == "module":
        (rig.folder / "model.py").write_text(MODULE.format(width=24))
    else:
        for file in rig.paths.trials.glob("*/weights.pt"):
            torch.save({"1.weight": torch.zeros(3, 3)}, file)
    before = {path: content for path, content in _files(rig).items() if path.suffix != ".db"}
    code, out, err = rig.command(*arguments)
    assert code == 5, err
    (said,) = [line for line in err.splitlines() if not line.startswith("warning: your code has changed")]
    assert re.search(r"error: .*weights.pt has the weights of another network \(.*1.weight|3.weight.*\); train", said)
    assert not out or arguments[0] == "best"
    assert before.items() <= _files(rig).items()
    assert sorted(rig.folder.glob("winner*")) == []
    assert "test " not in rig.command("status", "study")[1]


def test_a_finalist_that_no_longer_fits_its_module_is_said_and_refining_goes_on(quick_rig: Rig) -> None:
    rig = quick_rig
    own = {**OWN_MODULE, "search": {"trials": 6, "strategy": "random"}}  # enough to be refined
    (rig.folder / "model.py").write_text(MODULE.format(width=16))
    rig.sweep(**own)
    rig.resume()
    rig.sweep(**own, finalists={"count": 1, "seeds": 2})
    assert rig.start(fault="checkpoint_replaced:1").wait() == -9
    (rig.folder / "model.py").write_text(MODULE.format(width=24))
    run = rig.start()
    assert run.wait() == 4
    assert re.search(
        r"error: finalist \d, seed 1 of 2 cannot go on: its checkpoint does not fit model.py:build", run.err
    )
    assert "Traceback" not in run.err
    assert rig.command("refine", "sweep.yaml", "-o", "next.yaml")[0] == 0
    (rig.folder / "model.py").write_text(MODULE.format(width=16))
    rig.resume()
    rig.audit(complete=True)


def _files(rig: Rig) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in rig.paths.folder.rglob("*") if path.is_file()}
