"""Where examples come from. A new kind of source is one file here and one line in `SOURCES`."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Protocol

from tuner.data.content import Contents
from tuner.data.sources import bundled, code, delimited, idx, images, numpy_files, parquet
from tuner.errors import DataError
from tuner.spec.model import DataSpec


class Source(Protocol):
    """A module that reads one kind of source."""

    def matches(self, location: str, path: Path) -> bool:
        """Whether it is the one to read this.

        Args:
            location: As the sweep file has it.
            path: The same as an absolute path, which need not exist.
        """
        ...

    def read(self, location: str, path: Path, data: DataSpec, root: Path) -> Contents:
        """Read it.

        Args:
            location: As the sweep file has it.
            path: The same as an absolute path; it exists, except for `sklearn/NAME` and functions.
            data: The sweep file's block.
            root: Folder of the sweep file.

        Raises:
            DataError: it cannot be read.
        """
        ...


SOURCES: dict[str, Source] = {
    "sklearn/NAME": bundled,
    "a folder of images": images,
    "package.module:function": code,
    "IDX (images-idx3-ubyte)": idx,
    "NPZ or NPY": numpy_files,
    "Parquet": parquet,
    "CSV": delimited,
}
"""Every kind of source by what it is called in messages; the first that matches reads."""

_WITHOUT_PATH: tuple[Source, ...] = (bundled, code)
_STREAMED: tuple[Source, ...] = (code, delimited, idx, numpy_files, parquet)


def read_contents(location: str, data: DataSpec, *, root: Path) -> Contents:
    """Read what a sweep file calls `location`.

    Raises:
        DataError: there is no such file, or no kind of source that reads it, or it cannot be read.
        UserCodeError: the user's own function failed.
        MissingExtraError: the format needs a package that is not installed.
    """
    path = (root / location).absolute()
    source = _source_of(location, path)
    if source is None and path.exists():
        raise DataError(f'no kind of source reads "{location}"; give {", ".join(SOURCES)}')
    if source is None or (source not in _WITHOUT_PATH and not path.exists()):
        raise DataError(f"there is no file {path}{_near_files(path)}")
    if data.stream and source not in _STREAMED:
        raise DataError(
            f"data.stream: {location} cannot be read in parts; give a CSV or Parquet file, NPY files in a folder, IDX "
            "files that are not packed, or a function, or remove stream"
        )
    try:
        return source.read(location, path, data, root)
    except OSError as error:
        raise DataError(f"{location} cannot be read: {error.strerror or error}") from error


def files_of(data: DataSpec, *, root: Path) -> list[tuple[str, Path]] | None:
    """All files that examples are read from, in order, each with its name beside or within what the sweep file names.

    None where code of the user's, or of a library, has the examples.
    """
    found: list[tuple[str, Path]] = []
    for location in (data.source, data.dev, data.test):
        if location is None:
            continue
        path = (root / location).absolute()
        source = _source_of(location, path)
        if source is None or source in _WITHOUT_PATH or not path.exists():
            return None
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        if source is idx:
            files.append(idx.labels_path(path, data, root))
        found += [(os.path.relpath(file, path.parent), file) for file in files]
    return found


def left_on_disk(data: DataSpec, *, root: Path) -> str:
    """How the examples of a sweep file's block would stay on disk, in words; empty if they do, or cannot."""
    path = (root / data.source).absolute()
    source = _source_of(data.source, path)
    if data.stream or source not in _STREAMED:
        return ""
    said = "data.stream: true, which leaves the examples on disk"
    if source is numpy_files and not path.is_dir():
        return f"{said}, with its arrays as NPY files in a folder"
    return f"{said}, with IDX files that are not packed" if source is idx and path.suffix == ".gz" else said


def made_smaller(data: DataSpec, *, root: Path) -> str:
    """What would make the examples of a sweep file's block smaller, in words; empty where nothing is known to."""
    source = _source_of(data.source, (root / data.source).absolute())
    if source is images:
        return "smaller images (data.image_size)"
    if source in (delimited, parquet):
        return "fewer columns (data.ignore)"
    return "smaller examples, such as images of fewer pixels" if source in (idx, numpy_files, code) else ""


def _source_of(location: str, path: Path) -> Source | None:
    return next((source for source in SOURCES.values() if source.matches(location, path)), None)


def _near_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
