"""How much of the search space is unusable, and from which learning rate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.ranking import diverged
from tuner.records import TrialRecord, TrialState

HIGH_SHARE = 0.1
"""More diverging trials than this waste the budget."""
_MOSTLY = 0.8
"""Share of the trials above a bound that must have diverged for the bound to be worth drawing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feasibility:
    """Of all trials that are no longer waiting."""

    trials: int
    diverged: int
    failed: int
    """For other reasons."""
    learning_rate_bound: float | None
    """Above it nearly all trials diverged; None if no such bound stands out."""

    @property
    def share(self) -> float:
        """Share of the trials that diverged."""
        return self.diverged / self.trials if self.trials else 0.0


def feasibility(records: Sequence[TrialRecord]) -> Feasibility:
    """Count diverged trials and look for the learning rate that divides them from the others."""
    begun = [r for r in records if r.state.final or r.best is not None]
    bad = [r for r in begun if diverged(r)]
    failed = sum(r.state is TrialState.FAILED for r in begun) - len(bad)
    return Feasibility(trials=len(begun), diverged=len(bad), failed=failed, learning_rate_bound=_bound(begun))


def _bound(records: Sequence[TrialRecord]) -> float | None:
    """The lowest diverged learning rate above which at least three trials, and nearly all, diverged."""
    rates = sorted(
        (float(rate), diverged(r))
        for r in records
        if isinstance(rate := r.params.get("learning_rate"), int | float) and (diverged(r) or r.value is not None)
    )
    bound: float | None = None
    diverged_above = 0
    for above, (rate, bad) in enumerate(reversed(rates), start=1):
        diverged_above += bad
        if bad and above >= 3 and diverged_above >= _MOSTLY * above:
            bound = rate
    return bound
