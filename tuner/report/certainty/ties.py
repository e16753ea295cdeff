"""Which trials cannot be told from the best.

The best of many trials is partly lucky, so comparing each trial with the winner alone would reject too many. A
trial leaves the tie group only if some other trial beats it by more than the largest such lead that luck gives
anywhere among all trials (a single-step max-t test on paired resamples, as in Hansen's model confidence set,
doi 10.3982/ECTA5771). The group then holds the truly best trial in at least 95 % of studies.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import CONFIDENCE
from tuner.report.certainty.weighted import Array


def tie_group(values: Array, samples: Array) -> NDArray[np.bool_]:
    """Which trials may be the truly best one.

    Args:
        values: Metrics, larger is better, shape (trials,).
        samples: The same on B paired resamples, shape (B, trials).
    """
    luck = samples - samples.mean(axis=0)
    return np.array([may_be_best(i, values, luck) for i in range(len(values))])


def may_be_best(index: int, values: Array, luck: Array) -> bool:
    """Whether no other trial leads one by more than the largest lead that luck gives anywhere over it.

    Args:
        index: The trial.
        values: Metrics, larger is better, shape (trials,).
        luck: Their resamples less their means, shape (B, trials).
    """
    lead = values - values[index]
    lead_luck = luck - luck[:, [index]]
    sd = np.sqrt(np.einsum("bt,bt->t", lead_luck, lead_luck) / len(luck))
    differs = sd > 1e-12
    if not differs.any():
        return bool(lead.max() <= 0)
    leads = lead[differs] / sd[differs]
    largest_luck = (lead_luck[:, differs] / sd[differs]).max(axis=1)
    return bool(leads.max() <= np.quantile(largest_luck, CONFIDENCE))


def leads_by_luck(index: int, over: int, values: Array, luck: Array) -> bool:
    """Whether one trial's lead over another is within the largest lead over it that luck gives anywhere.

    Arguments as for `may_be_best`; `over` is the trial that is led.
    """
    lead_luck = luck - luck[:, [over]]
    sd = lead_luck.std(axis=0)
    differs = sd > 1e-12
    if not differs[index]:
        return bool(values[index] <= values[over])
    largest_luck = (lead_luck[:, differs] / sd[differs]).max(axis=1)
    return bool((values[index] - values[over]) / sd[index] <= np.quantile(largest_luck, CONFIDENCE))


def largest_of(count: int) -> float:
    """What the largest of so many standard normal numbers hardly ever exceeds."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / max(1, count))


def unpaired_tie_group(values: Array, sd: Array) -> NDArray[np.bool_]:
    """The same without predictions: each metric with its own standard deviation, as if each had its own dev set.

    Wider than the paired group, since two networks on one dev set share most of their luck.
    """
    best = int(values.argmax())
    threshold = largest_of(len(values) - 1)
    group: NDArray[np.bool_] = values[best] - values <= threshold * np.hypot(sd, sd[best])
    return group
