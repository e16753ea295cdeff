"""A stopwatch for what decides in a search."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tuner.records import TrialRecord
from tuner.search.strategy import Decision, Start, Strategy


class Stopwatch:
    """Takes a search's time on the processor: what it would be on an idle machine."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.history: list[tuple[int, float, int]] = []
        """(epochs trained, seconds so far, trials started) after each decision."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """What is done inside counts."""
        began = time.process_time()
        yield
        self.seconds += time.process_time() - began

    def decided(self, *, epochs: int, started: int) -> None:
        """Note that there was a decision, with so many epochs trained before and so many trials started by now."""
        self.history.append((epochs, self.seconds, started))

    def seconds_per_proposal(self, epochs: int) -> float:
        """Until so many epochs were trained, over the trials started until then."""
        until = [entry for entry in self.history if entry[0] < epochs]
        _, seconds, started = until[-1]
        return seconds / max(1, started)


class Timed(Stopwatch):
    """A strategy whose time is taken."""

    def __init__(self, inner: Strategy) -> None:
        super().__init__()
        self.inner = inner

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        with self.running():
            decisions = self.inner.decide(records, room)
        started = len(records) + sum(isinstance(d, Start) for d in decisions)
        self.decided(epochs=sum(r.epochs for r in records), started=started)
        return decisions

    def explain(self) -> tuple[str, ...]:
        return self.inner.explain()
