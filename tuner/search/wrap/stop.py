"""Ending the search before its trials are used up, as a wrapper around any strategy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import attrgetter

from tuner.ranking import usable_value
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.observe import Noise, best_of, in_state
from tuner.search.strategy import Advance, Decision, Strategy
from tuner.spec.model import StopSpec
from tuner.trials import Trials, trials_of


class StoppingStrategy:
    """Once a limit of `search.stop` is met, lets trials that run run out, and decides nothing but this:

    the best trial, if it is paused, is trained to its end, so that the study ends with it as a finished trial.
    """

    def __init__(
        self,
        inner: Strategy,
        stop: StopSpec,
        *,
        direction: Direction,
        epochs: int,
        noise: Noise,
        elapsed_seconds: Callable[[], float],
    ) -> None:
        """
        Args:
            inner: Decides until then.
            stop: The limits.
            direction: Of the dev metric.
            epochs: Of a full training.
            noise: Of the dev metric: an improvement must be larger to end a plateau.
            elapsed_seconds: Wall-clock seconds of the study so far, over all its runs.
        """
        self._inner = inner
        self._stop = stop
        self._direction = direction
        self._epochs = epochs
        self._noise = noise
        self._elapsed_seconds = elapsed_seconds
        self.reason: str | None = None
        """The rule by which the search has stopped, with its figures; None while it goes on."""
        self._told = False

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        self.reason = self._why_stop(trials)
        return self._end_with(trials, room) if self.reason else self._inner.decide(trials, room)

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines = self._inner.explain()
        if self.reason and not self._told:
            self._told = True
            lines += (f"the search stops: {self.reason}",)
        return lines

    def _end_with(self, trials: Trials, room: int) -> list[Decision]:
        best = best_of(trials, self._direction)
        if best is None or best.state is not TrialState.PAUSED or not room:
            return []
        if in_state(trials, TrialState.RUNNING):
            return []  # one of them may become the best
        return [Advance(trial=best.number, to_epoch=self._epochs)]

    def _why_stop(self, trials: Trials) -> str | None:
        stop = self._stop
        best = best_of(trials, self._direction)
        value = usable_value(best) if best and not best.violation else None
        if stop.target is not None and value is not None and not self._direction.better(stop.target, value):
            return f"trial {best.number if best else 0} reached the target {stop.target:g} with {value:g}"
        epochs = trials.total(_epochs)
        if stop.epochs is not None and epochs >= stop.epochs:
            return f"{epochs} epochs are trained, the limit is {stop.epochs}"
        seconds = self._elapsed_seconds()
        if stop.seconds is not None and seconds >= stop.seconds:
            return f"{seconds:.0f} seconds are spent, the limit is {stop.seconds:g}"
        if stop.plateau is not None:
            noise = self._noise(trials)
            since = trials_since_improvement(trials, self._direction, noise=noise)
            if since >= stop.plateau:
                return f"no improvement larger than the noise ({noise:.2g}) in {since} trials"
        return None


_epochs: Callable[[TrialRecord], int] = attrgetter("epochs")


def trials_since_improvement(records: Sequence[TrialRecord], direction: Direction, *, noise: float) -> int:
    """Trials, by number, that were looked at since the best value last rose by more than the noise.

    Breaking constraints by less is an improvement, too. Trials that are still RUNNING do not count.
    """
    least, best = math.inf, direction.worst
    since = 0
    for record in records:
        if record.state is TrialState.RUNNING:
            continue
        value = usable_value(record)
        margin = direction.sign * noise
        if value is not None and (
            record.violation < least
            or (record.violation == least and (best == direction.worst or direction.better(value, best + margin)))
        ):
            least, best, since = record.violation, value, 0
        else:
            since += 1
    return since
