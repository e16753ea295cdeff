"""Whether a trial is better than one answer for all examples, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.report.certainty.dev_scores import DevScores
from tuner.report.certainty.guess import guess_margins
from tuner.report.certainty.resampling import resample_weights, resampled_metric

N = 80


def scores(metric: str, predictions: np.ndarray, targets: np.ndarray) -> DevScores:
    samples = resampled_metric(metric, predictions, targets, resample_weights(len(targets), resamples=400))
    return DevScores(
        trials=(7,), metric=metric, values=samples[:1], samples=samples[1:, None], num_examples=len(targets)
    )


@pytest.mark.parametrize("metric", ["accuracy", "loss", "balanced_accuracy"])
def test_of_classes_the_margin_is_that_of_the_paired_lead(metric: str) -> None:
    draw = np.random.default_rng(0)
    targets = draw.integers(2, size=N)
    said = np.where(draw.random(N) < 0.8, targets, 1 - targets)
    found = scores(metric, np.eye(2)[said] * 0.8 + 0.1, targets)
    shares = np.tile(np.bincount(targets) / N, (N, 1))
    guess = resampled_metric(metric, shares, targets, resample_weights(N, resamples=400))[1:]
    assert guess_margins(found, targets) == {7: pytest.approx(1.96 * float((found.samples[:, 0] - guess).std()))}


def test_what_all_examples_share_is_no_part_of_it() -> None:
    """A few numbers that are hard for all: the interval of an RMSE is wide, that of the lead over the mean less so."""
    draw = np.random.default_rng(0)
    targets = draw.standard_t(2.5, size=(N, 1)).astype(np.float32)
    noise = draw.normal(0, 0.3, (N, 1))
    found = scores("rmse", targets * 0.3 + noise, targets)
    (margin,) = guess_margins(found, targets).values()
    assert margin < 1.96 * float(found.samples[:, 0].std())


def test_of_other_metrics_it_is_not_known() -> None:
    targets = np.arange(N) % 2
    assert guess_margins(scores("auroc", np.eye(2)[targets], targets), targets) == {}
