"""A worker as the executor sees it: its process, what it is doing, and whether that takes longer than it may."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from tuner.errors import DataError, TunerError
from tuner.execute.devices import WorkerPlace
from tuner.execute.process import Process
from tuner.execute.waiting import PlannedJob
from tuner.spec.model import LimitsSpec

MAX_WORDS = 4000
"""Characters of a worker's last words in an error message."""
_OVERTIME_SECONDS = 1.0
"""A trial that is over its time limit is given so long to end itself."""


@dataclass(slots=True)
class Worker:
    """A worker process, and what it is doing."""

    number: int
    place: WorkerPlace
    process: Process
    node: str = ""
    """The machine that it is on, where there are several."""
    ready: bool = False
    """It has loaded the data."""
    key: Hashable = None
    """The fusion key of its present cohort; None if nobody may join."""
    jobs: dict[int, PlannedJob] = field(default_factory=dict)
    """Its unfinished jobs by trial."""
    seconds: dict[int, float] = field(default_factory=dict)
    """For how long each of them has trained, as far as it has said."""
    is_checking: bool = False
    """It looks at the user's model."""
    heard: float = field(default_factory=time.monotonic)
    """When it last sent something."""
    told: float = field(default_factory=time.monotonic)
    """When it last sent events."""
    is_spent: bool = False
    """Trials that have ended hold its memory, and it ends so that others can go on."""
    stalled: bool = False
    """We killed it, since it was silent for too long."""
    overtime: frozenset[int] = frozenset()
    """We killed it because of these trials, which have trained for too long."""

    @property
    def is_idle(self) -> bool:
        """Whether it could train, and has nothing to."""
        return self.ready and not self.jobs

    @property
    def shown(self) -> str:
        """What people are told of it."""
        return f"worker {self.number} on {self.node}" if self.node else f"worker {self.number}"

    def watch(self, limits: LimitsSpec) -> None:
        """Kill it if one of its trials has trained for longer than it may, or it has long been silent; note why."""
        if self.ready and not self.jobs:
            return
        now = time.monotonic()
        quiet = now - self.told
        if self.jobs and limits.trial_seconds is not None and quiet > _OVERTIME_SECONDS:
            spent = quiet / len(self.jobs) - _OVERTIME_SECONDS
            late = [t for t in self.jobs if self.seconds.get(t, 0.0) + spent > limits.trial_seconds]
            self.overtime = frozenset(late)
        self.stalled = not self.overtime and now - self.heard > limits.stall_seconds
        if self.overtime or self.stalled:
            self.process.kill()


def loading_stalled(seconds: float, words: bytes) -> DataError:
    """The error of a run one of whose workers loads for too long."""
    return DataError(
        f"a worker was still importing your code or loading the data after {seconds:g} s; raise limits.stall_seconds "
        f"if it takes so long{_last_words(words)}"
    )


def loading_failed(deaths: int, cause: str, words: bytes) -> TunerError:
    """The error of a run whose workers die while they load, one after the other."""
    return TunerError(
        f"{deaths} workers were lost one after the other while they loaded the data: {cause}{_last_words(words)}"
    )


def _last_words(words: bytes) -> str:
    """What a worker printed last, for the end of an error message."""
    text = words.decode(errors="replace").partition("\nExtension modules:")[0].strip()[-MAX_WORDS:]
    return f"; it printed last:\n{text}" if text else ""
