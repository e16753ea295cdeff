"""Finalists: the best trials trained again on fresh seeds, since the best of many is partly luck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tuner.records import FINALIST, PHASES, Json, TrialRecord
from tuner.search.strategy import Decision, Start


def with_its_phases(record: TrialRecord) -> Mapping[str, Json]:
    """The fact by which a training has the phases of the trial that it repeats, if that has some."""
    return {PHASES: record.facts[PHASES]} if PHASES in record.facts else {}


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
        self._epochs = epochs
        self._num_before = len(before)
        trained = Counter(record.facts.get("repeat_of") for record in before)
        self._num_finalists = len(finalists)
        self._left = [
            (finalist, seed)
            for seed in range(1, seeds + 1)
            for finalist in finalists
            if trained[finalist.number] < seed
        ]

    @property
    def what_is_left(self) -> str:
        """What there is to do, in words; empty if nothing is."""
        if not self._left:
            return ""
        known = f"; {len(self._left)} trainings are missing to that" if self._num_before else ""
        return f"training the best {self._num_finalists} trials again on {self.seeds} fresh seeds each{known}"

    @property
    def num_weights(self) -> int:
        """Of so many re-trainings weights are kept: of all, those before included."""
        return self._num_before + len(self._left)

    def facts(self, number: int) -> Mapping[str, Json]:
        """What is remembered of a re-training: the trial that it repeats, and which of its seeds it is."""
        finalist, seed = self._left[number - self._num_before]
        return {"repeat_of": finalist.number, "repeat": seed, "repeats": self.seeds, **with_its_phases(finalist)}

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        begun = len(records) - self._num_before
        return [
            Start(params=finalist.params, to_epoch=self._epochs, tier=FINALIST)
            for finalist, _ in self._left[begun : begun + room]
        ]

    def explain(self) -> tuple[str, ...]:
        return ()
