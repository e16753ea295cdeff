"""Verdicts of whole studies whose truth is known: trials, dev predictions and luck drawn anew a hundred times.

`tests/diagnose/test_planted_verdicts.py` holds the rule to the same bar; here the verdict goes the way of a report,
through the winner's luck, intervals from predictions and pairs with a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.report.simulate import SPACE, simulate, study_facts
from tuner.diagnose.error_parts import Verdict, error_of
from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.report.advice import _size_is_enough, advice
from tuner.report.analysis import Analysis
from tuner.spec.known.metrics import METRICS
from tuner.store.study_data import StudyData

SEEDS, RIGHT, TRIALS = 100, 95, 8
_TEMPLATE = simulate(trials=1, num_dev=20).study.records[0]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """True errors of all trials of a study, but for the luck of each."""

    right: tuple[Verdict, ...]
    dev: float
    fitted: float
    """Train error at the last epoch, which early stopping gave up."""
    own_train: float
    """At the best epoch."""
    target: float | None = None
    metric: str = "accuracy"
    num_dev: int = 300
    frequent: float = 0.5
    """Share of the first of two classes."""
    learns: bool = True
    """Whether predictions have to do with the targets."""


CASES = {
    "under-fit": Planted(right=(Verdict.BIAS,), dev=0.25, fitted=0.24, own_train=0.245, target=0.05),
    "over-fit, hidden by early stopping": Planted(
        right=(Verdict.VARIANCE,), dev=0.25, fitted=0.01, own_train=0.24, target=0.02
    ),
    "unknown target": Planted(right=(Verdict.VARIANCE,), dev=0.2, fitted=0.0, own_train=0.15),
    "both": Planted(right=(Verdict.BOTH,), dev=0.3, fitted=0.14, own_train=0.2, target=0.02),
    "neither": Planted(
        right=(Verdict.UNDECIDED, Verdict.AT_TARGET), dev=0.03, fitted=0.028, own_train=0.03, target=0.025
    ),
    "noise ceiling": Planted(right=(Verdict.BIAS_OR_NOISE,), dev=0.22, fitted=0.21, own_train=0.215),
    "noise ceiling that is known": Planted(
        right=(Verdict.UNDECIDED, Verdict.AT_TARGET), dev=0.22, fitted=0.21, own_train=0.215, target=0.2
    ),
    "tiny dev set": Planted(
        right=(Verdict.UNDECIDED, Verdict.AT_TARGET, Verdict.NO_BETTER_THAN_A_GUESS),
        dev=0.1, fitted=0.09, own_train=0.1, target=0.08, num_dev=13,
    ),
    "no error on a small dev set": Planted(
        right=(Verdict.UNDECIDED, Verdict.AT_TARGET), dev=0.01, fitted=0.0, own_train=0.01, num_dev=60
    ),
    "imbalanced": Planted(
        right=(Verdict.NO_BETTER_THAN_A_GUESS,), dev=0.05, fitted=0.02, own_train=0.04, frequent=0.95, learns=False
    ),
    "regression, over-fit": Planted(
        right=(Verdict.VARIANCE,), dev=1.0, fitted=0.2, own_train=0.8, target=0.2, metric="rmse"
    ),
    "regression, under-fit": Planted(
        right=(Verdict.BIAS,), dev=1.0, fitted=0.9, own_train=0.95, target=0.2, metric="rmse"
    ),
    "regression, noise ceiling": Planted(
        right=(Verdict.BIAS_OR_NOISE,), dev=1.0, fitted=0.95, own_train=0.97, metric="rmse"
    ),
    "pure noise": Planted(
        right=(Verdict.NO_BETTER_THAN_A_GUESS,), dev=0.5, fitted=0.0, own_train=0.4, learns=False
    ),
}  # fmt: skip


def planted_study(case: Planted, seed: int, folder: Path) -> Analysis:
    draw = np.random.default_rng(seed)
    paths = StudyPaths(folder)
    folder.mkdir(exist_ok=True)
    targets, predictions = _drawn(case, draw)
    np.save(paths.dev_targets, targets)
    records = []
    for number, (made, error) in enumerate(predictions):
        paths.trial(number).folder.mkdir(parents=True, exist_ok=True)
        np.save(paths.trial(number).predictions, made)
        records.append(_record(case, number, error, draw))
    facts = study_facts(num_dev=case.num_dev, trials=TRIALS)
    facts["sweep"]["objective"] = {"metric": case.metric, "target_error": case.target}
    facts["data"]["task"] = "regression" if case.metric == "rmse" else "classification"
    direction = METRICS[case.metric].direction
    study = StudyData(
        name="planted",
        direction=direction,
        metric=case.metric,
        records=tuple(records),
        finalists=(),
        facts=facts,
        space=SPACE,
    )
    return Analysis(study, paths)


Predicted = list[tuple[NDArray[np.float32], float]]


def _drawn(case: Planted, draw: np.random.Generator) -> tuple[NDArray[np.generic], Predicted]:
    """Targets, and of each trial predictions with the error that they show; half of what is hard is so for all."""
    count, found = case.num_dev, []
    if case.metric == "rmse":
        numbers = draw.normal(0, 3.0, (count, 1)).astype(np.float32)
        shared = draw.standard_normal((count, 1))
        for _ in range(TRIALS):
            residuals = case.dev * np.sqrt(0.5) * (shared + draw.standard_normal((count, 1)))
            found.append(((numbers + residuals).astype(np.float32), float(np.sqrt((residuals**2).mean()))))
        return numbers, found
    classes = (draw.random(count) >= case.frequent).astype(np.int64)
    ease = draw.standard_normal(count)
    limit = np.quantile(draw.standard_normal(100_000), case.dev)
    for _ in range(TRIALS):
        if case.learns:
            right = np.sqrt(0.5) * (ease + draw.standard_normal(count)) > limit
            said = np.where(right, classes, 1 - classes)
        elif case.frequent > 0.5:  # nearly always the frequent class
            said = (draw.random(count) < 0.003).astype(np.int64)
        else:
            said = draw.integers(0, 2, count)
        found.append((np.eye(2, dtype=np.float32)[said] * 0.8 + 0.1, float((said != classes).mean())))
    return classes, found


def _record(case: Planted, number: int, error: float, draw: np.random.Generator) -> TrialRecord:
    measured = 3 * case.num_dev

    def seen(true: float) -> float:
        if case.metric == "rmse":
            return float(true * np.sqrt(draw.chisquare(measured) / measured))
        return float(draw.binomial(measured, true) / measured)

    assert _TEMPLATE.best is not None
    best = replace(
        _TEMPLATE.best,
        dev_metric=error_of(case.metric, error), train_metric=error_of(case.metric, seen(case.own_train)),
    )  # fmt: skip
    last = replace(best, epoch=20, train_metric=error_of(case.metric, seen(case.fitted)))
    return replace(_TEMPLATE, number=number, best=best, last=last, rungs=((20, best.dev_metric),))


@pytest.mark.deep
@pytest.mark.parametrize("name", CASES)
def test_the_verdict_of_a_report_is_right_in_95_of_100_studies(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = [planted_study(case, seed, tmp_path).best_parts for seed in range(SEEDS)]
    verdicts = [parts.verdict for parts in found if parts is not None]
    assert len(verdicts) == SEEDS
    assert sum(verdict in case.right for verdict in verdicts) >= RIGHT, {v: verdicts.count(v) for v in set(verdicts)}


@pytest.mark.parametrize(("dev", "is_asked"), [(0.46, True), (0.54, False)])
def test_folds_are_asked_for_where_a_dev_set_has_not_told_the_winner_from_a_guess(
    dev: float, is_asked: bool, tmp_path: Path
) -> None:
    case = Planted(right=(), dev=dev, fitted=0.05, own_train=0.4, num_dev=150)
    for seed in range(20):
        analysis = planted_study(case, seed, tmp_path)
        parts = analysis.best_parts
        assert parts is not None
        if parts.verdict is Verdict.NO_BETTER_THAN_A_GUESS and parts.seems_better is is_asked:
            assert (advice(analysis).key == "data.folds") == is_asked
            return
    raise AssertionError("no study like that was drawn")


@pytest.mark.parametrize(("of_large", "is_asked"), [(0.3, False), (0.1, True)])
def test_a_larger_network_is_asked_for_where_large_ones_fit_better_than_small_ones(
    of_large: float, is_asked: bool, tmp_path: Path
) -> None:
    analysis = planted_study(CASES["noise ceiling"], 0, tmp_path)
    records = list(analysis.study.records)
    for position, record in enumerate(records):
        assert record.best is not None
        is_large = position % 2 == 0
        fit = replace(record.best, train_metric=1 - (of_large if is_large else 0.3))
        records[position] = replace(record, num_parameters=4000 if is_large else 1000, best=fit, last=fit)
    seen = Analysis(replace(analysis.study, records=tuple(records)), analysis.paths)
    assert _size_is_enough(seen) is not is_asked
