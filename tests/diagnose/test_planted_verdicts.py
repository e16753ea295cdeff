"""Verdicts on studies whose truth is known, over dev sets and training samples drawn anew a hundred times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pytest

from tests.diagnose.curves import curve
from tuner.diagnose.error_parts import Reached, Verdict, error_of, error_parts
from tuner.diagnose.intervals import Interval, wilson_interval
from tuner.spec.known.metrics import SHARES

SEEDS = 100
RIGHT = 95


@dataclass(frozen=True, kw_only=True)
class Planted:
    """True errors of a best trial, and the numbers of examples that they are measured on."""

    train: float
    own_train: float
    dev: float
    target: float | None
    guess: float | None = None
    possible: float | None = None
    """True dev error of a simple model."""
    num_train: int = 600
    num_dev: int = 600
    metric: str = "accuracy"
    train_dev: float | None = None
    right: frozenset[Verdict]


def planted(*right: Verdict, train: float, dev: float, own_train: float | None = None, **more: object) -> Planted:
    own = train if own_train is None else own_train
    return Planted(right=frozenset(right), train=train, own_train=own, dev=dev, **more)  # type: ignore[arg-type]


CASES = {
    "under-fit": planted(Verdict.BIAS, train=0.2, dev=0.21, target=0.05, num_train=1000, num_dev=1000),
    "over-fit, hidden by early stopping": planted(
        Verdict.VARIANCE, train=0.012, own_train=0.246, dev=0.25, target=0.02, num_dev=200
    ),
    "over-fit, hidden by early stopping, unknown target": planted(
        Verdict.VARIANCE, train=0.012, own_train=0.246, dev=0.25, target=None, guess=0.4, num_dev=200
    ),
    "both": planted(Verdict.BOTH, train=0.15, dev=0.35, target=0.02),
    "neither": planted(Verdict.UNDECIDED, Verdict.AT_TARGET, train=0.02, dev=0.02, target=0.018, num_dev=300),
    "noise ceiling": planted(Verdict.BIAS_OR_NOISE, train=0.25, dev=0.26, target=None, guess=0.45),
    "noise ceiling that is known": planted(
        Verdict.UNDECIDED, Verdict.AT_TARGET, train=0.25, dev=0.26, target=0.25, guess=0.45
    ),
    "tiny dev set": planted(
        Verdict.UNDECIDED, Verdict.NO_BETTER_THAN_A_GUESS, Verdict.AT_TARGET,
        train=0.1, dev=0.1, target=0.1, guess=0.5, num_train=200, num_dev=13,
    ),
    "regression": planted(Verdict.VARIANCE, train=0.3, dev=1.0, target=0.25, guess=2.0, metric="rmse"),
    "regression, under-fit": planted(Verdict.BIAS, train=0.9, dev=1.0, target=0.25, guess=2.0, metric="rmse"),
    "regression, unknown target": planted(
        Verdict.BIAS_OR_NOISE, train=0.9, dev=1.0, target=None, guess=2.0, metric="rmse"
    ),
    "imbalanced": planted(Verdict.NO_BETTER_THAN_A_GUESS, train=0.03, dev=0.05, target=None, guess=0.05),
    "unknown target": planted(Verdict.VARIANCE, train=0.0, dev=0.12, target=None, guess=0.5),
    "noise that a simple model shows to be bias": planted(
        Verdict.BIAS, train=0.25, dev=0.26, target=None, guess=0.45, possible=0.12
    ),
    "both, as a simple model shows": planted(Verdict.BOTH, train=0.2, dev=0.35, target=None, guess=0.5, possible=0.03),
    "a simple model as bad": planted(
        Verdict.BIAS_OR_NOISE, train=0.25, dev=0.26, target=None, guess=0.45, possible=0.26
    ),
    "over-fit beside a simple model that is no better": planted(
        Verdict.VARIANCE, train=0.012, dev=0.25, target=None, guess=0.4, num_dev=200, possible=0.25
    ),
    "nothing learnt, where a simple model learns": planted(
        Verdict.BIAS, train=0.44, dev=0.46, target=None, guess=0.45, possible=0.15
    ),
    "pure noise, to a simple model too": planted(
        Verdict.NO_BETTER_THAN_A_GUESS, train=0.0, dev=0.5, target=None, guess=0.48, possible=0.49
    ),
    "a target that is given outweighs a simple model": planted(
        Verdict.UNDECIDED, Verdict.AT_TARGET, train=0.25, dev=0.26, target=0.25, guess=0.45, possible=0.2
    ),
    "regression that a simple model shows to be under-fit": planted(
        Verdict.BIAS, train=0.9, dev=1.0, target=None, guess=2.0, possible=0.5, metric="rmse"
    ),
    "mismatch": planted(Verdict.MISMATCH, train=0.02, train_dev=0.03, dev=0.15, target=0.02, num_dev=300),
    "mismatch, unknown target": planted(Verdict.MISMATCH, train=0.05, train_dev=0.06, dev=0.2, target=None, guess=0.5),
    "mismatch, regression": planted(
        Verdict.MISMATCH, train=0.3, train_dev=0.33, dev=1.0, target=0.25, guess=2.0, metric="rmse"
    ),
    "given apart, but no mismatch": planted(Verdict.VARIANCE, train=0.0, train_dev=0.15, dev=0.15, target=0.02),
    "pure noise": planted(Verdict.NO_BETTER_THAN_A_GUESS, train=0.0, dev=0.5, target=None, guess=0.48),
}  # fmt: skip


def measured(error: float, count: int, metric: str, draw: np.random.Generator) -> float:
    """An error as so many examples show it."""
    if metric in SHARES:
        return draw.binomial(count, error) / count
    return error * sqrt(draw.chisquare(count) / count)


def simple_model(case: Planted, draw: np.random.Generator) -> Reached | None:
    """What a simple model reaches on the dev set."""
    if case.possible is None:
        return None
    error = measured(case.possible, case.num_dev, case.metric, draw)
    value = error_of(case.metric, error)  # its own inverse
    if case.metric in SHARES:
        return Reached("boosting", value, wilson_interval(value, case.num_dev))
    margin = 1.96 * error / sqrt(2 * case.num_dev)
    return Reached("boosting", value, Interval(error - margin, error + margin))


def held_out(case: Planted, draw: np.random.Generator) -> tuple[float, int] | None:
    """The metric on held-out training examples, half as many as dev examples."""
    if case.train_dev is None:
        return None
    count = case.num_dev // 2
    return error_of(case.metric, measured(case.train_dev, count, case.metric, draw)), count


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_right_in_95_of_100_draws(name: str) -> None:
    case = CASES[name]
    right = 0
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        train, own, dev = (
            measured(error, count, case.metric, draw)
            for error, count in (
                (case.train, case.num_train), (case.own_train, case.num_train), (case.dev, case.num_dev),
            )
        )  # fmt: skip
        # 1 - error, or the error itself: its own inverse
        best, of_train, reached = (error_of(case.metric, error) for error in (dev, own, train))
        result = replace(curve(1, lambda _: 0.0)[0], dev_metric=best, train_metric=of_train)
        found = error_parts(
            result, metric=case.metric, num_train=case.num_train, num_dev=case.num_dev, target_error=case.target,
            fitted=reached, guess_error=case.guess, reached=simple_model(case, draw), train_dev=held_out(case, draw),
        )  # fmt: skip
        assert found is not None
        right += found.verdict in case.right
    assert right >= RIGHT
