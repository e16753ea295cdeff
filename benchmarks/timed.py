"""A stopwatch around a search strategy."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tuner.records import TrialRecord
from tuner.search.strategy import Decision, Start, Strategy


class Timed:
    """A strategy whose time on the processor is taken: what it would be on an idle machine."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.seconds = 0.0
        self.history: list[tuple[int, float, int]] = []
        """(epochs trained, seconds so far, trials started) after each call."""

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        began = time.process_time()
        decisions = self.inner.decide(records, room)
        self.seconds += time.process_time() - began
        started = len(records) + sum(isinstance(d, Start) for d in decisions)
        self.history.append((sum(r.epochs for r in records), self.seconds, started))
        return decisions

    def explain(self) -> tuple[str, ...]:
        return self.inner.explain()

    def seconds_per_proposal(self, epochs: int) -> float:
        """Until so many epochs were trained, over the trials started until then."""
        until = [entry for entry in self.history if entry[0] < epochs]
        _, seconds, started = until[-1]
        return seconds / max(1, started)
