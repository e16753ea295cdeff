"""Finalists: the best trials trained again on fresh seeds, since the best of many is partly luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tuner.records import FINALIST, Json, TrialRecord
from tuner.search.strategy import Decision, Start


class FinalistStrategy:
    """Implements `search.strategy.Strategy`: each finalist trained to the end on each fresh seed, once.

    What was trained before counts, whichever trials were the finalists then: of each, only the seeds that are missing
    are trained. All finalists have a first seed before any has a second.
    """

    def __init__(
        self, finalists: Sequence[TrialRecord], *, seeds: int, epochs: int, before: Sequence[TrialRecord] = ()
    ) -> None:
        """
        Args:
            finalists: The best trials.
            seeds: Fresh seeds that each of them shall have.
            epochs: Of a full training.
            before: The re-trainings that there are.
        """
        self.seeds = seeds
        self.epochs = epochs
        self.num_before = len(before)
        trained = Counter(record.facts.get("repeat_of") for record in before)
        self._left = [
            (finalist, seed)
            for seed in range(1, seeds + 1)
            for finalist in finalists
            if trained[finalist.number] < seed
        ]

    @property
    def total(self) -> int:
        """Re-trainings, those before included."""
        return self.num_before + len(self._left)

    def facts(self, number: int) -> Mapping[str, Json]:
        """What is remembered of a re-training: the trial that it repeats, and which of its seeds it is."""
        finalist, seed = self._left[number - self.num_before]
        return {"repeat_of": finalist.number, "repeat": seed, "repeats": self.seeds}

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        begun = len(records) - self.num_before
        return [
            Start(params=finalist.params, to_epoch=self.epochs, tier=FINALIST)
            for finalist, _ in self._left[begun : begun + room]
        ]

    def explain(self) -> tuple[str, ...]:
        return ()
