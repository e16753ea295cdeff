"""By how much other dev sets would change what trials are better by than one answer for all examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tuner.report.certainty.dev_scores import DevScores, paired_half_width
from tuner.report.certainty.resampling import resample_weights, resampled_metric
from tuner.report.certainty.weighted import Array


def guess_margins(scores: DevScores, targets: NDArray[np.generic]) -> Mapping[int, float]:
    """Half the width of the interval of each trial's lead over a guess, pair by pair, by number; empty if not known.

    Args:
        scores: Of the trials on resamples of the dev set.
        targets: Of the dev examples.
    """
    answer = _one_answer(scores.metric, targets)
    if answer is None:
        return {}
    weights = resample_weights(len(targets), resamples=len(scores.samples) + 1, examples=scores.examples)
    guess = resampled_metric(scores.metric, answer, targets, weights)[1:]
    if not np.isfinite(guess).all():
        return {}
    spreads = (scores.samples - guess[:, None]).std(axis=0)
    count = scores.num_examples
    return {t: paired_half_width(scores.metric, float(s), count) for t, s in zip(scores.trials, spreads, strict=True)}


def _one_answer(metric: str, targets: NDArray[np.generic]) -> Array | None:
    """Predictions that are the same for all: how frequent the classes are, or a middle of the numbers."""
    if metric in ("accuracy", "balanced_accuracy", "loss") and targets.ndim == 1 and targets.dtype.kind in "iu":
        shares = np.bincount(targets.astype(np.int64)) / len(targets)
        return np.tile(shares, (len(targets), 1))
    if metric in ("rmse", "mae") and targets.dtype.kind == "f":
        numbers = targets.reshape(len(targets), -1).astype(np.float64)
        middle = numbers.mean(axis=0) if metric == "rmse" else np.median(numbers, axis=0)
        return np.tile(middle, (len(numbers), 1))
    return None
