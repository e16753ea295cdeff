"""Several epochs in one go come to what they come to one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, diabetes, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import per_trial
from tuner.paths import TrialPaths
from tuner.records import EpochsFinished, Params, Phase, TrialEvent, TrialFailed, TrialFinished, TrialJob, TrialPaused
from tuner.spec.model import EarlyStoppingSpec, LimitsSpec
from tuner.train.loop.checkpoint import read_checkpoint
from tuner.train.task import Task

EPOCHS = 9


def apart_and_together(
    task: Task, members: tuple[list[TrialJob], list[TrialJob]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[TrialEvent], list[TrialEvent]]:
    """The events of the same trials, epoch by epoch and in stretches as long as they may be."""
    found = []
    for share, own in zip((0.0, 1e9), members, strict=True):
        monkeypatch.setattr("tuner.train.loop.stretch.SHARE", share)
        found.append(run_cohort(task, own))
    return found[0], found[1]


def most_at_once(events: list[TrialEvent]) -> int:
    return max(len(event.results) for event in events if isinstance(event, EpochsFinished))


def ends(events: list[TrialEvent]) -> dict[int, tuple[object, ...]]:
    found: dict[int, tuple[object, ...]] = {}
    for event in events:
        match event:
            case TrialFinished() | TrialPaused():
                found[event.trial] = (type(event), getattr(event, "reason", None), event.facts["gradient_norms"])
            case TrialFailed():
                found[event.trial] = (event.reason, event.message)
    return found


def check_alike(
    task: Task, folder: Path, configurations: list[Params], monkeypatch: pytest.MonkeyPatch, *, to_epoch: int = EPOCHS,
    phases: tuple[Phase, ...] = (),
) -> tuple[list[TrialEvent], list[TrialEvent]]:  # fmt: skip
    """Make sure that events, weights, predictions and checkpoints are the same bits."""
    places = [folder / "apart", folder / "together"]
    members = tuple(
        [replace(job, phases=phases) for job in jobs(place, configurations, to_epoch=to_epoch)] for place in places
    )
    apart, together = apart_and_together(task, members, monkeypatch)  # type: ignore[arg-type]
    assert (most_at_once(apart), most_at_once(together) > 1) == (1, True)
    assert {t: figures(c) for t, c in curves(together).items()} == {t: figures(c) for t, c in curves(apart).items()}
    assert ends(together) == ends(apart)
    for ours, theirs in zip(*members, strict=True):
        a, b = (TrialPaths(Path(job.folder)) for job in (ours, theirs))
        assert a.weights.exists() == b.weights.exists()
        if a.weights.exists():
            one, other = (torch.load(paths.weights, weights_only=True) for paths in (a, b))
            assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
            assert a.predictions.read_bytes() == b.predictions.read_bytes()
        states = [read_checkpoint(paths) for paths in (a, b)]
        if states[0] is not None and states[1] is not None:
            assert all(torch.equal(tensor, states[1].state[name]) for name, tensor in states[0].state.items())
            assert states[0].patience == states[1].patience
    return apart, together


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"optimizer": "adam", "schedule": "one_cycle", "lr_decay": 0.1},
        {"settings": {"norm": "batch", "activation": "tanh"}},
        {"model": "cnn", "settings": {"channels": 4}},
        {"batch_size": "full"},
        {"batch_size": 300 - 1},
    ],
    ids=["sgd", "adam", "batch norm", "cnn", "full batch", "one left over"],
)
def test_epochs_in_one_go_give_the_same_bits(
    spec: Mapping[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, together = check_alike(make_task(**{"epochs": EPOCHS, **spec}), tmp_path, per_trial(3), monkeypatch)
    assert most_at_once(together) == EPOCHS - 1, "the first epoch says how long one takes"


def test_of_a_regression_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_alike(make_task(diabetes(), epochs=EPOCHS), tmp_path, [{"learning_rate": 0.01}], monkeypatch)


def test_patience_runs_out_at_the_same_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch is no longer than the shortest time in which patience could run out."""
    rule = EarlyStoppingSpec(patience=3, min_delta=0.02)
    configurations: list[Params] = [{"learning_rate": rate} for rate in (0.001, 0.05, 0.3)]
    _, together = check_alike(
        make_task(epochs=30, early_stopping=rule), tmp_path, configurations, monkeypatch, to_epoch=30
    )
    assert most_at_once(together) <= 3
    assert all("early stopping" in str(reason) for _, reason, _ in ends(together).values())


def test_trials_that_are_sent_less_far_or_have_fewer_epochs_leave_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configurations: list[Params] = [{"learning_rate": 0.05, "epochs": n} for n in (4, 20, 7)]
    _, together = check_alike(make_task(epochs=20), tmp_path, configurations, monkeypatch)
    assert [len(curves(together)[trial]) for trial in range(3)] == [4, EPOCHS, 7]


def test_a_trial_that_diverges_in_a_stretch_names_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(epochs=10, warmup_epochs=8.0, momentum=0.0)
    configurations: list[Params] = [{"learning_rate": 30.0}, {"learning_rate": 0.01}]
    apart, together = check_alike(task, tmp_path, configurations, monkeypatch, to_epoch=10)
    (failed,) = (event for event in together if isinstance(event, TrialFailed))
    assert len(curves(together)[0]) > 1, "it must diverge in a stretch"
    assert failed.message.endswith(f"in epoch {len(curves(apart)[0]) + 1}")


def test_values_change_between_the_same_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phases = (
        Phase(from_epoch=0, params={"learning_rate": 0.05}, trial=0),
        Phase(from_epoch=4, params={"learning_rate": 0.005}, trial=0),
    )
    _, together = check_alike(make_task(epochs=EPOCHS), tmp_path, [{"learning_rate": 0.05}], monkeypatch, phases=phases)
    assert most_at_once(together) < EPOCHS - 1


def test_a_time_limit_ends_a_trial_within_a_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.train.loop.stretch.SHARE", 1e9)
    task = make_task(epochs=EPOCHS)
    (job,) = jobs(tmp_path / "known", [{"learning_rate": 0.05}], to_epoch=EPOCHS)
    whole = curves(run_cohort(task, [job]))[0]
    spec = task.spec.model_copy(update={"limits": LimitsSpec(trial_seconds=whole[0].seconds / 1e3)})
    limited = Task(spec, task.data, torch.device("cpu"))
    events = run_cohort(limited, jobs(tmp_path / "late", [{"learning_rate": 0.05}], to_epoch=EPOCHS))
    assert isinstance(events[-1], TrialFailed)
    assert len(curves(events)[0]) == 1
