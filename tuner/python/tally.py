"""What a display of progress knows of a run: counts, the best so far, what is being trained, the time that is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

from tuner.ranking import best_trial
from tuner.records import FINALIST, ON_A_PART, Direction, TrialRecord, TrialState
from tuner.report.words.numbers import metric_text
from tuner.spec.model import SweepSpec


class Tally:
    """What displays of progress know: counts over all runs of the study, the best so far, this run's pace."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self.total = spec.search.trials
        self.epochs = spec.training.epochs
        self.finalists = 0 if spec.finalists is None else spec.finalists.count * spec.finalists.seeds
        self.metric = spec.objective.metric
        self._direction = Direction.MAXIMIZE
        self._ended: dict[bool, set[int]] = {False: set(), True: set()}
        """The numbers of trials, and of configurations that are trained again."""
        self._epochs: dict[tuple[bool, int], int] = {}
        """Of each, as far as it is known."""
        self._trained = self._trained_here = 0
        """Epochs, in all runs and in this one."""
        self._num_complete = self._complete_epochs = 0
        """Of this run: trials stop early by themselves, and so take less than was expected."""
        self.running: dict[int, TrialRecord] = {}
        self.best: TrialRecord | None = None
        self.confirming = False
        self._began = time.monotonic()

    def open(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        """Begin where earlier runs have ended."""
        self.metric, self._direction = metric, direction
        for record in records:
            if record.state.final:
                self._ended[_is_again(record)].add(record.number)
            self._count(record, here=False)
            self.better(record)

    def update(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            self.running[record.number] = record
            self._ended[_is_again(record)].discard(record.number)  # a failed trial that is tried again
            self._count(record)
            self.confirming = _is_again(record)
            if record.tier == ON_A_PART:
                self.finalists = 0

    def end(self, record: TrialRecord) -> None:
        self.running.pop(record.number, None)
        self._count(record)
        self._ended[_is_again(record)].add(record.number)
        if record.state is TrialState.COMPLETE:
            self._num_complete += 1
            self._complete_epochs += record.epochs

    def _count(self, record: TrialRecord, *, here: bool = True) -> None:
        key = (_is_again(record), record.number)
        more = max(0, record.epochs - self._epochs.get(key, 0))
        self._epochs[key] = self._epochs.get(key, 0) + more
        self._trained += more
        self._trained_here += more * here

    @property
    def ended(self) -> int:
        """Trials, or while some are trained again these, that have ended in any run."""
        return len(self._ended[self.confirming])

    @property
    def due(self) -> int:
        """Trials, or finalists, that there are to be; of a learning curve those that are known of."""
        known = self.ended + len(self.running)
        return max(self.finalists, known) if self.confirming else self.total

    def better(self, record: TrialRecord) -> bool:
        """Whether this is the best finished trial so far; remembered if so."""
        before = [] if self.best is None else [self.best]
        if _is_again(record) or best_trial([*before, record], direction=self._direction) is not record:
            return False
        self.best = record
        return True

    @property
    def seconds_left(self) -> float | None:
        """Estimated from this run's seconds for each epoch; None before a trial has been trained to its end."""
        if not self._num_complete:
            return None
        share = min(1.0, self._complete_epochs / (self._num_complete * self.epochs))
        if self.confirming:
            left = share * self.epochs * (self.due - self.ended)
        else:
            left = share * self._expected_epochs - self._trained
        return (time.monotonic() - self._began) / max(1, self._trained_here) * max(0.0, left)

    @cached_property
    def _expected_epochs(self) -> int:
        from tuner.sweep.forecast import expected_epochs  # late: not before the workers have begun to load

        return expected_epochs(self._spec)


def _is_again(record: TrialRecord) -> bool:
    return record.tier in (FINALIST, ON_A_PART)


def trial_line(record: TrialRecord, *, metric: str) -> str:
    """A trial that has ended, in one line."""
    value = "-" if record.value is None else metric_text(record.value, metric=metric)
    params = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in record.params.items())
    return (
        f"{record.name} {record.state}: dev {value}, {record.epochs} epochs, {record.seconds:.1f} s "
        f"({record.reason}) {params}"
    )
