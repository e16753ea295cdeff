"""Deciding on several trials at a time, and only while none trains, as a wrapper around any strategy."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.records import TrialRecord, TrialState
from tuner.search.observe import in_state
from tuner.search.strategy import Decision, Strategy
from tuner.trials import trials_of


class SynchronousStrategy:
    """Asks the inner strategy for as many decisions each time, once all trials have come to where they were sent.

    So it never depends on which trial was quicker, nor on how many train at once: the same seed and the same curves
    give the same search on one worker and on many, on an idle machine and on a busy one.
    """

    def __init__(self, inner: Strategy, *, together: int) -> None:
        """
        Args:
            inner: Decides.
            together: How many decisions are made at a time.
        """
        self._inner = inner
        self._together = together

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        if in_state(trials, TrialState.RUNNING):
            return []
        return self._inner.decide(trials, self._together)

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        return self._inner.explain()
