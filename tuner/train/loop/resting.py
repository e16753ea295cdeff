"""Trials that rest in this process between two parts of their training: their states, and the program they had.

A population is sent on every few epochs. To write its states to files each time, and to make and record the same
program anew, may take longer than the training. A state follows from a trial's seed and from what it was trained with,
so that one which another trial goes on with is found by these; and one that is lost with the process is trained again
from the last file, to the same bits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from tuner.records import TrialJob
from tuner.train.loop.checkpoint import Checkpoint
from tuner.train.program import Member, Program
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.task import Task

_MOST_BYTES = 2**25
"""Of all states; a population with more has files alone, which take little beside the training of such networks."""
_LEAST_SECONDS = 1.0
"""So much training at the least is between two files of a trial."""
_FILES_SHARE = 0.02
"""Of the time, for files."""
_STATES_OF_A_TRIAL = 2
"""One that goes on from where another was may come to it when that one has already gone on."""


class Resting:
    """What the trials of one process left here when they paused."""

    def __init__(self) -> None:
        self._states: dict[str, deque[tuple[Checkpoint, int]]] = {}
        """The last states of each trial by its folder, and their bytes."""
        self._is_full = False
        """Whether there were more than find room: then there are none, for some of them would be old ones."""
        self._program: Program | None = None
        self._began = time.monotonic()
        self._filed_at: dict[str, float] = {}
        self._file_seconds = 0.0

    def keep(self, folder: str, checkpoint: Checkpoint) -> bool:
        """Keep a trial's state; whether that will do without a file."""
        if self._is_full:
            return False
        own = self._states.setdefault(folder, deque(maxlen=_STATES_OF_A_TRIAL))
        own.append((checkpoint, checkpoint.num_bytes))
        if sum(size for kept in self._states.values() for _, size in kept) > _MOST_BYTES:
            self.forget()
            self._is_full = True
            return False
        seconds = time.monotonic() - self._filed_at.get(folder, self._began)
        return seconds < max(_LEAST_SECONDS, len(self._states) * self._file_seconds / _FILES_SHARE)

    def filed(self, folder: str, *, seconds: float) -> None:
        """A file of a trial was written, which took so long."""
        self._filed_at[folder] = time.monotonic()
        self._file_seconds = seconds

    def find(self, job: TrialJob) -> Checkpoint | None:
        """The furthest state that a trial can go on from, its own or another's with the same past."""
        if not job.stays:  # from now on some of its training is done elsewhere
            self.forget()
            return None
        of_seed = (c for kept in self._states.values() for c, _ in kept if c.seed == job.seed)
        fitting = (c for c in of_seed if c.past == job.past(c.epoch, c.step))
        return max(fitting, key=lambda c: c.epoch, default=None)

    def forget(self) -> None:
        """Let go of all states and of the program."""
        self._states, self._program = {}, None

    @property
    def has_program(self) -> bool:
        """Whether a program is held, and its memory."""
        return self._program is not None

    def leave(self, program: Program) -> None:
        """Hold the program of trials that have all paused, in the place of an earlier one."""
        self._program = program

    def program(self, members: Sequence[Member]) -> Program | None:
        """The program that is held, if it can train these members as it is; their states are the caller's to load.

        It is not held any more.
        """
        program, self._program = self._program, None
        return program if isinstance(program, StackedProgram) and program.renew(members) else None


_OF_TASKS: WeakKeyDictionary[Task, Resting] = WeakKeyDictionary()


def resting_of(task: Task) -> Resting:
    """What rests of a task's trials in this process."""
    return _OF_TASKS.setdefault(task, Resting())
