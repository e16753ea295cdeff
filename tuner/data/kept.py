"""Folders that are made once from files, kept as long as those do not change, and shared by all processes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from tuner.errors import DataError
from tuner.paths import own_place

_WHOLE = "files.json"
"""Names, sizes and checksums of the files of a folder that is whole, and what it was made of."""
_BLOCK_BYTES = 1 << 20
_OURS = re.compile(r"[0-9a-f]{32}(\.tmp)?")
"""The names of the folders that are made here; what bears another is not ours to remove."""
_temporary: dict[str, Path] = {}
_held: list[int] = []
"""Descriptors that tell other processes, by their locks, that a folder is in use."""


def key_of(files: Sequence[Path], *settings: object) -> str:
    """A name for what is made of files, as they are now, under these settings."""
    stats = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((stats, settings)).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """A folder that was made here."""

    folder: Path
    made_of: str
    num_bytes: int
    in_use: bool


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
        with _alone(within, "making"):
            folder = own_place(within / key)
            if not _is_whole(folder):
                _remove_unused(within)
                _make(make, folder)
            _hold(folder)
            return folder
    except OSError as error:
        raise DataError(
            f"the table cannot be written to {within}: {error.strerror or error}; make that possible, or remove "
            "data.stream if it fits into memory"
        ) from error


def made_for_all(make: Callable[[Path], None], *, key: str, within: Path, made_of: str) -> Path:
    """The folder that is called `key`, which any number of studies share; see `made_once`.

    Nothing is removed but by `remove_unused`. The first process to use a folder compares its checksums.

    Args:
        make: Fills a new folder.
        key: Names all that decides what is made.
        within: The folder's place.
        made_of: What it was made of, in words for `kept_folders`.

    Raises:
        OSError: the disk does not take it.
    """
    with _alone(within, key):
        folder = own_place(within / key)
        if not _is_whole(folder, thorough=not _is_in_use(folder)):
            _make(make, folder, made_of=made_of, checked=True)
        _hold(folder)
        return folder


def kept_folders(within: Path) -> list[_Kept]:
    """What was made there, the largest first."""
    found = []
    for folder in within.iterdir() if within.is_dir() else ():
        with suppress(FileNotFoundError):  # it has been removed, or finished, since it was listed
            if _is_ours(folder):
                num_bytes = sum(file.stat().st_size for file in folder.iterdir())
                made_of = str((_contents(folder) or {}).get("made_of") or "")
                found.append(_Kept(folder=folder, made_of=made_of, num_bytes=num_bytes, in_use=_is_in_use(folder)))
    return sorted(found, key=lambda kept: -kept.num_bytes)


def remove_unused(within: Path) -> list[_Kept]:
    """Remove what was made there and no process uses; it is made anew when it is asked for."""
    removed = []
    for kept in kept_folders(within):
        with _alone(within, kept.folder.name.removesuffix(".tmp"), waits=False) as is_alone:
            if is_alone and kept.folder.is_dir() and not _is_in_use(kept.folder):
                shutil.rmtree(kept.folder)
                removed.append(kept)
    return removed


@contextmanager
def _alone(within: Path, name: str, *, waits: bool = True) -> Iterator[bool]:
    """Whether this process is the only one that has this lock: it is, if it waits for it."""
    own_place(within)
    within.mkdir(parents=True, exist_ok=True)
    with own_place(within / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _hold(folder: Path) -> None:
    """Tell other processes, for as long as this one lives, that the folder is in use."""
    _held.append(os.open(folder / _WHOLE, os.O_RDONLY))
    fcntl.flock(_held[-1], fcntl.LOCK_SH)


def _make(make: Callable[[Path], None], folder: Path, *, made_of: str = "", checked: bool = False) -> None:
    beside = folder.with_name(f"{folder.name}.tmp")
    for half in (folder, beside):  # nobody else makes one now
        shutil.rmtree(half, ignore_errors=True)
    beside.mkdir()
    try:
        make(beside)
        files = {file.name: [file.stat().st_size, _checksum(file) if checked else None] for file in beside.iterdir()}
        (beside / _WHOLE).write_text(json.dumps({"made_of": made_of, "files": files}))
        for file in beside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _contents(folder: Path) -> dict[str, Any] | None:
    """What its file says of it."""
    try:
        found = json.loads((folder / _WHOLE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_whole(folder: Path, *, thorough: bool = False) -> bool:
    found = _contents(folder)
    if found is None or not isinstance(found.get("files"), dict):
        return False
    try:
        return all(
            (folder / name).stat().st_size == size and not (thorough and _checksum(folder / name) != checksum)
            for name, (size, checksum) in found["files"].items()
        )
    except (OSError, ValueError, TypeError):
        return False


def _checksum(file: Path) -> int:
    """Finds what a disk has spoilt; a forger is not kept out."""
    found = 0
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            found = zlib.crc32(block, found)
    return found


def _remove_unused(within: Path) -> None:
    """Remove folders of other files or settings, or half of one, unless a process reads them."""
    for folder in within.iterdir():
        if _is_ours(folder) and not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    return bool(_OURS.fullmatch(folder.name)) and folder.is_dir() and not folder.is_symlink()


def _is_in_use(folder: Path) -> bool:
    try:
        with (folder / _WHOLE).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
