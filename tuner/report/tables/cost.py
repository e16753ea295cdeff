"""What a study cost, and what pruning spared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tuner.records import TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of the search; finalists are counted apart."""

    states: dict[str, int]
    """Trials by state."""
    training_seconds: float
    """Training and evaluation seconds of all trials together."""
    wall_seconds: float | None
    """Time in which at least one trial was under way; None without time stamps."""
    epochs: int
    epochs_spared: int
    """Epochs that pruned trials did not train."""
    seconds_spared: float
    """What those epochs would have taken, each trial at the pace that it had."""
    fused: int
    """Trials that were trained together with others as one program."""
    cohort_width: int | None
    """Median number of trials trained together, over the fused ones."""
    finalist_seconds: float

    @property
    def share_spared(self) -> float:
        """Of the epochs of training every trial as far as the finished ones, how many pruning has spared."""
        return self.epochs_spared / max(1, self.epochs + self.epochs_spared)

    @property
    def trials_per_hour(self) -> float | None:
        """Trials that reached an end in an hour of wall-clock time."""
        ended = sum(n for state, n in self.states.items() if TrialState(state).final)
        return 3600 * ended / self.wall_seconds if self.wall_seconds else None


def cost_of(records: Sequence[TrialRecord], *, finalists: Sequence[TrialRecord], full_epochs: int) -> Cost:
    """Add up what the trials say of themselves.

    Args:
        records: The search's trials.
        finalists: Their re-trainings.
        full_epochs: Epochs of a full training.
    """
    widths = sorted(w for r in records if isinstance(w := r.facts.get("cohort_width"), int) and w > 1)
    spared = [(r, max(0, full_epochs - r.epochs)) for r in records if r.state is TrialState.PRUNED]
    return Cost(
        states=dict(Counter(r.state.value for r in records)),
        training_seconds=sum(r.seconds for r in records),
        wall_seconds=_covered_seconds(records),
        epochs=sum(r.epochs for r in records),
        epochs_spared=sum(epochs for _, epochs in spared),
        seconds_spared=sum(epochs * r.seconds / r.epochs for r, epochs in spared if r.epochs),
        fused=len(widths),
        cohort_width=widths[len(widths) // 2] if widths else None,
        finalist_seconds=sum(r.seconds for r in finalists),
    )


def _covered_seconds(records: Iterable[TrialRecord]) -> float | None:
    """Length of the union of all trials' lives: the pauses between two runs do not count."""
    lives = sorted(
        (start, end)
        for r in records
        if (start := _moment(r.started)) is not None and (end := _moment(r.ended)) is not None
    )
    covered, reached = 0.0, None
    for start, end in lives:
        begin = start if reached is None else max(start, reached)
        covered += max(0.0, (end - begin).total_seconds())
        reached = end if reached is None else max(reached, end)
    return covered or None


def _moment(stamp: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
