"""The prepared data of a sweep, kept on disk: made by one process, mapped by all, found again by the next start.

A copy is named after the contents of the files that it was made of, the `data:` block and the code that prepares:
studies share it, and nothing outdated is ever found.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from tuner.data.dataset import DataInfo, Fold, Split, TrainingData
from tuner.data.file_hashes import FileHashes, stamp_of
from tuner.data.groupings import Grouping
from tuner.data.kept import made_for_all
from tuner.data.sources import files_of
from tuner.data.stored import BLOCK_BYTES, is_streamed
from tuner.errors import DataError
from tuner.spec.model import SweepSpec

log = logging.getLogger(__name__)

_SMALLEST_BYTES = 8 << 20
"""Of files; what is smaller is read as quickly as a copy would be."""
_BY = "groupings"
"""Beside the facts: the columns that scores are reported by, with their groups."""
_LIBRARIES = ("numpy", "pandas", "pyarrow", "pillow")
"""What values may depend on, besides our code."""


def kept_data(spec: SweepSpec, make: Callable[[bool], TrainingData], *, within: Path) -> TrainingData:
    """The prepared data of a sweep, mapped from a copy where one can be kept.

    Small files, what comes from code and what is streamed have none.

    Args:
        spec: The sweep file.
        make: Reads, splits and prepares the data; if it is told True, inputs are prepared as they are asked for.
        within: Folder for copies of all studies.

    Raises:
        TunerError: as `make`.
    """
    try:
        files = _files_to_keep(spec)
        if not files:
            return make(False)
        return _opened(_kept(spec, files, make, within=within))
    except OSError as error:
        log.warning(
            "no prepared copy of %s can be kept in %s (%s): each worker reads the data by itself",
            spec.data.source, within, error.strerror or error,
        )  # fmt: skip
    return make(False)


def mapped_bytes(spec: SweepSpec, data: TrainingData) -> int:
    """Bytes of the prepared data of a sweep that its workers map together; 0 where each has its own."""
    try:
        kept = _files_to_keep(spec)
    except OSError:
        return 0
    return sum(tensor.numel() * tensor.element_size() for _, tensor in _tensors(data)) if kept else 0


def _files_to_keep(spec: SweepSpec) -> Sequence[tuple[str, Path]]:
    """The files whose contents are worth a copy."""
    files = None if spec.data.stream else files_of(spec.data, root=Path(spec.root))
    return files if files and sum(file.stat().st_size for _, file in files) >= _SMALLEST_BYTES else ()


def _kept(
    spec: SweepSpec, files: Sequence[tuple[str, Path]], make: Callable[[bool], TrainingData], *, within: Path
) -> Path:
    """The folder of the copy."""
    stamps = [stamp_of(file) for _, file in files]

    def write(folder: Path) -> None:
        log.info("%s is read, and kept prepared in %s", spec.data.source, within)
        _write(make(True), folder)
        if [stamp_of(file) for _, file in files] != stamps:
            raise DataError(f"{spec.data.source} changed while it was read; start again when it is written")

    key = _key(spec, files, within=within)
    return made_for_all(write, key=key, within=within, made_of=spec.data.source)


def _key(spec: SweepSpec, files: Sequence[tuple[str, Path]], *, within: Path) -> str:
    data = spec.data.model_dump(mode="json")
    for name in ("source", "dev", "test"):  # where a file lies makes no difference, what it is called may be said
        if data[name] is not None:
            data[name] = Path(data[name]).name
    with FileHashes(within / "hashes.json") as hashes:
        contents = [(name, hashes.sha256(file)) for name, file in files]
    known = (contents, data, spec.objective.metric, _code_version())  # the data's notes are for a metric
    return hashlib.sha256(repr(known).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _code_version() -> tuple[str, ...]:
    """Of all that turns files into tensors."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return (digest.hexdigest(), *map(_version, _LIBRARIES))


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def _write(data: TrainingData, folder: Path) -> None:
    for name, tensor in _tensors(data):
        with (folder / f"{name}.npy").open("wb") as file:
            if is_streamed(tensor):
                _save_in_blocks(file, tensor)
            else:
                np.save(file, tensor.numpy())
    by = [(grouping.name, grouping.values) for grouping in data.train.groupings]
    (folder / "info.json").write_text(json.dumps({**asdict(data.info), _BY: by}))


def _save_in_blocks(file: BinaryIO, inputs: Tensor) -> None:
    """As `np.save`, of float32 of which a block is prepared at a time."""
    shape = tuple(inputs.shape)
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    step = max(1, BLOCK_BYTES // (4 * max(1, prod(shape[1:]))))
    for first in range(0, len(inputs), step):
        file.write(inputs[first : first + step].numpy().data)


def _tensors(data: TrainingData) -> Iterator[tuple[str, Tensor]]:
    for name, split in (("train", data.train), ("dev", data.dev), ("train_dev", data.train_dev)):
        if split is not None:
            yield f"{name}.inputs", split.inputs
            yield f"{name}.targets", split.targets
            if split.rows is not None:
                yield f"{name}.rows", torch.from_numpy(split.rows)
            for number, grouping in enumerate(split.groupings):
                yield f"{name}.by.{number}", torch.from_numpy(grouping.codes)
    for number, fold in enumerate(data.folds):
        yield f"{number}.train", fold.train
        yield f"{number}.dev", fold.dev
        if fold.train_dev is not None:
            yield f"{number}.train_dev", fold.train_dev


def _opened(folder: Path) -> TrainingData:
    def tensor(name: str) -> Tensor:
        file = folder / f"{name}.npy"
        # Written to, a page becomes this process's own: what a user's module does to its inputs stays with it.
        return torch.from_numpy(np.load(file, mmap_mode="c"))

    def split(name: str) -> Split:
        rows = folder / f"{name}.rows.npy"
        groupings = tuple(
            Grouping(column, tuple(values), np.load(folder / f"{name}.by.{number}.npy"))
            for number, (column, values) in enumerate(by)
        )
        return Split(
            tensor(f"{name}.inputs"), tensor(f"{name}.targets"), np.load(rows) if rows.exists() else None, groupings
        )

    found: dict[str, Any] = json.loads((folder / "info.json").read_text())
    by = found.pop(_BY)
    info: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}

    held_out = bool(info["num_train_dev"])
    folds = tuple(
        Fold(tensor(f"{n}.train"), tensor(f"{n}.dev"), tensor(f"{n}.train_dev") if held_out else None)
        for n in range(info["folds"])
    )
    return TrainingData(
        split("train"),
        split("dev"),
        DataInfo(**info),
        folds,
        split("train_dev") if held_out and not folds else None,
    )
