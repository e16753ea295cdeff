"""By how much the best dev score overstates the network that made it: the winner's curse, from the dev set's noise."""

from __future__ import annotations

import numpy as np

from tuner.report.certainty.weighted import Array

_SIMULATIONS = 2000
_REACH = 8.0
"""A trial that lies more standard deviations of noise behind the best never wins."""


def expected_overstatement(values: Array, samples: Array, *, least_noise: float = 0.0) -> float:
    """How much the largest of the values exceeds the true metric of its trial, on average.

    Args:
        values: Metrics of all finished trials, larger is better, shape (trials,).
        samples: Of the best of them on B paired resamples, shape (B, compared trials).
        least_noise: What is known besides of the luck of a trial (`fold_noise`).

    The true metrics are taken to be spread like the upper half of the values, less the noise; studies drawn from them
    show how lucky a winner is. The luck that all trials share (an easy dev set) has mean zero and is left out.
    """
    sd = max(least_noise, own_noise(np.sort(values)[::-1][: samples.shape[1]], samples))
    if len(values) < 2 or sd == 0.0:
        return 0.0
    truth = _less_noise(values, sd)
    truth = truth[truth > truth.max() - _REACH * sd]
    rng = np.random.default_rng(0)
    seen = truth + sd * rng.standard_normal((_SIMULATIONS, len(truth)))
    winners = seen.argmax(axis=1)
    return float((seen[np.arange(len(seen)), winners] - truth[winners]).mean())


def own_noise(values: Array, samples: Array) -> float:
    """Standard deviation of the luck that a trial among the best does not share with the others."""
    order = np.argsort(-values)
    first = order[: min(len(order), 5)]
    rough = _residual_sd(samples[:, first])
    near = order[: max(len(first), int((values > values[order[0]] - 4 * rough).sum()))]
    return _residual_sd(samples[:, near])


def fold_noise(scores: Array, *, repeats: int = 1) -> float:
    """Standard deviation of the luck that a cross-validated trial does not share with others, as its folds show it.

    A fold's network has luck with its examples, its initial weights and its batches. What is left of a score without
    the mean of its trial and of its fold is that luck; resamples of the dev examples show the first part alone.
    Repeats are of the same examples: of the luck of one of them, the part that differs between them (the trainings and
    how the examples are shared out) is averaged over them, and what they have in common (the examples) is not.

    Args:
        scores: Of the best trials, larger is better, shape (trials, folds), those of a repeat behind each other.
        repeats: How many.
    """
    trials, columns = scores.shape
    folds = columns // repeats
    if trials < 2 or folds < 2 or columns % repeats:
        return 0.0
    each = scores.reshape(trials, repeats, folds)
    own = each - each.mean(axis=2, keepdims=True) - each.mean(axis=0) + each.mean(axis=(0, 2))[None, :, None]
    of_one = float((own**2).sum() / (repeats * (trials - 1) * (folds - 1)) / folds)
    if repeats == 1:
        return float(np.sqrt(of_one))
    means = each.mean(axis=2)
    left = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0) + means.mean()
    differs = min(of_one, float((left**2).sum() / ((trials - 1) * (repeats - 1))))
    return float(np.sqrt(of_one - differs + differs / repeats))


def _residual_sd(samples: Array) -> float:
    trials = samples.shape[1]
    if trials < 2:
        return 0.0
    luck = samples - samples.mean(axis=0)
    own = luck - luck.mean(axis=1, keepdims=True)
    return float(np.sqrt((own**2).mean(axis=0).mean() * trials / (trials - 1)))


def _less_noise(values: Array, sd: float) -> Array:
    """The values with their upper half drawn together, so that noise added to them gives back their spread."""
    middle = np.median(values)
    upper = values >= middle
    spread = ((values[upper] - middle) ** 2).mean()
    keep = np.sqrt(max(spread - sd**2, 0.0) / spread) if spread > 0 else 0.0
    shrunk: Array = np.where(upper, middle + keep * (values - middle), values)
    return shrunk
