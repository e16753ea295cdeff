"""What memory a run needs, measured once its trials train."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuner.execute.free_memory import free_bytes, taken_bytes
from tuner.records import EpochResult, TrialRecord
from tuner.sweep.watcher import Watcher


class MemoryNeed(Watcher):
    """Says it once as many trials have trained an epoch as there are workers."""

    def __init__(self, *, num_workers: int, num_trials: int, say: Callable[[str], None]) -> None:
        self._num_workers = num_workers
        self._awaited = min(num_workers, num_trials)
        self._say = say
        self._trained: set[int] = set()
        self._is_said = False

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._trained.add(record.number)
        if self._is_said or len(self._trained) < self._awaited:
            return
        self._is_said = True
        if (taken := taken_bytes()) is not None:
            said = needed_memory(taken, num_workers=self._num_workers, free_bytes=free_bytes())
            self._say(f"memory: {said} beside that")


def needed_memory(num_bytes: int, *, num_workers: int, free_bytes: int | None) -> str:
    """What memory all processes together need, and what there is."""
    workers = "1 worker" if num_workers == 1 else f"{num_workers} workers"
    free = "" if free_bytes is None else f", {free_bytes / 1e9:.1f} GB are free"
    return f"needs about {num_bytes / 1e9:.1f} GB with {workers}{free}"
