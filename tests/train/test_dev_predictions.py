"""Dev predictions are those that were scored: nobody computes them again, since other ways to do so round otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from tests.train.cohorts import best_of, curves, digits, jobs, make_spec, run_cohort
from tests.train.test_folds import folded
from tuner.data.dataset import TrainingData
from tuner.paths import TrialPaths
from tuner.records import Params, TrialFinished
from tuner.spec.model import SweepSpec
from tuner.train.task import Task

UNSTEADY: list[Params] = [
    {"learning_rate": rate, "momentum": 0.0, "dropout": 0.5} for rate in (0.2, 0.4, 0.7, 1.0, 1.4)
]
"""At such rates some are best early, and some may diverge."""
WAYS: Mapping[str, Mapping[str, object]] = {
    "stacked": {},
    "plain": {"training": {"epochs": 8, "fuse": "off"}},
    "averaged": {"training": {"epochs": 8, "averaging": "ema"}},
    "a user's module": {"model": {"kind": "tests/train/user_modules.py:two_layers"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("data", [digits(), folded()], ids=["one dev set", "folds"])
@pytest.mark.parametrize("way", WAYS)
def test_they_come_through_a_pause_as_they_were(
    way: str, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objectives = {} if data.folds else {"objective": [{"metric": "accuracy"}, {"metric": "f1"}]}
    spec = SweepSpec.model_validate({**make_spec(epochs=8).model_dump(), **objectives, **WAYS[way]})
    task = Task(spec, data, torch.device("cpu"))
    whole, paused = (jobs(tmp_path / folder, UNSTEADY, to_epoch=8) for folder in ("whole", "paused"))
    expected = run_cohort(task, whole)
    found = curves(expected)
    best = {job.trial: best_of(found.get(job.trial, [])) for job in whole}
    run_cohort(task, [replace(job, to_epoch=r.epoch if (r := best[job.trial]) else 1) for job in paused])
    monkeypatch.setattr(Task, "dev_outputs", Mock(side_effect=AssertionError("computed once more")))
    ends = [
        {e.trial: e for e in events if isinstance(e, TrialFinished)} for events in (run_cohort(task, paused), expected)
    ]
    assert ends[0].keys() == ends[1].keys()
    assert any((result := best[trial]) and result.epoch < 8 for trial in ends[0])
    for trial, end in ends[0].items():
        ours, theirs = (TrialPaths(Path(j[trial].folder)).predictions.read_bytes() for j in (paused, whole))
        assert ours == theirs
        for fact in ("objectives", "fold_scores"):
            assert end.facts.get(fact) == ends[1][trial].facts.get(fact)
