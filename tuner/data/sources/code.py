"""`package.module:function` or `path/to/file.py:function`: the user's own function that returns examples."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from tuner.data.collected import Inputs, SpooledInputs
from tuner.data.content import Content, Contents, Table
from tuner.data.named import INPUT_NAMES, PART_NAMES, TARGET_NAMES, contents_from_names, part_of
from tuner.errors import DataError, TunerError, UserCodeError
from tuner.imports import load_object
from tuner.spec.model import DataSpec
from tuner.spec.own_code import FUNCTION


def matches(location: str, path: Path) -> bool:
    return FUNCTION.fullmatch(location) is not None and not path.exists()


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    function = load_object(location, root=root)
    if not callable(function):
        raise UserCodeError(f"{location} is no function but of type {type(function).__name__}")
    return _contents(_call(function, data, location), data, where=location)


def _call(function: Callable[..., object], data: DataSpec, location: str) -> object:
    """Call the function, with the sweep file's data block if it takes an argument."""
    try:
        num_required = sum(
            p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
            for p in inspect.signature(function).parameters.values()
        )
        if num_required > 1:
            raise UserCodeError(f"{location} needs {num_required} arguments; it may take one, the data: block, or none")
        return function(data) if num_required else function()
    except TunerError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(location, error) from error


def _failed(location: str, error: BaseException) -> UserCodeError:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return UserCodeError(
        f"{location} failed: {type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    )


def _contents(returned: object, data: DataSpec, *, where: str) -> Contents:
    if _is_parts(returned):
        returned = dict(zip(PART_NAMES, returned, strict=False))
    if isinstance(returned, Mapping):
        by_part = {part_of(str(name)): value for name, value in returned.items()}
        if "train" in by_part:
            found = {p: _content(by_part[p], data, where=f"{where} ({p})") for p in PART_NAMES if p in by_part}
            return Contents(train=found["train"], dev=found.get("dev"), test=found.get("test"))
        if by_part.keys() & PART_NAMES.keys():
            raise DataError(f"{where} returned parts without train: {', '.join(map(str, returned))}")
        arrays = {str(name): _array(value, where) for name, value in returned.items()}
        return contents_from_names(arrays, data, where=where)
    return Contents(train=_content(returned, data, where=where))


def _is_parts(returned: object) -> TypeGuard[Sequence[object]]:
    """Whether it is train, dev and perhaps test, as `random_split` gives them."""
    from torch.utils.data import DataLoader, Dataset

    return (
        isinstance(returned, tuple | list)
        and len(returned) in (2, 3)
        and all(isinstance(part, Dataset | DataLoader) for part in returned)
    )


def _content(value: object, data: DataSpec, *, where: str) -> Content:
    import pandas as pd
    from torch.utils.data import DataLoader, Dataset

    if isinstance(value, pd.DataFrame):
        if data.stream:
            raise DataError(
                f"data.stream: {where} returned a DataFrame, which is in memory already; name its file as the source, "
                "or remove stream"
            )
        return Table(frame=value, where=where)
    if isinstance(value, Mapping):
        return contents_from_names({str(n): _array(v, where) for n, v in value.items()}, data, where=where).train
    if isinstance(value, tuple | list) and len(value) == 2:
        inputs, targets = value
    elif isinstance(value, DataLoader):
        inputs, targets = _collect(value.dataset, where, spooled=data.stream)
    elif isinstance(value, Dataset):
        inputs, targets = _collect(value, where, spooled=data.stream)
    else:
        raise DataError(
            f"{where} returned {type(value).__name__}; return (inputs, targets), a DataFrame, a torch Dataset, "
            "or a dict of train, dev and test"
        )
    arrays = {INPUT_NAMES[0]: _array(inputs, where), TARGET_NAMES[0]: _array(targets, where)}
    return contents_from_names(arrays, data.model_copy(update={"target": None}), where=where).train


def _collect(dataset: Any, where: str, *, spooled: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """All examples of a map-style or iterable data set; the inputs in memory, or in a temporary file."""
    kept: Inputs | SpooledInputs = SpooledInputs() if spooled else Inputs()
    targets = []
    first: npt.NDArray[Any] | None = None
    for number, item in enumerate(_items(dataset, where), start=1):
        if not (isinstance(item, tuple | list) and len(item) == 2):
            raise DataError(f"{where}: item {number} of the data set is no pair (input, target)")
        array = _array(item[0], where)
        targets.append(_array(item[1], where))
        first = array if first is None else first
        if array.shape != first.shape:
            raise DataError(
                f"{where}: input {number} has shape {array.shape}, the first {first.shape}; make them equal"
            )
        kept.add(array)
    if first is None:
        raise DataError(f"{where}: the data set is empty")
    return kept.array(), np.stack(targets)


def _items(dataset: Any, where: str) -> Iterator[Any]:
    """What a data set yields, or the user's own error."""
    try:
        yield from (dataset[i] for i in range(len(dataset))) if hasattr(dataset, "__len__") else iter(dataset)
    except (Exception, SystemExit) as error:
        raise _failed(where, error) from error


def _array(value: object, where: str) -> npt.NDArray[Any]:
    """A tensor, frame, list or image as an array in the host's memory."""
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype is torch.bfloat16 else value
        return np.asarray(value.numpy())
    if hasattr(value, "toarray"):  # SciPy's sparse matrices
        value = value.toarray()
    if isinstance(value, np.memmap):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(f"{where} returned values of differing shapes: {error}") from error
