"""How much thought a proposal is worth, so that the search stays a small share of the training that it steers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.records import TrialRecord, TrialState

SHARE = 0.05
"""Of the training time, at most so much goes into proposals."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How a model is fitted and asked."""

    fitted: int
    """Observations that the hyperparameters are fitted to, at most."""
    iterations: int
    """Of the fit, at most."""
    conditioned: int
    """Observations that predictions rest on, at most."""
    uniform: int
    """Candidates drawn anywhere."""
    local: int
    """Candidates drawn around the best trials."""
    refinements: tuple[float, ...]
    """Sizes of the small moves that the best candidates are improved by, one round each."""

    def seconds(self, observations: int, proposals: int) -> float:
        """About how long it takes on one core of today to make a batch of proposals (measured, rounded up)."""
        fitted, conditioned = min(observations, self.fitted), min(observations, self.conditioned)
        candidates = self.uniform + self.local
        moves = len(self.refinements) * 100
        fit = self.iterations * (2e-4 + 1.5e-7 * fitted**2)
        ask = candidates * (2e-6 + 1.5e-8 * conditioned + 1e-10 * conditioned**2)
        each = 5e-4 + candidates * 5e-7 + moves * (2e-6 + 1.5e-8 * conditioned + 1e-10 * conditioned**2)
        return fit + ask + proposals * each


FULL = Effort(fitted=160, iterations=30, conditioned=500, uniform=400, local=600, refinements=(0.1, 0.03))
LIGHT = Effort(fitted=50, iterations=10, conditioned=120, uniform=80, local=160, refinements=(0.05,))


def worthwhile(records: Sequence[TrialRecord], *, proposals: int) -> Effort | None:
    """The most thorough effort that these trials can pay for; None if they are too cheap for any model.

    A trial's seconds are its share of the wall time of all that trained beside it.
    """
    seconds = [r.seconds for r in records if r.state is not TrialState.RUNNING and r.seconds > 0]
    if not seconds:
        return FULL
    affordable = SHARE * proposals * sum(seconds) / len(seconds)
    observations = sum(len(record.rungs) for record in records)
    return next((effort for effort in (FULL, LIGHT) if effort.seconds(observations, proposals) <= affordable), None)
