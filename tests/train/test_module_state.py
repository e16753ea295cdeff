"""The whole state of a user's module is its state: pauses, crashes, exports and evaluations change nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.train import stateful_modules
from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tuner.models.packed import packed, save_weights
from tuner.models.unpacked import ATTRIBUTES, EXTRA, read_trained, unpacked
from tuner.paths import TrialPaths
from tuner.records import EpochResult, TrialFinished, TrialPaused
from tuner.train.loop.artefacts import write_weights
from tuner.train.loop.cohort import Cohort
from tuner.train.programs.module_state import ModuleState, leaving_no_trace
from tuner.train.task import Task

FILE = "tests/train/stateful_modules.py"
RESTORED = [kind.__name__ for kind in stateful_modules.RESTORED]
UNSAVED = [kind.__name__ for kind in stateful_modules.UNSAVED]
CONFIGURATION = {"learning_rate": 0.05, "momentum": 0.9}


def task_of(name: str, **training: object) -> Task:
    return make_task(model=f"{FILE}:{name}", **{"batch_size": 32, "epochs": 4, "fuse": "off", **training})


def in_one_go(name: str, folder: Path, **training: object) -> list[EpochResult]:
    (curve,) = curves(run_cohort(task_of(name, **training), jobs(folder, [CONFIGURATION], to_epoch=4))).values()
    return curve


@pytest.mark.slow
@pytest.mark.parametrize("name", RESTORED)
def test_a_trial_that_was_paused_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    whole = in_one_go(name, tmp_path / "whole")
    found: dict[int, tuple[float, ...]] = {}
    for to_epoch in (1, 2, 4):  # a task of its own each time, as another process would have it
        events = run_cohort(task_of(name), jobs(tmp_path / "paused", [CONFIGURATION], to_epoch=to_epoch))
        assert isinstance(events[-1], TrialPaused if to_epoch < 4 else TrialFinished)
        for result in figures(curves(events)[0]):
            assert found.setdefault(int(result[0]), result) == result
    assert list(found.values()) == figures(whole)
    paths = [TrialPaths(tmp_path / kind / "0000") for kind in ("whole", "paused")]
    assert np.array_equal(*(np.load(p.predictions) for p in paths))
    weights = [read_trained(p.weights) for p in paths]
    assert all(torch.equal(weights[0][n], t) for n, t in weights[1].items() if isinstance(t, torch.Tensor))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RESTORED, *UNSAVED])
def test_a_trial_that_was_interrupted_in_mid_epoch_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    whole = in_one_go(name, tmp_path / "whole")
    cohort = Cohort(task_of(name), jobs(tmp_path / "broken", [CONFIGURATION], to_epoch=4), worker="test")
    epochs = cohort.epochs()
    next(epochs)
    cohort.interrupt()
    list(epochs)
    events = run_cohort(task_of(name), jobs(tmp_path / "broken", [CONFIGURATION], to_epoch=4))
    assert figures(curves(events)[0]) == figures(whole)


@pytest.mark.parametrize("name", UNSAVED)
def test_what_cannot_be_written_down_is_never_paused_and_said_once(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = run_cohort(task_of(name), jobs(tmp_path, [CONFIGURATION] * 2, to_epoch=1))
    assert [len(curve) for curve in curves(events).values()] == [4, 4]
    assert sum(isinstance(event, TrialFinished) for event in events) == 2
    assert not list(tmp_path.rglob("checkpoint*"))
    (said,) = [r.getMessage() for r in caplog.records if "without pauses" in r.getMessage()]
    assert ("clock" if name == "KeepsAnObject" else "teacher") in said


@pytest.mark.parametrize("averaging", ["none", "ema"])
@pytest.mark.parametrize("name", RESTORED)
def test_its_weights_give_its_score_again(name: str, averaging: str, tmp_path: Path) -> None:
    """As `tuner best --verify`, exports and `tuner test` load them."""
    task = task_of(name, averaging=averaging)
    (job,) = jobs(tmp_path, [CONFIGURATION], to_epoch=4)
    run_cohort(task, [job])
    paths = TrialPaths(Path(job.folder))
    outputs = task.dev_outputs(task.member(job), read_trained(paths.weights))
    assert torch.allclose(task.predictions(outputs), torch.from_numpy(np.load(paths.predictions)), atol=1e-6)


@pytest.mark.parametrize("name", ["Merges", "FrozenNorm", "Versioned"])
def test_its_weights_are_a_state_dict_like_any_other(name: str, tmp_path: Path) -> None:
    """One who has the class alone loads it as PyTorch's users do."""
    task = task_of(name)
    (job,) = jobs(tmp_path, [CONFIGURATION], to_epoch=4)
    run_cohort(task, [job])
    paths = TrialPaths(Path(job.folder))
    module: nn.Module = getattr(stateful_modules, name)({}, digits().info)
    module.load_state_dict(torch.load(paths.weights, weights_only=True))
    with torch.no_grad():
        outputs = module.eval()(digits().dev.inputs)
    assert torch.allclose(outputs.softmax(1), torch.from_numpy(np.load(paths.predictions)), atol=1e-6)


@pytest.mark.parametrize("name", RESTORED)
def test_evaluation_leaves_no_trace(name: str) -> None:
    module: nn.Module = getattr(stateful_modules, name)({}, digits().info)
    inputs = digits().dev.inputs
    module.train()(inputs)
    module.eval()
    state = ModuleState(module)
    before = {name: t.clone() for name, t in state.taken().items()}
    with leaving_no_trace(module), torch.no_grad():
        first = module(inputs)
        module.train()(inputs)
        module.never_seen_before = [1]
        module.eval()
    after = state.taken()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before if name.rpartition(".")[2] not in ("weight",))
    assert not hasattr(module, "never_seen_before")
    with torch.no_grad():
        assert torch.allclose(module(inputs), first, atol=1e-5)


def test_what_is_packed_comes_back_equal() -> None:
    values = {
        "whole": 2**70, "real": 0.1, "complex": 1j, "text": "Länge", "nothing": None, "flag": True, "raw": b"\0\1",
        "list": [1, (2.5, "x"), {"k": {1, 2}}], "frozen": frozenset({3}), "array": np.arange(6.0).reshape(2, 3)[:, ::2],
        "scalar": np.float32(0.1), "tensor": torch.arange(3), "half": torch.ones(2, dtype=torch.bfloat16),
        "kind": torch.float64,
    }  # fmt: skip
    found = unpacked(packed(values))
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert type(found[name]) is type(value)
        if isinstance(value, np.ndarray | torch.Tensor):
            assert (found[name] == value).all()
        else:
            assert found[name] == value


def test_packed_values_stand_beside_a_state_dict_and_not_in_it(tmp_path: Path) -> None:
    paths = TrialPaths(tmp_path)
    weights = {"w": torch.ones(2), ATTRIBUTES: packed({"steps": 7}), EXTRA: packed({"_extra_state": {"version": 3}})}
    write_weights(paths, weights)
    assert {**torch.load(paths.weights, weights_only=True)}.keys() == {"w", "_extra_state"}
    shutil.copy(paths.weights, tmp_path / "copied.pt")
    found = read_trained(tmp_path / "copied.pt")
    assert found["_extra_state"] == {"version": 3}
    assert unpacked(found[ATTRIBUTES]) == {"steps": 7}
    save_weights({"w": torch.ones(2)}, tmp_path / "plain.pt")
    assert type(torch.load(tmp_path / "plain.pt", weights_only=True)) is dict
