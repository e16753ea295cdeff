"""How it is found out whether other machines see a study's folder: by a file that is there as long as the run."""

from __future__ import annotations

import os
import platform
import uuid
from contextlib import suppress
from pathlib import Path

from tuner.errors import StorageError


class Token:
    """A file with a name that no other has, in the folder of a study, or where that will be made."""

    def __init__(self, folder: Path) -> None:
        """Write it, and remove those of runs of this machine that were killed.

        Raises:
            StorageError: nothing can be written there.
        """
        self.folder = folder
        place = next(path for path in (folder, *folder.parents) if path.is_dir())
        ours = f".tuner-on-{platform.node()}"
        for left in place.glob(f"{ours}.*.tmp"):
            if not _lives(left.name.removeprefix(f"{ours}.").partition(".")[0]):
                left.unlink(missing_ok=True)
        self.path = place / f"{ours}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
        try:
            self.path.touch()
        except OSError as error:
            raise StorageError(f"nothing can be written in {place}, where the study is to be: {error}") from error

    def remove(self) -> None:
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _lives(pid: str) -> bool:
    """Whether a process of this machine has this number."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True
