"""Trainings whose values change on the way: at once, in parts, and from where another trial was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.cohorts import curves, figures, jobs, make_task, run_cohort
from tuner.paths import TrialPaths
from tuner.records import Params, Phase, TrialJob, TrialPaused, TrialStarted
from tuner.train.loop import resting
from tuner.train.task import Task

WAYS = {
    "stacked": {},
    "stacked, Adam": {"optimizer": "adam"},
    "plain": {"fuse": "off"},
    "users' module": {"model": "tests/train/user_modules.py:two_layers"},
}
BEFORE: Params = {"learning_rate": 0.1, "momentum": 0.9, "dropout": 0.1, "weight_decay": 1e-3}
AFTER: Params = {"learning_rate": 0.02, "momentum": 0.5, "dropout": 0.3, "weight_decay": 1e-2}
PHASES = (Phase(from_epoch=0, params=BEFORE, trial=0), Phase(from_epoch=2, params=AFTER, trial=1))


def task_of(way: str) -> Task:
    return make_task(epochs=4, **WAYS[way])


def job_of(within: Path, **parts: object) -> TrialJob:
    (job,) = jobs(within, [AFTER], to_epoch=4)
    return replace(job, **{"phases": PHASES, **parts})  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_another_trial_goes_on_as_one_training_of_both_parts_would(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = task_of(way)
    whole = figures(curves(run_cohort(task, [job_of(tmp_path / "whole")]))[0])
    source, other = jobs(tmp_path, [BEFORE, {**BEFORE, "learning_rate": 0.3}], to_epoch=2)
    ends = [event for event in run_cohort(task, [source, other]) if isinstance(event, TrialPaused)]
    assert len(ends) == 2
    copy = job_of(tmp_path, trial=1, seed=source.seed, folder=other.folder)
    shutil.copyfile(TrialPaths(Path(source.folder)).checkpoint, TrialPaths(Path(other.folder)).checkpoint)
    events = run_cohort(task, [copy, replace(source, to_epoch=4)])
    copied = curves(events)
    assert figures(copied[1]) == whole, "in company, from a checkpoint"
    assert figures(copied[0])[:2] == whole[:2]
    assert figures(copied[0])[2:] != whole[2:], "other values train otherwise"
    assert "in another way" not in caplog.text


def test_it_goes_on_from_any_epoch_and_is_begun_anew_where_its_past_is_another(tmp_path: Path) -> None:
    task = task_of("stacked")
    whole = figures(curves(run_cohort(task, [job_of(tmp_path / "whole")]))[0])
    for epoch in (1, 2, 3):
        job = job_of(tmp_path / f"{epoch}", to_epoch=epoch)
        run_cohort(task, [job])
        events = run_cohort(task, [replace(job, to_epoch=4)])
        assert next(e.from_epoch for e in events if hasattr(e, "from_epoch")) == epoch
        assert figures(curves(events)[0]) == whole
    earlier = (PHASES[0], replace(PHASES[1], from_epoch=1))
    job = job_of(tmp_path / "3", phases=earlier)
    events = run_cohort(task, [job])
    assert next(e.from_epoch for e in events if hasattr(e, "from_epoch")) == 0
    assert figures(curves(events)[0])[1:] != whole[1:]


def test_what_a_job_has_behind_it() -> None:
    plain = TrialJob(trial=0, params=BEFORE, seed=0, to_epoch=4, folder="")
    assert plain.past(3, 1) == ((0, BEFORE),) == plain.past(0)
    changing = replace(plain, params=AFTER, phases=PHASES)
    assert changing.past(0) == changing.past(2) == ((0, BEFORE),)
    assert changing.past(2, 1) == changing.past(3) == ((0, BEFORE), (2, AFTER))
    assert [changing.params_after(epoch) for epoch in range(4)] == [BEFORE, BEFORE, AFTER, AFTER]
    part = replace(changing, phases=(replace(PHASES[0], params={}), replace(PHASES[1], params={"momentum": 0.7})))
    assert part.params_after(1) == AFTER
    assert part.params_after(2) == {**AFTER, "momentum": 0.7}


# Members of a population, whose states and program rest in the process between two parts


RESTING: dict[str, tuple[dict[str, object], dict[str, tuple[float | None, float | None]]]] = {
    "values alone": ({}, {}),
    "Adam": ({"optimizer": "adam"}, {"learning_rate": (0.01, 0.02), "beta2": (0.9, 0.99)}),
    "averages": ({"averaging": "ema"}, {"ema_decay": (0.8, 0.95)}),
    "limits": ({}, {"max_norm": (2.0, 1.0), "clip_norm": (1.0, 0.5)}),
    "decay ends for one": ({}, {"weight_decay": (1e-3, 0.0)}),
    "dropout begins": ({}, {"dropout": (0.0, 0.1)}),
    "limits begin": ({}, {"max_norm": (None, 1.0)}),
    "clipping begins": ({}, {"clip_norm": (None, 1.0)}),
    "noise": ({}, {"weight_noise": (0.01, 0.02)}),
    "soft labels": ({}, {"label_smoothing": (0.1, 0.2)}),
}
"""What differs from the usual, and values before and after a change."""
RENEWED = {"values alone", "Adam", "averages", "limits", "decay ends for one"}
"""Where a step has the same operations with the new values."""


@pytest.mark.slow
@pytest.mark.parametrize("case", RESTING)
def test_members_that_rest_go_on_as_those_do_that_are_read_from_files(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, values = RESTING[case]
    before = {**BEFORE, **{name: pair[0] for name, pair in values.items()}}
    after = {**AFTER, **{name: pair[1] for name, pair in values.items()}}
    made: list[int] = []
    monkeypatch.setattr(Task, "program", lambda self, members, own=Task.program: made.append(1) or own(self, members))
    found: dict[bool, dict[int, list[tuple[float, ...]]]] = {}
    for stays in (False, True):
        task, folder = make_task(epochs=6, **training), tmp_path / f"{stays}"
        first = [replace(job, stays=stays) for job in jobs(folder, [before] * 3, to_epoch=2)]
        run_cohort(task, first)
        assert [TrialPaths(Path(job.folder)).checkpoint.exists() for job in first] == [not stays] * 3
        source, other = first[0], first[1]
        phases = tuple(Phase(from_epoch=e, params=p, trial=t) for e, p, t in ((0, before, 0), (2, after, 1)))
        copy = replace(other, seed=source.seed, params=after, phases=phases)
        second = [copy, *(replace(job, to_epoch=4) for job in (source, first[2]))]
        if not stays:
            shutil.copyfile(TrialPaths(Path(source.folder)).checkpoint, TrialPaths(Path(other.folder)).checkpoint)
        made.clear()
        events = run_cohort(task, [replace(job, to_epoch=4) for job in second])
        assert len(made) == (0 if stays and case in RENEWED else 1)
        events += run_cohort(task, [replace(job, to_epoch=6) for job in second])
        assert [e.from_epoch for e in events if isinstance(e, TrialStarted)] == [2] * 3 + [4] * 3
        found[stays] = {trial: figures(curve) for trial, curve in curves(events).items()}
    assert found[True] == found[False]


def test_a_state_that_is_lost_with_its_process_is_trained_again(tmp_path: Path) -> None:
    job = replace(job_of(tmp_path), stays=True)
    whole = figures(curves(run_cohort(task_of("stacked"), [replace(job, stays=False, folder=str(tmp_path / "w"))]))[0])
    run_cohort(task_of("stacked"), [replace(job, to_epoch=3)])
    events = run_cohort(task_of("stacked"), [job])
    assert next(e.from_epoch for e in events if isinstance(e, TrialStarted)) == 0
    assert figures(curves(events)[0]) == whole


def test_files_are_written_now_and_then_and_where_states_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("stacked")
    job = replace(job_of(tmp_path), stays=True)
    run_cohort(task, [replace(job, to_epoch=1)])
    assert not TrialPaths(Path(job.folder)).checkpoint.exists()
    monkeypatch.setattr(resting, "_LEAST_SECONDS", 0.0)
    run_cohort(task, [replace(job, to_epoch=2)])
    assert TrialPaths(Path(job.folder)).checkpoint.exists()
    monkeypatch.setattr(resting, "_LEAST_SECONDS", 100.0)
    other = replace(job, trial=1, seed=1, folder=str(tmp_path / "1"))
    monkeypatch.setattr(resting, "_MOST_BYTES", 100)
    events = run_cohort(task, [replace(other, to_epoch=1)]) + run_cohort(task, [replace(job, to_epoch=3), other])
    assert TrialPaths(Path(other.folder)).checkpoint.exists()
    assert [e.from_epoch for e in events if isinstance(e, TrialStarted)] == [0, 2, 1]


def test_a_process_that_is_no_more_the_only_one_goes_by_files(tmp_path: Path) -> None:
    task = task_of("stacked")
    job = replace(job_of(tmp_path), stays=True)
    run_cohort(task, [replace(job, to_epoch=2)])
    events = run_cohort(task, [replace(job, stays=False)])
    assert next(e.from_epoch for e in events if isinstance(e, TrialStarted)) == 0
