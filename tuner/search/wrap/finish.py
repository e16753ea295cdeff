"""Training the better half to its end where that costs next to nothing, as a wrapper around a strategy that pauses."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.ranking import rank_key, usable_value
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.observe import in_state
from tuner.search.strategy import Advance, Decision, Strategy
from tuner.trials import trials_of

CHEAP_SECONDS = 60.0
"""Of training, of the whole study on one worker: what pausing saves of less, nobody would notice."""


class FinishingStrategy:
    """Once the inner strategy wants nothing more, sends the best of the paused trials on until half have finished.

    Trials that ended early are not ranked: where a whole sweep takes seconds, a table of three of 24 says little, and
    the order of the others is that of their first epochs.
    """

    def __init__(self, inner: Strategy, *, direction: Direction, epochs: int, trials: int) -> None:
        """
        Args:
            inner: Decides until then.
            direction: Of the dev metric.
            epochs: Of a full training.
            trials: Total number of trials of the study.
        """
        self.inner = inner
        self._direction = direction
        self._epochs = epochs
        self._trials = trials
        self._lines: list[str] = []
        self._told = False

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        decisions = self.inner.decide(trials, room)
        is_over = not decisions and room and not in_state(trials, TrialState.RUNNING)
        return [*self._finishing(trials)[:room]] if is_over else decisions

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = self._lines, []
        return (*self.inner.explain(), *lines)

    def _finishing(self, records: Sequence[TrialRecord]) -> list[Advance]:
        finished = sum(record.state is TrialState.COMPLETE for record in records)
        missing = -(-self._trials // 2) - finished
        epochs = sum(record.epochs for record in records)
        if missing <= 0 or not epochs:
            return []
        paused = [r for r in records if r.state is TrialState.PAUSED and usable_value(r) is not None]
        chosen = sorted(paused, key=rank_key(self._direction))[:missing]
        more = sum(self._epochs - record.epochs for record in chosen)
        spent = sum(record.seconds for record in records)
        if not chosen or spent * (1 + more / epochs) > CHEAP_SECONDS:
            return []
        if not self._told:
            self._told = True
            self._lines.append(
                f"{len(chosen)} of the paused trials are trained to their end, since that takes about "
                f"{spent * more / epochs:.2g} s: {finished + len(chosen)} of {len(records)} will have finished"
            )
        return [Advance(trial=record.number, to_epoch=self._epochs) for record in chosen]
