"""SHA-256 of files, remembered for as long as the files are as they were."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuner.paths import beside, own_place

_SETTLED_SECONDS = 2.0
"""A file that was changed so short a time ago may change again without a new time of change."""
_MOST_FILES = 100_000


def stamp_of(file: Path) -> list[int]:
    """What changes when a file does, as far as can be seen without reading it."""
    found = file.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


class FileHashes:
    """Hashes that are kept in a file. As a context it is this process's alone: others wait, and find what it hashed."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._known: dict[str, Any] = {}
        self._is_changed = False

    def __enter__(self) -> Self:
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        self._lock = own_place(self._kept.with_suffix(".lock")).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            found = json.loads(own_place(self._kept).read_text())
            self._known = found if isinstance(found, dict) else {}
        except (FileNotFoundError, ValueError):
            self._known = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._is_changed and error is None:
                newest = list(self._known.items())[-_MOST_FILES:]
                written = beside(self._kept)
                written.write_text(json.dumps(dict(newest)))
                written.replace(self._kept)
        finally:
            self._lock.close()

    def sha256(self, file: Path) -> str:
        """Of a file's contents."""
        name, stamp = os.fspath(file.absolute()), stamp_of(file)
        known = self._known.get(name)
        if isinstance(known, list) and len(known) == 2 and known[0] == stamp and isinstance(known[1], str):
            return known[1]
        began = time.time()
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if began - max(stamp[3], stamp[4]) / 1e9 > _SETTLED_SECONDS:
            self._known[name] = [stamp, found]
            self._is_changed = True
        return found
