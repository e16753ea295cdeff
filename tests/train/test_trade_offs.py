"""What is measured beside the metric, against its definition."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from tests.train.cohorts import digits, jobs, make_spec, run_cohort
from tuner.errors import SweepFileError
from tuner.execute.runner import CohortRunner
from tuner.paths import TrialPaths
from tuner.records import EpochsFinished, FailureReason, Json, TrialFailed, TrialFinished, TrialPaused
from tuner.spec.model import SweepSpec
from tuner.spec.objectives import violation
from tuner.train.loop.trade_offs import latency_ms
from tuner.train.task import Task

PARAMS = {"learning_rate": 0.1, "hidden_units": 20, "hidden_layers": 1}
ALL = [{"metric": name} for name in ("accuracy", "parameters", "flops", "latency_ms", "f1")]


def task(**blocks: Any) -> Task:
    spec = SweepSpec.model_validate({**make_spec().model_dump(), **blocks})
    return Task(spec, digits(), torch.device("cpu"))


def facts(task: Task, folder: Path, *, to_epoch: int = 3) -> dict[str, Json]:
    last = run_cohort(task, jobs(folder, [PARAMS], to_epoch=to_epoch))[-1]
    assert isinstance(last, TrialFinished | TrialPaused)
    return dict(last.facts)


def test_measurements_are_what_they_are_called(tmp_path: Path) -> None:
    bound = [{"metric": "parameters", "max": 1000}, {"metric": "accuracy", "min": 0.0}]
    found = facts(task(objective=ALL, constraints=bound), tmp_path)
    measured = found["objectives"]
    assert measured["parameters"] == 64 * 20 + 20 + 20 * 10 + 10
    assert measured["flops"] == 2 * (64 * 20 + 20 * 10)
    assert measured["latency_ms"] > 0
    predicted = np.load(TrialPaths(tmp_path / "0000").predictions).argmax(axis=1)
    truth = digits().dev.targets.numpy()
    assert measured["f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found["violation"] == pytest.approx((1510 - 1000) / 1000)


def test_a_paused_trial_has_them_too_also_when_it_has_not_improved_since(tmp_path: Path) -> None:
    several = task(objective=[{"metric": "accuracy"}, {"metric": "f1"}])
    first = facts(several, tmp_path, to_epoch=2)
    assert facts(several, tmp_path, to_epoch=2)["objectives"] == first["objectives"]


def test_nothing_is_measured_that_is_not_asked_for(tmp_path: Path) -> None:
    assert {"objectives", "violation"}.isdisjoint(facts(task(), tmp_path))


def test_a_metric_of_another_task_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(SweepFileError, match="metric rmse cannot be measured for classification, which the data is"):
        task(objective=[{"metric": "accuracy"}, {"metric": "rmse"}])


def test_violations_are_shares_of_the_bounds() -> None:
    spec = SweepSpec.model_validate(
        {
            "study": "s",
            "data": {"source": "x.csv"},
            "constraints": [{"metric": "flops", "max": 100}, {"metric": "f1", "min": 0.5, "max": 1}],
        }
    )
    assert violation(spec.constraints, {"flops": 100, "f1": 0.5}) == 0
    assert violation(spec.constraints, {"flops": 150, "f1": 0.4}) == pytest.approx(0.5 + 0.2)


def test_latency_is_the_usual_time_of_a_pass_and_not_that_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [9.0, 0.003, 0.002, 0.002, 7.0, 0.002, 0.001, 0.002]

    class Timed(torch.nn.Module):
        now, passes = 0.0, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.now += taken[self.passes]
            self.passes += 1
            return x

    module = Timed()
    monkeypatch.setattr("tuner.train.loop.trade_offs.time", SimpleNamespace(perf_counter=lambda: module.now))
    assert latency_ms(module, torch.zeros(4, 8)) == pytest.approx(2.0)
    assert module.passes == len(taken)


def test_a_network_that_breaks_a_constraint_is_not_trained_and_the_others_of_its_cohort_are(tmp_path: Path) -> None:
    bounds = [{"metric": "parameters", "max": 1600}, {"metric": "flops", "min": 2000}]
    runner = CohortRunner(task(constraints=bounds), worker="w", too_wide=lambda width: None)
    widths = (20, 200, 10)
    found = [
        e for events in runner.train(jobs(tmp_path, [{**PARAMS, "hidden_units": n} for n in widths])) for e in events
    ]
    ends = {e.trial: e for e in found if isinstance(e, TrialFinished | TrialFailed)}
    assert isinstance(ends[0], TrialFinished)
    assert ends[0].facts["violation"] == 0
    for trial, text in (
        (1, "parameters is 15,010, which breaks max: 1,600"),
        (2, "flops is 1,480, which breaks min: 2,000"),
    ):
        failed = ends[trial]
        assert isinstance(failed, TrialFailed)
        assert (failed.reason, failed.message) == (FailureReason.INFEASIBLE, f"{text}; it was not trained")
        assert not any(isinstance(e, EpochsFinished) and e.trial == trial for e in found)
    assert ends[1].facts["violation"] == pytest.approx((15010 - 1600) / 1600)
