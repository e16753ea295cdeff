"""A folder of images: one folder for each class, perhaps within folders `train`, `dev` and `test`. Extra `images`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tuner.data.content import Arrays, Contents
from tuner.data.named import part_of
from tuner.data.sources import parquet
from tuner.data.sources.pictures import PictureError, pictures_in, pixels_of
from tuner.errors import DataError
from tuner.imports import require
from tuner.spec.model import DataSpec

_MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Picture:
    path: Path
    name: str
    """Class, file: for messages."""
    label: str


def matches(location: str, path: Path) -> bool:
    return path.is_dir() and not any(path.glob("*.npy")) and not parquet.matches(location, path)


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    require("PIL", extra="images")
    folders = {part_of(folder.name): folder for folder in _folders(path)}
    if "train" not in folders:
        return Contents(train=_read_classes([path], location, data)[0])
    present = [part for part in ("train", "dev", "test") if part in folders]
    # All parts at once, so that all have one channel or all have three.
    contents = _read_classes([folders[part] for part in present], location, data)
    by_part = dict(zip(present, contents, strict=True))
    return Contents(train=by_part["train"], dev=by_part.get("dev"), test=by_part.get("test"))


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_classes(folders: Sequence[Path], location: str, data: DataSpec) -> list[Arrays]:
    contents = []
    for folder in folders:
        pictures = _pictures(folder)
        if not pictures:
            raise DataError(f"{folder} holds no images in folders named after their classes (such as cat/1.png)")
        pixels = _decoded(pictures, size=data.image_size)
        odd = next((i for i, p in enumerate(pixels) if p.shape[1:] != pixels[0].shape[1:]), None)
        if odd is not None:
            raise DataError(
                f"images differ in size: {pictures[0].name} has {_size(pixels[0])} pixels, {pictures[odd].name} "
                f"{_size(pixels[odd])}; set image_size: to resize them all"
            )
        contents.append((folder, pictures, pixels))
    num_channels = max(len(p) for _, _, pixels in contents for p in pixels)
    return [
        Arrays(
            inputs=np.stack([p if len(p) == num_channels else p.repeat(num_channels, axis=0) for p in pixels]),
            targets=np.array([picture.label for picture in pictures]),
            where=location if len(folders) == 1 else f"{location} ({folder.name})",
            task="classification",
            target_names=("class",),
        )
        for folder, pictures, pixels in contents
    ]


def _pictures(folder: Path) -> list[_Picture]:
    return [
        _Picture(file, f"{label.name}/{file.relative_to(label)}", label.name)
        for label in _folders(folder)
        for file in pictures_in(label)
    ]


def _decoded(pictures: Sequence[_Picture], *, size: int | None) -> list[npt.NDArray[np.uint8]]:
    """All pictures, several at a time: decoding and resizing leave Python to other threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(_MOST_THREADS, cores)) as threads:
        return list(threads.map(partial(_pixels, size=size), pictures))


def _pixels(picture: _Picture, *, size: int | None) -> npt.NDArray[np.uint8]:
    try:
        return pixels_of(picture.path, picture.name, size=size)
    except PictureError as error:
        raise DataError(str(error)) from error


def _size(pixels: npt.NDArray[np.uint8]) -> str:
    return f"{pixels.shape[2]}x{pixels.shape[1]}"
