"""Which epochs the listeners have been told of, so that over all runs of a study they hear of each one once."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tuner.paths import own_place
from tuner.records import EpochResult, TrialRecord

_EPOCHS = struct.Struct("<I")
"""The number of epochs and one; 0 where nothing is known."""
_ROOM_BYTES = 4096
"""Is reserved at a time: a block of most file systems."""
_AHEAD = 256
"""For so many trials there is room in advance: more than are ever begun at once."""


class Told:
    """How many epochs of each trial were told.

    A checkpoint may be older than what was told when a run was killed, or newer, and the database is some seconds
    behind: neither can say it. So it stands in a file of its own, four bytes for each trial, which has them before the
    next epoch is told; a kill in between repeats one. The file has its room before a trial can fill the disk.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Go on with a file, if there is one; without a file, remember as long as this process lives."""
        self._file = file
        self._descriptor: int | None = None
        self._epochs: dict[int, int] = {}
        if file is not None and file.is_file():
            data = file.read_bytes()
            whole = data[: len(data) // _EPOCHS.size * _EPOCHS.size]
            self._epochs = {trial: told - 1 for trial, (told,) in enumerate(_EPOCHS.iter_unpack(whole)) if told}

    def trust(self, records: Iterable[TrialRecord]) -> None:
        """Take what is stored of trials for told, where the file says nothing of them (a power cut emptied it)."""
        for record in records:
            if record.epochs:
                self._epochs.setdefault(record.number, record.epochs)
        if self._file is not None:
            with suppress(OSError):  # as in `note`
                self._with_room(self._file, 0)

    def new(self, trial: int, results: Sequence[EpochResult]) -> tuple[EpochResult, ...]:
        """Those of a trial's epochs that were not told yet."""
        told = self._epochs.get(trial, 0)
        return tuple(result for result in results if result.epoch > told)

    def begin(self, trial: int) -> None:
        """The trial is trained from now on: what is stored of it is not to be taken for told."""
        self.note(trial, self._epochs.get(trial, 0))

    def note(self, trial: int, epoch: int) -> None:
        """All epochs of the trial up to this one were told."""
        self._epochs[trial] = epoch
        if self._file is not None:
            with suppress(OSError):  # a disk that cannot take it will be told of by what matters more
                os.pwrite(self._with_room(self._file, trial), _EPOCHS.pack(epoch + 1), trial * _EPOCHS.size)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _with_room(self, file: Path, trial: int) -> int:
        """The file's descriptor, with room for the entries of the trial and of those that may soon follow."""
        descriptor = self._open(file)
        needed = (trial + _AHEAD) * _EPOCHS.size
        if os.fstat(descriptor).st_size < needed and hasattr(os, "posix_fallocate"):
            with suppress(OSError):  # where there is none, or the file system cannot, writing the entry will tell
                os.posix_fallocate(descriptor, 0, -(-needed // _ROOM_BYTES) * _ROOM_BYTES)
        return descriptor

    def _open(self, file: Path) -> int:
        if self._descriptor is None:
            own_place(file).parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        return self._descriptor
