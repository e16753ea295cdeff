"""Raw examples out of files, for a network that was trained on others like them. Part of exported folders."""

from __future__ import annotations

import bz2
import csv
import difflib
import gzip
import itertools
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tuner.data.sources.pictures import PictureError, pictures_in, pixels_of
from tuner.train.after.standalone_inputs import Array, InputError, Known, Row, some, wanted_columns

Block: TypeAlias = tuple[Array | Sequence[Row], list[list[str]]]
"""Raw examples, and for each the cells that are printed before its predictions."""
_BLOCK = 8192
"""Examples that are read and predicted at once."""


def read_blocks(path: Path, known: Known, keep: Sequence[str] = ()) -> Iterator[Block]:
    """The examples of a file, or of a folder of images, in blocks.

    Raises:
        InputError: they cannot be read, or are not as those that the network was trained with.
    """
    if path.is_dir() or path.suffix == ".npy":
        if keep:
            raise InputError(f"{path.name} has no columns to keep")
        yield from _images(path, known) if path.is_dir() else array_blocks(_loaded(path))
        return
    try:
        yield from row_blocks(_rows(path, known), path.name, known, keep)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name} cannot be read as CSV: {error}") from error


def array_blocks(inputs: Array) -> Iterator[Block]:
    """An array in blocks."""
    for first in range(0, len(inputs) if inputs.ndim else 0, _BLOCK):
        block = inputs[first : first + _BLOCK]
        yield block, [[]] * len(block)


def row_blocks(rows: Iterable[Row], where: str, known: Known, keep: Sequence[str] = ()) -> Iterator[Block]:
    """Rows in blocks, with the columns to keep.

    Raises:
        InputError: columns are missing, or are not of the training file.
    """
    found = iter(rows)
    while block := list(itertools.islice(found, _BLOCK)):
        _check_columns(list(block[0]), where, known, keep)
        yield block, [[row[name] for name in keep] for row in block]


def _check_columns(columns: list[str], where: str, known: Known, keep: Sequence[str]) -> None:
    wanted = wanted_columns(known)
    if not wanted:
        raise InputError("the inputs have no names: give them as a .npy file")
    if missing := [name for name in wanted if name not in columns]:
        others = [name for name in columns if name not in wanted]
        near = {name: difflib.get_close_matches(name, others, 1) for name in missing}
        shown = [name + (f" (is it {near[name][0]}?)" if near[name] else "") for name in missing]
        raise InputError(f"{where} has no column {some(shown)}, which the network was trained with")
    if unknown := [name for name in keep if name not in columns]:
        raise InputError(f"{where} has no column {some(unknown)} to keep; there are {some(columns, 20)}")
    usual = {*wanted, *known["left_out"], *keep, *columns * known["headerless"]}
    if extra := [name for name in columns if name and name not in usual]:
        raise InputError(
            f"{where} has what the training file had not: column {some(extra)}; remove it, or have it "
            f"before the predictions: --keep {extra[0]}"
        )


def _rows(path: Path, known: Known) -> Iterator[Row]:
    """The examples of a file, by the names of their columns, or where these have none by their places."""
    fields = _fields(path)
    begin = next(fields, None)
    if begin is None:
        raise InputError(f"{path.name} is empty")
    header = [" ".join(name.split()) for name in begin]
    wanted = wanted_columns(known)
    if not known["headerless"] or set(wanted) & set(header):
        if twice := [name for name in dict.fromkeys(header) if header.count(name) > 1 and name]:
            raise InputError(f"{path.name}: two columns are called {some(twice)}; rename one")
        for number, row in enumerate(fields, start=1):
            if len(row) != len(header):
                raise InputError(
                    f"{path.name}, row {number} has {len(row)} fields, and its line of names {len(header)}"
                )
            yield dict(zip(header, row, strict=True))
        return
    places = [int(name.removeprefix("column_")) for name in wanted]
    for number, row in enumerate(itertools.chain([begin], fields), start=1):
        if len(row) < max(places):
            raise InputError(
                f"{path.name}, row {number} has {len(row)} fields, and the inputs are fields {min(places)} to "
                f"{max(places)} of the training file: give each in its place, and leave the target's empty"
            )
        yield {f"column_{place}": text for place, text in enumerate(row, start=1)}


def _fields(path: Path) -> Iterator[list[str]]:
    """The fields of each line; they are separated as those of the first line are."""
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with openers.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        first = next((line for line in file if line.strip()), "")
        lines = itertools.chain([first], file)
        outside = "".join(first.split('"')[::2])
        mark = max(",;\t|", key=outside.count)
        if mark in outside or len(outside.split()) < 2:
            found: Iterator[list[str]] = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        else:
            found = (line.split() for line in lines)
        yield from (row for row in found if row)


def _loaded(path: Path) -> Array:
    try:
        found: Array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path.name} cannot be read as an array: {error}") from error
    return found


def _images(folder: Path, known: Known) -> Iterator[Block]:
    """The images of a folder and of those within it, each with its name."""
    if len(known["shape"]) != 3 or not known["bytes"]:
        raise InputError(f"{folder} is a folder, and the network was not trained with images: give a file")
    files = pictures_in(folder)
    for first in range(0, len(files), _BLOCK // 32):
        block = files[first : first + _BLOCK // 32]
        names = [str(file.relative_to(folder)) for file in block]
        yield np.stack([_pixels(*file, known) for file in zip(block, names, strict=True)]), [[name] for name in names]


def _pixels(file: Path, name: str, known: Known) -> Array:
    """An image with as many channels as training had."""
    shape: list[int] = known["shape"]
    try:
        pixels: Array = pixels_of(file, name, size=known["image_size"])
    except PictureError as error:
        raise InputError(str(error)) from error
    if len(pixels) == 1 < shape[0]:
        pixels = pixels.repeat(shape[0], axis=0)
    if list(pixels.shape) != shape:
        found, wanted = (f"{s[2]}x{s[1]} pixels in {s[0]} channel{'s' * (s[0] > 1)}" for s in (pixels.shape, shape))
        raise InputError(f"{name} has {found}, and the network was trained with {wanted}")
    return pixels
