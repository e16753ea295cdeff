"""What keeps a file from being written is told once, in one form; without torch, since the coordinator stores, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuner.errors import StorageError
from tuner.paths import LinkInStudyError

_NO_ROOM_BYTES = 2**20
"""A disk with less room than this is full."""
_REMEDY = "make that possible and run again: trials go on from their checkpoints"


@contextmanager
def storing(path: Path, *, shown: str = "", remedy: str = _REMEDY) -> Iterator[None]:
    """Within the block a file is written. That the disk takes it is no matter of the trial's.

    Args:
        path: The file, or a folder.
        shown: What it is called in messages; its path unless given.
        remedy: What to do.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # torch's writer of files
            raise
        if isinstance(error, LinkInStudyError):
            raise StorageError(str(error)) from error
        folder = next(folder for folder in path.parents if folder.exists())
        cause = "disk full" if shutil.disk_usage(folder).free < _NO_ROOM_BYTES else str(error)
        raise StorageError(f"{shown or path} cannot be written: {cause}; {remedy}") from error
