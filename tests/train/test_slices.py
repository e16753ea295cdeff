"""Long epochs in slices: interrupted anywhere and resumed in any company, a trial's curve and weights are the same."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth, but_deep
from tests.train.cohorts import digits, figures, jobs, make_spec, make_task, run_cohort
from tests.train.test_exactness import PATHS, TWO_LAYERS, per_trial
from tests.train.test_folds import folded
from tuner.data.dataset import Split, TrainingData
from tuner.data.stored import StreamedInputs
from tuner.paths import TrialPaths
from tuner.records import (
    EpochResult,
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.spec.model import EarlyStoppingSpec, LimitsSpec
from tuner.train.loop import slices
from tuner.train.loop.checkpoint import read_checkpoint, write_checkpoint
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.slices import Pace
from tuner.train.program import num_steps
from tuner.train.replay.recorder import Recorder
from tuner.train.task import Task

EPOCHS = 3


@pytest.fixture
def single_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is a slice, and is checkpointed."""
    monkeypatch.setattr("tuner.train.loop.slices.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("tuner.train.loop.cohort.MIN_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("tuner.train.loop.cohort.CHECKPOINT_SHARE", 1e9)


def paths_of(job: TrialJob) -> TrialPaths:
    return TrialPaths(Path(job.folder))


def stop_after(task: Task, members: Sequence[TrialJob], num_slices: int, *, killed: bool = False) -> list[TrialEvent]:
    """Train so many slices, and be interrupted, or killed."""
    cohort, events = Cohort(task, members, worker="test"), []
    for number, step in enumerate(cohort.epochs(), start=1):
        events += step
        if number == num_slices:
            if killed:
                break
            cohort.interrupt()
    return events


def curves(events: Sequence[TrialEvent]) -> dict[int, list[tuple[float, ...]]]:
    """Each trial's figures; an epoch of which several attempts told has the same ones each time."""
    found: dict[int, dict[int, tuple[float, ...]]] = {}
    for event in events:
        if isinstance(event, EpochsFinished):
            for result, row in zip(event.results, figures(list(event.results)), strict=True):
                assert found.setdefault(event.trial, {}).setdefault(result.epoch, row) == row
    return {trial: [rows[epoch] for epoch in sorted(rows)] for trial, rows in found.items()}


def ended(events: Sequence[TrialEvent]) -> set[int]:
    return {e.trial for e in events if isinstance(e, TrialFinished)}


def assert_same_files(ours: Sequence[TrialJob], theirs: Sequence[TrialJob]) -> None:
    for mine, whole in zip(ours, theirs, strict=True):
        for name in ("weights", "predictions"):
            assert getattr(paths_of(mine), name).read_bytes() == getattr(paths_of(whole), name).read_bytes()


def streamed() -> TrainingData:
    data = digits()
    train, dev = (
        Split(
            StreamedInputs(lambda rows, x=part.inputs: x[rows].numpy(), part.inputs.shape, torch.device("cpu")),
            part.targets,
        )
        for part in (data.train, data.dev)
    )
    return TrainingData(train, dev, data.info)


WAYS: Mapping[str, Mapping[str, object]] = {
    name: PATHS[name]
    for name in (
        "mlp nesterov, clipped, l1",
        "mlp adam",
        "mlp nadam",
        "mlp batch norm",
        "mlp odd shapes",
        "ema",
        "swa",
        "one cycle, orthogonal",
        "cosine with warm-up",
        "cnn, augmented",
        "soft labels",
        "thawing",
        "lstm",
        "user module",
        "user module, batch norm, swa",
        "user module, soft labels",
        "user module, thawing",
    )
} | {
    "plain, adam": {"fuse": "off", "optimizer": "adam", "batch_size": 41},
    "plain, nadam": {"fuse": "off", "optimizer": "nadam", "learning_rate": 0.001},
    "plain, amsgrad": {"fuse": "off", "optimizer": "amsgrad", "learning_rate": 0.001},
    "plain, ema, batch norm": {"fuse": "off", "averaging": "ema", "ema_decay": 0.9, "settings": {"norm": "batch"}},
    "plain, augmented, soft labels": {"fuse": "off", "augment": 0.5, "mixup": 0.3, "label_smoothing": 0.1},
    "plain, thawing": {"fuse": "off", "settings": {"norm": "batch"}, "unfreeze_every_epochs": 1},
    "a module that is trained alone": {"model": "tests/train/user_modules.py:chooser"},
    "a module that draws by itself": {"model": "tests/train/user_modules.py:noisy"},
    "an optimiser of the user's": {"optimizer": "tests/train/user_parts.py:sgd", "lr_decay": 0.5},
    "folds": {"data": folded(), "batch_size": 41},
    "folds of a user's module": {"data": folded(), "batch_size": 41, "model": TWO_LAYERS, "averaging": "ema"},
    "streamed": {"data": streamed()},
}


DEAR = (
    "lstm", "plain, nadam", "plain, amsgrad", "plain, ema, batch norm", "user module, thawing", "cnn, augmented",
    "user module, batch norm, swa", "user module, soft labels", "mlp nadam", "thawing", "soft labels",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", but_deep(WAYS, *DEAR))
def test_interrupted_in_mid_epoch_and_resumed_the_bits_are_the_same(
    name: str, single_steps: None, tmp_path: Path
) -> None:
    whole, members = (jobs(tmp_path / folder, per_trial(3)) for folder in ("whole", "pieces"))
    expected = curves(run_cohort(make_task(**WAYS[name]), whole))
    events: list[TrialEvent] = []
    task = make_task(**WAYS[name])
    while len(ended(events)) < len(members):
        events += stop_after(task, members, 3)
    assert any(e.from_step for e in events if isinstance(e, TrialStarted))
    assert curves(events) == expected
    assert_same_files(members, whole)


@pytest.mark.deep
@pytest.mark.slow
@settings(max_examples=at_depth(12))
@given(seed=st.integers(0, 2**32))
def test_members_that_were_stopped_at_different_steps_go_on_together(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Again and again other members are together, and are interrupted or killed after some slices."""
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("trials")
    way = rng.choice([{}, {"optimizer": "adam"}, {"model": TWO_LAYERS}, {"fuse": "off"}, {"averaging": "ema"}])
    early = EarlyStoppingSpec(patience=1, min_delta=0.02)
    task = make_task(**way, schedule="cosine", warmup_epochs=1.0, batch_size=41, early_stopping=early)
    whole, members = (jobs(folder / name, per_trial(4)) for name in ("whole", "pieces"))
    expected = run_cohort(task, whole)
    events: list[TrialEvent] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuner.train.loop.slices.SLICE_SECONDS", 0.0)
        patch.setattr("tuner.train.loop.cohort.MIN_CHECKPOINT_SECONDS", 0.0)
        while left := [job for job in members if job.trial not in ended(events)]:
            together = rng.sample(left, rng.randint(1, len(left)))
            events += stop_after(task, together, rng.randint(1, 12), killed=rng.random() < 0.5)
    assert curves(events) == curves(expected)
    reasons = [{e.trial: e.reason for e in found if isinstance(e, TrialFinished)} for found in (events, expected)]
    assert reasons[0] == reasons[1]
    assert_same_files(members, whole)


def test_a_damaged_checkpoint_of_mid_epoch_is_passed_over_for_the_one_before(
    single_steps: None, tmp_path: Path
) -> None:
    task = make_task()
    (whole,), (job,) = (jobs(tmp_path / folder, per_trial(1)) for folder in ("whole", "damaged"))
    expected = run_cohort(task, [whole])
    stop_after(task, [job], 4, killed=True)
    paths = paths_of(job)
    paths.checkpoint.write_bytes(paths.checkpoint.read_bytes()[:-9])
    events = run_cohort(task, [job])
    assert [(e.from_epoch, e.from_step) for e in events if isinstance(e, TrialStarted)] == [(0, 3)]
    assert curves(events) == curves(expected)
    assert_same_files([job], [whole])


def test_seconds_count_what_was_trained_before_the_interruption(single_steps: None, tmp_path: Path) -> None:
    task = make_task()
    (job,) = jobs(tmp_path, per_trial(1))
    stop_after(task, [job], 2)
    found = read_checkpoint(paths_of(job))
    assert found is not None
    assert (found.epoch, found.step) == (0, 2)
    assert 0.0 < found.epoch_seconds == found.seconds
    write_checkpoint(paths_of(job), replace(found, epoch_seconds=1000.0))
    seconds = [r.seconds for e in run_cohort(task, [job]) if isinstance(e, EpochsFinished) for r in e.results]
    assert 1000.0 < seconds[0] < seconds[1] < seconds[2] < 2000.0


def test_a_checkpoint_of_an_earlier_version_is_at_an_epochs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    (job,) = jobs(tmp_path, per_trial(1), to_epoch=1)
    save = torch.save

    def without_step(values: dict[str, Any], file: object) -> None:
        names = [f.name for f in fields(EpochResult)]
        curve = [dict(zip(names, [int(row[0]), *row[1:]], strict=True)) for row in values["curve"].tolist()]
        old = {k: v for k, v in values.items() if k not in ("step", "epoch_seconds")}
        save({**old, "curve": curve}, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", without_step)
        told = curves(run_cohort(task, [job]))
    found = read_checkpoint(paths_of(job))
    assert found is not None
    assert (found.epoch, found.step, found.epoch_seconds) == (1, 0, 0.0)
    assert figures(list(found.curve)) == told[0]


@pytest.mark.slow
def test_a_trial_that_takes_too_long_ends_in_mid_epoch_and_the_others_go_on(single_steps: None, tmp_path: Path) -> None:
    spec = make_spec(epochs=EPOCHS).model_copy(update={"limits": LimitsSpec(trial_seconds=500.0)})
    task = Task(spec, digits(), torch.device("cpu"))
    whole, members = (jobs(tmp_path / folder, per_trial(3)) for folder in ("whole", "late"))
    expected = curves(run_cohort(task, whole))
    stop_after(task, members, 2)
    found = read_checkpoint(paths_of(members[1]))
    assert found is not None
    write_checkpoint(paths_of(members[1]), replace(found, epoch_seconds=1000.0))
    events = run_cohort(task, members)
    (failed,) = [e for e in events if isinstance(e, TrialFailed)]
    assert (failed.trial, failed.reason) == (1, FailureReason.TIMEOUT)
    assert "s and 0 epochs; limits.trial_seconds is 500" in failed.message
    for trial in (0, 2):
        assert curves(events)[trial] == expected[trial]


@pytest.mark.slow
def test_jobs_join_at_an_epochs_end_only(single_steps: None, tmp_path: Path) -> None:
    task = make_task()
    first, second = jobs(tmp_path / "joined", per_trial(2))
    expected = curves(run_cohort(task, jobs(tmp_path / "whole", per_trial(2))))
    cohort, events = Cohort(task, [first], worker="test"), []
    for number, step in enumerate(cohort.epochs(), start=1):
        events += step
        if number == 2:
            cohort.join([second])
    told = [(type(e).__name__, e.trial) for e in events if isinstance(e, TrialStarted | EpochsFinished)]
    assert told[:3] == [("TrialStarted", 0), ("EpochsFinished", 0), ("TrialStarted", 1)]
    assert curves(events) == expected


def test_an_interruption_is_heeded_after_the_slice(single_steps: None, tmp_path: Path) -> None:
    task = make_task()
    members = jobs(tmp_path, per_trial(2))
    events = stop_after(task, members, 3)
    assert [e.trial for e in events if isinstance(e, TrialInterrupted)] == [0, 1]
    for job in members:
        found = read_checkpoint(paths_of(job))
        assert found is not None
        assert (found.epoch, found.step) == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", TWO_LAYERS])
def test_slices_do_not_have_steps_recorded_again(
    model: str, single_steps: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[Recorder] = []
    task, members = make_task(model=model, batch_size=50), jobs(tmp_path, per_trial(2))
    task.program([task.member(job) for job in members])  # the proof of a user's module has a recording of its own
    monkeypatch.setattr("tuner.train.replay.replay.Recorder", lambda: recorded.append(Recorder()) or recorded[-1])
    for part in ("program", "evaluator"):  # the kernels have evaluation recorded as well
        monkeypatch.setattr(f"tuner.train.programs.stacked.{part}.KERNELS_AFTER_RUNS", None)
    cohort = Cohort(task, members, worker="test")
    assert sum(1 for _ in cohort.epochs()) == EPOCHS * num_steps(300, 50)
    assert len(recorded) == 1


# Pace


class Clocked:
    """A program whose steps take so long; looks at a clock of its own."""

    whole_epochs = False

    def __init__(self, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.calls: list[tuple[int, int]] = []
        monkeypatch.setattr(slices.time, "perf_counter", lambda: self.now)

    def train_steps(self, plan: object, first: int, last: int) -> None:
        self.calls.append((first, last))
        self.now += self.seconds * (last - first)

    def epoch(self, pace: Pace, plan: object, num_steps: int) -> list[int]:
        """The step after each slice."""
        reached = [0]
        while reached[-1] < num_steps:
            reached.append(pace.train(self, plan, reached[-1], num_steps))  # type: ignore[arg-type]
        return reached[1:]


@pytest.fixture
def plan(tmp_path: Path) -> object:
    task = make_task()
    return slices.epoch_plan(task, [slices.Run.of(job, task) for job in jobs(tmp_path, per_trial(1))])


def test_a_short_epoch_is_one_slice_and_after_the_first_one_call(plan: object, monkeypatch: pytest.MonkeyPatch) -> None:
    program, pace = Clocked(0.0004, monkeypatch), Pace()
    assert program.epoch(pace, plan, 1000) == [1000]
    assert len(program.calls) == 10
    program.calls.clear()
    for _ in range(3):
        assert program.epoch(pace, plan, 1000) == [1000]
    assert program.calls == [(0, 1000)] * 3


def test_a_long_epoch_is_in_slices_of_about_a_second(plan: object, monkeypatch: pytest.MonkeyPatch) -> None:
    program, pace = Clocked(1 / 128, monkeypatch), Pace()
    program.epoch(pace, plan, 1024)
    assert program.epoch(pace, plan, 1024) == list(range(128, 1025, 128))
    program.seconds = 1 / 8  # the machine is slower now: one slice is too long, the next are right again
    assert program.epoch(pace, plan, 1024)[:3] == [128, 136, 144]


def test_a_step_longer_than_a_slice_is_a_slice(plan: object, monkeypatch: pytest.MonkeyPatch) -> None:
    program, pace = Clocked(30.0, monkeypatch), Pace()
    assert program.epoch(pace, plan, 4) == [1, 2, 3, 4]
