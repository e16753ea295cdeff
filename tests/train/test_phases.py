"""Trainings whose values change on the way: at once, in parts, and from where another trial was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.cohorts import curves, figures, jobs, make_task, run_cohort
from tuner.paths import TrialPaths
from tuner.records import Params, Phase, TrialJob, TrialPaused
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
