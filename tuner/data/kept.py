"""Folders that are made once from files, kept as long as those do not change, and shared by all processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize
from pathlib import Path

from tuner.errors import DataError
from tuner.paths import own_place

_WHOLE = "files.json"
"""Names and sizes of the files of a folder that is whole."""
_OURS = re.compile(r"[0-9a-f]{32}(\.tmp)?")
"""The names of the folders that are made here; what bears another is not ours to remove."""
_temporary: dict[str, Path] = {}
_held: list[int] = []
"""Descriptors that tell other processes, by their locks, that a folder is in use."""


def key_of(files: Sequence[Path], *settings: object) -> str:
    """A name for what is made of files, as they are now, under these settings."""
    stats = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((stats, settings)).encode()).hexdigest()[:32]


def made_once(make: Callable[[Path], None], *, key: str, within: Path | None) -> Path:
    """The folder that is called `key`, made first if it is not there and whole.

    One process makes it while the others wait. It is written beside and renamed, so that one which a crash has left
    behind is never used; it is removed with whatever is not in use any more when the next one is made.

    Args:
        make: Fills a new folder.
        key: See `key_of`.
        within: The folder's place; if None a temporary one that is this process's own and goes when it ends.

    Raises:
        DataError: the disk does not take it.
    """
    if within is None:
        if key not in _temporary:
            _temporary[key] = Path(tempfile.mkdtemp(prefix="tuner-")).resolve()
            # Not by atexit, which the children of multiprocessing do not run.
            Finalize(None, shutil.rmtree, args=(_temporary[key], True), exitpriority=0)
        within = _temporary[key]
    try:
        own_place(within / key)
        within.mkdir(parents=True, exist_ok=True)
        with own_place(within / "making.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = within / key
            if not _is_whole(folder):
                _remove_unused(within)
                _make(make, folder)
            _held.append(os.open(folder / _WHOLE, os.O_RDONLY))
            fcntl.flock(_held[-1], fcntl.LOCK_SH)
            return folder
    except OSError as error:
        raise DataError(
            f"the table cannot be written to {within}: {error.strerror or error}; make that possible, or remove "
            "data.stream if it fits into memory"
        ) from error


def _make(make: Callable[[Path], None], folder: Path) -> None:
    beside = folder.with_name(f"{folder.name}.tmp")
    for half in (folder, beside):  # nobody else makes one now
        shutil.rmtree(half, ignore_errors=True)
    beside.mkdir()
    try:
        make(beside)
        sizes = {file.name: file.stat().st_size for file in beside.iterdir()}
        (beside / _WHOLE).write_text(json.dumps(sizes))
        for file in beside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / _WHOLE).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _remove_unused(within: Path) -> None:
    """Remove folders of other files or settings, or half of one, unless a process reads them."""
    for folder in within.iterdir():
        if _OURS.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink() and not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / _WHOLE).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
