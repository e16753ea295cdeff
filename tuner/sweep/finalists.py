"""Finalists: the best trials trained again on fresh seeds, since the best of many is partly luck."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.records import Direction, TrialRecord
from tuner.report.ranking import rank_trials
from tuner.search.strategy import Decision, Start

FINALIST = "finalist"
"""The tier of a finalist's re-training."""


def best_trials(records: Sequence[TrialRecord], *, direction: Direction, count: int) -> list[TrialRecord]:
    """The best COMPLETE trials, in the order of the leaderboard."""
    return rank_trials(records, direction=direction)[:count]


class FinalistStrategy:
    """Implements `search.strategy.Strategy`: each finalist trained to the end on each fresh seed, once.

    Re-training number i repeats finalist i modulo their count, so that all finalists have a first seed before any
    has a second.
    """

    def __init__(self, finalists: Sequence[TrialRecord], *, seeds: int, epochs: int) -> None:
        self.finalists = tuple(finalists)
        self.seeds = seeds
        self.epochs = epochs

    @property
    def total(self) -> int:
        return len(self.finalists) * self.seeds

    def repeats(self, number: int) -> TrialRecord:
        """The finalist that a re-training repeats."""
        return self.finalists[number % len(self.finalists)]

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        numbers = range(len(records), min(self.total, len(records) + room))
        return [Start(params=self.repeats(n).params, to_epoch=self.epochs, tier=FINALIST) for n in numbers]

    def explain(self) -> tuple[str, ...]:
        return ()
