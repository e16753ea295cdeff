"""How much thought a proposal is worth, so that the search stays a small share of the training that it steers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.records import TrialRecord
from tuner.search.priority.seen import MOST_SEEN
from tuner.trials import trials_of

SHARE = 0.025
"""Of the training seconds of all trials together, so much may go into decisions, by the estimate of `Effort.seconds`:
one part in twenty of the wall time where two trials train at a time."""
_MOST_BUSY = 0.25
"""Of the wall time, so much at most: of more than ten workers each one's share is smaller, since one process decides
for all."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How a model is fitted and asked."""

    fitted: int
    """Observations that the hyperparameters are fitted to, at most."""
    iterations: int
    """Of the fit, at most."""
    conditioned: int
    """Observations that predictions rest on, at most."""
    pending: int
    """Trials under way that are taken to turn out as expected, at most."""
    uniform: int
    """Candidates drawn anywhere."""
    local: int
    """Candidates drawn around the best trials."""
    refinements: tuple[float, ...]
    """Sizes of the small moves that the best candidates are improved by, one round each."""

    def seconds(self, observations: int, decisions: int, *, pending: int = 0) -> float:
        """About how long it takes on one core of today to make a batch of decisions (measured)."""
        fitted = min(observations, self.fitted)
        conditioned = min(observations, self.conditioned) + min(pending, self.pending) + decisions // 2
        candidates = self.uniform + self.local
        predict = 2e-6 + 1.5e-8 * conditioned + 1e-10 * conditioned**2
        fit = self.iterations * (1.5e-4 + 4e-8 * fitted**2)
        ask = 1e-3 + (candidates + observations) * predict
        each = 2e-4 + candidates * 5e-7 + len(self.refinements) * 100 * predict
        return fit + ask + decisions * each


# FULL is what the quality was measured with (`benchmarks/search_quality.py`); what decisions take is measured by
# `benchmarks/search_cost.py`.
FULL = Effort(fitted=160, iterations=30, conditioned=500, pending=250, uniform=400, local=600, refinements=(0.1, 0.03))
MIDDLE = Effort(fitted=100, iterations=20, conditioned=250, pending=60, uniform=200, local=300, refinements=(0.1, 0.03))
LIGHT = Effort(fitted=50, iterations=10, conditioned=120, pending=60, uniform=80, local=160, refinements=(0.05,))
QUICK = Effort(fitted=30, iterations=5, conditioned=60, pending=30, uniform=40, local=80, refinements=())


def _num_rungs(record: TrialRecord) -> int:
    return len(record.rungs)


def _num_rungs_of_trained(record: TrialRecord) -> int:
    return len(record.rungs) if record.seconds > 0 else 0


def _nanoseconds(record: TrialRecord) -> int:
    """Whole, since their sum does not depend on the order in which trials ended."""
    return round(1e9 * record.seconds) if record.rungs and math.isfinite(record.seconds) else 0


def worthwhile(records: Sequence[TrialRecord], *, decisions: int, under_way: int = 0) -> Effort | None:
    """The most thorough effort that these trials can pay for; None if they are too cheap for any model.

    Each decision is paid by the seconds of training that one has led to so far, on average. A trial's seconds are its
    share of the wall time of all that trained beside it.

    Args:
        records: All trials.
        decisions: How many are to be made at once.
        under_way: How many trials are in training.
    """
    trials = trials_of(records)
    of_trained = trials.total(_num_rungs_of_trained)
    if not of_trained:
        return FULL
    each = trials.total(_nanoseconds) / 1e9 / of_trained
    observations = trials.total(_num_rungs) * min(len(trials), MOST_SEEN) // len(trials)
    affordable = min(SHARE, _MOST_BUSY / (under_way + decisions)) * decisions * each
    efforts = (FULL, MIDDLE, LIGHT, QUICK)
    return next((e for e in efforts if e.seconds(observations, decisions, pending=under_way) <= affordable), None)
