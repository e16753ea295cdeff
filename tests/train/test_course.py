"""Epochs that the user's training code reports at once are taken as if they had come one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.paths import StudyPaths
from tuner.records import TrialJob
from tuner.spec.model import SweepSpec
from tuner.train.own.course import OwnCourse
from tuner.train.own.reports import ReportError, make_report
from tuner.train.own.task import OwnTask


def course_of(folder: Path, scores: list[float], *, to_epoch: int = 6, **training: object) -> OwnCourse:
    """A trial whose code has reported these dev scores before anybody looked."""
    spec = SweepSpec.model_validate(
        {
            "study": "own",
            "command": "train {learning_rate}",
            "objective": {"metric": "score", "direction": "maximize"},
            "space": {"learning_rate": {"low": 1e-3, "high": 1.0}},
            "training": {"epochs": 6, **training},
        }
    )
    job = TrialJob(
        trial=0,
        params={"learning_rate": 0.1},
        seed=1,
        to_epoch=to_epoch,
        folder=str(StudyPaths(folder).trial(0).folder),
    )
    course = OwnCourse.of(job, OwnTask(spec, torch.device("cpu")))
    for epoch, score in enumerate(scores, start=1):
        course.add(make_report(epoch, {"score": score}, metric="score"))
    return course


def test_a_metric_that_became_nan_on_the_way_counts(tmp_path: Path) -> None:
    course = course_of(tmp_path, [0.1, float("nan"), 0.3, 0.4, 0.5, 0.6])
    assert course.divergence == "score became nan in epoch 2"
    assert course.epoch == 2


def test_a_trial_is_stopped_where_its_patience_ended(tmp_path: Path) -> None:
    scores = [0.5, 0.4, 0.3, 0.9, 0.9, 0.9]
    course = course_of(tmp_path, scores, early_stopping={"patience": 2})
    assert course.end == "early stopping at epoch 3"
    assert course.epoch == 3
    assert course_of(tmp_path / "patient", scores).end == "all epochs"


def test_a_trial_that_ran_ahead_of_its_job_is_stopped_where_its_patience_ended_too(tmp_path: Path) -> None:
    rule = {"early_stopping": {"patience": 2}}
    paused = course_of(tmp_path, [0.5, 0.4, 0.3, 0.9], to_epoch=1, **rule)
    assert (paused.end, paused.epoch, len(paused.reported)) == ("pause", 1, 4)
    course = course_of(tmp_path, [], **rule)
    assert (course.end, course.epoch) == ("early stopping at epoch 3", 3)


def test_reports_that_a_kill_lost_behind_a_checkpoint_do_not_fail_the_trial_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed = course_of(tmp_path, [0.1, 0.2])
    (killed.paths.own_checkpoint / "epoch").write_text("4")
    course = course_of(tmp_path, [], to_epoch=5)
    new = course.add(make_report(5, {"score": 0.5}, metric="score"))
    assert [(result.epoch, result.dev_metric) for result in new] == [(3, 0.5), (4, 0.5), (5, 0.5)]
    assert [result.dev_metric for result in course.curve] == [0.1, 0.2, 0.5, 0.5, 0.5]
    assert "goes on from a checkpoint with epoch 5, and epoch 2 was the last to be reported" in caplog.text
    with pytest.raises(ReportError, match="it reported epoch 7 after epoch 5"):
        course.add(make_report(7, {"score": 0.7}, metric="score"))


def test_without_a_checkpoint_no_epoch_may_be_missing(tmp_path: Path) -> None:
    course_of(tmp_path, [0.1, 0.2])
    course = course_of(tmp_path, [])
    with pytest.raises(ReportError, match="it reported epoch 4 after epoch 2"):
        course.add(make_report(4, {"score": 0.4}, metric="score"))
