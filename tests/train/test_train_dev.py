"""A finished trial is measured on training examples that were held out, by the weights of its best epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import digits, jobs, make_spec, run_cohort
from tuner.data.dataset import Split
from tuner.models.packed import trained_weights
from tuner.paths import TrialPaths
from tuner.records import TrialFinished, TrialPaused, TrialRecord, TrialState
from tuner.train.after.evaluate import outputs_of, score
from tuner.train.task import Task

PARAMS = {"learning_rate": 0.1, "hidden_units": 20, "hidden_layers": 1}


def task(*, held_out: int) -> Task:
    data = digits()
    part = Split(data.train.inputs[:held_out], data.train.targets[:held_out]) if held_out else None
    return Task(make_spec(), replace(data, train_dev=part), torch.device("cpu"))


def test_a_finished_trial_has_the_metric_of_its_stored_weights_on_held_out_examples(tmp_path: Path) -> None:
    one = task(held_out=60)
    last = run_cohort(one, jobs(tmp_path, [PARAMS], to_epoch=3))[-1]
    assert isinstance(last, TrialFinished)
    assert one.data.train_dev is not None
    with trained_weights(TrialPaths(tmp_path / "0000").weights) as weights:
        outputs = outputs_of(one, PARAMS, weights, one.data.train_dev, seed=0)
    record = TrialRecord(number=0, params=PARAMS, seed=0, state=TrialState.COMPLETE, facts=last.facts)
    assert record.train_dev_metric == pytest.approx(float(score(one, outputs, one.data.train_dev).metric[0]))
    assert record.train_dev_metric > 0.5


def test_it_is_not_measured_before_the_end_nor_without_held_out_examples(tmp_path: Path) -> None:
    paused = run_cohort(task(held_out=60), jobs(tmp_path / "a", [PARAMS], to_epoch=2))[-1]
    assert isinstance(paused, TrialPaused)
    whole = run_cohort(task(held_out=0), jobs(tmp_path / "b", [PARAMS], to_epoch=3))[-1]
    assert isinstance(whole, TrialFinished)
    assert "train_dev_metric" not in {**paused.facts, **whole.facts}
