"""Writing a report so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import os
from pathlib import Path

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
    """Write to where a user wants it (`-o`): into a device or a pipe, and to where a link leads."""
    if path.exists() and not path.is_file():
        with path.open("wb", buffering=0) as file:
            rest = memoryview(_bytes(content))
            while rest:  # a pipe takes a part at a time
                rest = rest[file.write(rest) :]
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace(target, content, sync=True)


def _replace(path: Path, content: str | bytes, *, sync: bool) -> None:
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(_bytes(content))
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _bytes(content: str | bytes) -> bytes:
    # A name in a file's own bytes, or a damaged text, may hold what UTF-8 has no place for.
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
