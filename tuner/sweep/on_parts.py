"""The winner's learning curve: its configuration trained again on parts of the training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.records import ON_A_PART, Json, Part, TrialRecord
from tuner.search.strategy import Decision, Start
from tuner.sweep.finalists import with_its_phases


@dataclass(frozen=True, kw_only=True, slots=True)
class PartsPlan:
    """What a learning curve is made of."""

    record: TrialRecord
    """The trial whose configuration is trained."""
    shares: tuple[float, ...]
    """Of the training examples."""
    seeds: int
    """Trainings on each part; each seed has parts of its own, of which each holds the smaller ones."""


class PartsStrategy:
    """Implements `search.strategy.Strategy`: one configuration on each part of each seed, once.

    What was trained of it before counts. The first seed has all its parts before the second has any.
    """

    def __init__(self, plan: PartsPlan, *, epochs: int, before: Sequence[TrialRecord] = ()) -> None:
        """
        Args:
            plan: What to train.
            epochs: Of a full training.
            before: The trainings on parts that there are, of any trial.
        """
        self._plan = plan
        self._epochs = epochs
        self._num_before = len(before)
        trained = {record.part for record in before if record.facts.get("repeat_of") == plan.record.number}
        wanted = [Part(share=share, draw=seed) for seed in range(1, plan.seeds + 1) for share in plan.shares]
        self._left = [part for part in wanted if part not in trained]

    @property
    def what_is_left(self) -> str:
        """What there is to do, in words; empty if nothing is."""
        if not self._left:
            return ""
        shares = ", ".join(f"{100 * share:g}" for share in self._plan.shares)
        known = f"; {len(self._left)} trainings are missing to that" if self._num_before else ""
        return (
            f"training trial {self._plan.record.number} again on {shares} % of the training examples, on "
            f"{self._plan.seeds} seeds each{known}"
        )

    @property
    def num_weights(self) -> int:
        """Of so many trainings weights are kept: of none, since nobody predicts by them."""
        return 0

    def facts(self, number: int) -> Mapping[str, Json]:
        """What is remembered of a training: the trial that it repeats, and on which part."""
        part = self._left[number - self._num_before]
        return {
            "repeat_of": self._plan.record.number,
            "repeat": part.draw,
            "repeats": self._plan.seeds,
            "train_share": part.share,
            **with_its_phases(self._plan.record),
        }

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        begun = len(records) - self._num_before
        wanted = len(self._left[begun : begun + room])
        return [Start(params=self._plan.record.params, to_epoch=self._epochs, tier=ON_A_PART) for _ in range(wanted)]

    def explain(self) -> tuple[str, ...]:
        return ()
