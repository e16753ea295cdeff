"""Writing a report so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tuner.errors import StorageError
from tuner.paths import beside, own_place


def write_atomically(path: Path, content: str | bytes, *, sync: bool = True) -> None:
    """Write a file of a study: beside the path, and renamed over it; missing folders are made.

    Args:
        path: Where to, in the study's folder.
        content: Text is written as UTF-8.
        sync: Wait until it is on the disk; not worth it for what can be drawn again.

    Raises:
        LinkInStudyError: the path leads out of the folder.
    """
    own_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content, sync=sync)


def write_output(path: Path, content: str | bytes) -> None:
    """Write to where a user wants it (`-o`): into a device or a pipe, and to where a link leads.

    Raises:
        StorageError: it cannot be written there; all is as it was.
    """
    if path.exists() and not path.is_file():
        with _said_of(path), path.open("wb", buffering=0) as file:
            rest = memoryview(_bytes(content))
            while rest:  # a pipe takes a part at a time
                rest = rest[file.write(rest) :]
        return
    with new_output(path) as part:
        part.write_bytes(_bytes(content))


@contextmanager
def new_output(path: Path, *, network: Sequence[str] = ()) -> Iterator[Path]:
    """Where a file or a folder is written that a user wants at `path`; it is moved there when the block ends well.

    If the block raises, all is as it was, and no folder is left that was made on the way. In a folder that is there
    already, files of other names stay.

    Args:
        path: A file or a folder; a link leads to where it is written.
        network: Files of which a folder has some: those of an earlier output go, and the new ones come last, so that
            one that is broken off in between has none of them.

    Raises:
        StorageError: the disk does not take it.
    """
    target = Path(os.path.realpath(path))
    made = [folder for folder in target.parents if not folder.exists()]
    place = beside(target / target.name if target.is_dir() else target)  # a folder may be a disk of its own
    try:
        with _said_of(path):
            shutil.rmtree(place, ignore_errors=True)  # of a process that was killed, with the number of this one
            place.mkdir(parents=True)
            yield place / target.name
            _move(place / target.name, target, last=network)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # as soon as there is something in it
            for folder in made:
                folder.rmdir()


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def _move(part: Path, target: Path, *, last: Sequence[str]) -> None:
    """Give what is written whole its name, or its files theirs in a folder that is there."""
    files = [file for file in (part.rglob("*") if part.is_dir() else [part]) if file.is_file()]
    for file in files:
        with file.open("rb") as written:
            os.fsync(written.fileno())
    if not (part.is_dir() and target.is_dir()):
        part.replace(target)
        return
    for name in last:
        (target / name).unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: file.name in last):
        to = target / file.relative_to(part)
        to.parent.mkdir(parents=True, exist_ok=True)
        file.replace(to)


def _replace(path: Path, content: str | bytes, *, sync: bool) -> None:
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(_bytes(content))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:  # as of a write to a full disk
            error.filename = str(path)
        raise


def _bytes(content: str | bytes) -> bytes:
    # A name in a file's own bytes, or a damaged text, may hold what UTF-8 has no place for.
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
