"""From arrays to examples: which axis is what, and whether the values can be used."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.content import Arrays
from tuner.data.examples import LARGEST, Examples, Indices, Origin
from tuner.data.stored import BLOCK_BYTES, StoredRows
from tuner.data.targets import Targets, encode_targets
from tuner.errors import DataError
from tuner.spec.model import DataSpec

_CHANNELS = (1, 3, 4)


def examples_from_arrays(contents: Sequence[Arrays], *, parts: Sequence[int], data: DataSpec) -> Examples:
    """Join arrays of the same shape.

    Args:
        contents: The source, and what is given apart from it.
        parts: TRAIN, DEV or TEST for each.
        data: Says what is learnt, the arrays of groups and times, and what to do with missing values.

    Raises:
        DataError: shapes do not fit, or values are no finite numbers.
    """
    first = contents[0]
    if data.stream and len(contents) > 1:
        raise DataError("data.stream reads one source and splits it; parts given apart are not streamed: remove stream")
    shaped = [_stored(content) if data.stream else _shaped_inputs(content) for content in contents]
    for content, inputs in zip(contents, shaped, strict=True):
        if inputs.shape[1:] != shaped[0].shape[1:]:
            raise DataError(
                f"{content.where}: examples have shape {inputs.shape[1:]}, those of {first.where} {shaped[0].shape[1:]}"
            )
    inputs = np.concatenate([np.asarray(x) for x in shaped]) if len(shaped) > 1 else shaped[0]
    starts = np.cumsum([0, *(len(x) for x in shaped[:-1])])
    origin = Origin(tuple(c.where for c in contents), tuple(int(s) for s in starts))
    raw_targets = _joined([c.targets for c in contents], "targets", contents)
    group, order = _column(contents, data.group, "group"), _column(contents, data.order, "order")
    kept, notes = _usable_rows(inputs, raw_targets, data, origin)
    if len(kept) < len(inputs):
        inputs = inputs.take(kept) if isinstance(inputs, StoredRows) else inputs[kept]
        raw_targets, origin = raw_targets[kept], origin.keep(kept)
    targets = encode_targets(
        raw_targets,
        task=data.task if data.task != "auto" else (first.task or "auto"),
        names=first.target_names,
        class_names=first.class_names,
        origin=origin,
    )
    if data.report_by:
        raise DataError(f"data.report_by names columns of a table, and {first.where} holds arrays: remove it")
    names = first.feature_names or tuple(f"input_{i + 1}" for i in range(inputs.shape[1]))
    return Examples(
        numbers=inputs,
        number_names=names if inputs.ndim == 2 else (),
        texts=(),
        codes=np.empty((len(inputs), 0), dtype=np.int16),
        targets=targets.values,
        task=targets.task,
        class_names=targets.class_names,
        target_names=first.target_names or _target_names(targets),
        groups=None if group is None else _group_codes(group[kept], data.group, origin),
        times=None if order is None else _order_times(order[kept], data.order, origin),
        parts=np.repeat(np.asarray(parts, dtype=np.int8), [len(x) for x in shaped])[kept] if len(shaped) > 1 else None,
        rows=None if data.stream else origin.numbers(len(inputs)),
        notes=(*(note for c in contents for note in c.notes), *notes, *targets.notes),
    )


def _target_names(targets: Targets) -> tuple[str, ...]:
    if targets.task == "multi_label":
        return targets.class_names
    num_outputs = targets.values.shape[1] if targets.task == "regression" else 1
    return tuple(f"target_{i + 1}" for i in range(num_outputs))


def _group_codes(group: npt.NDArray[Any], name: str | None, origin: Origin) -> npt.NDArray[np.int64]:
    import pandas as pd

    from tuner.data.columns import group_codes

    return group_codes(pd.Series(group, name=name), origin)


def _order_times(order: npt.NDArray[Any], name: str | None, origin: Origin) -> npt.NDArray[np.float64]:
    import pandas as pd

    from tuner.data.columns import order_times

    return order_times(pd.Series(order, name=name), origin)


def _shaped_inputs(content: Arrays) -> npt.NDArray[Any]:
    """Inputs as `Examples.numbers` has them."""
    inputs = content.inputs
    shape, channels_last = _row_shape(content)
    if channels_last:
        return np.ascontiguousarray(np.moveaxis(inputs, 3, 1))
    return inputs.reshape(len(inputs), *shape)


def _stored(content: Arrays) -> StoredRows:
    """The same, left where it is."""
    shape, channels_last = _row_shape(content)
    return StoredRows(content.inputs, shape, channels_last)


def _row_shape(content: Arrays) -> tuple[tuple[int, ...], bool]:
    """The shape of an example as networks take it, and whether the channels, which come first, are last as read."""
    inputs = content.inputs
    if inputs.dtype.kind not in "biuf":
        raise DataError(f"{content.where}: inputs are of type {inputs.dtype}; give numbers")
    if inputs.ndim == 0 or not inputs.size:
        raise DataError(f"{content.where}: inputs of shape {inputs.shape} hold nothing")
    if len(content.targets) != len(inputs) or content.targets.ndim == 0:
        raise DataError(
            f"{content.where}: there are {len(inputs):,} inputs and {content.targets.size:,} targets; "
            "give one target for each input"
        )
    if inputs.ndim == 1:
        return (1,), False
    if inputs.ndim == 3 and inputs.dtype == np.uint8:  # bytes are pixels: grey images
        return (1, *inputs.shape[1:]), False
    if inputs.ndim == 4 and inputs.shape[3] in _CHANNELS and inputs.shape[1] not in _CHANNELS:
        return (inputs.shape[3], *inputs.shape[1:3]), True
    return inputs.shape[1:], False


def _column(contents: Sequence[Arrays], name: str | None, key: str) -> npt.NDArray[Any] | None:
    """The array that `group:` or `order:` names, of all contents; None if it names none."""
    if name is None:
        return None
    for content in contents:
        if name not in content.columns:
            known = ", ".join(content.columns) or "none beside inputs and targets"
            raise DataError(f'data.{key}: {content.where} has no array "{name}"; there are {known}')
        if content.columns[name].shape != (len(content.inputs),):
            raise DataError(
                f'data.{key}: "{name}" has shape {content.columns[name].shape}; {key} needs one value for each of the '
                f"{len(content.inputs):,} examples"
            )
    return np.concatenate([content.columns[name] for content in contents])


def _joined(arrays: list[npt.NDArray[Any]], name: str, contents: Sequence[Arrays]) -> npt.NDArray[Any]:
    for array, content in zip(arrays, contents, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{content.where}: {name} have shape {array.shape}, those of {contents[0].where} {arrays[0].shape}"
            )
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]


def _too_large(inputs: npt.NDArray[Any], where: str) -> DataError:
    """What is said of an example whose inputs are beyond `LARGEST`."""
    value = float(inputs[np.abs(inputs) > LARGEST][0])
    if np.isinf(value):
        return DataError(f"{where}: an input is infinite; correct it, or give NaN if unknown")
    return DataError(f"{where}: an input is {value:g}, which is too large to compute with; correct it, or scale it")


def _usable_rows(
    inputs: npt.NDArray[Any] | StoredRows, targets: npt.NDArray[Any], data: DataSpec, origin: Origin
) -> tuple[Indices, tuple[str, ...]]:
    """Positions of the examples to use, and notes about the others."""
    num_examples = len(inputs)
    missing = np.zeros(num_examples, dtype=bool)
    if inputs.dtype.kind == "f":
        step = max(1, BLOCK_BYTES // max(1, prod(inputs.shape[1:]) * inputs.dtype.itemsize))
        for first in range(0, num_examples, step):
            block = inputs[first : first + step].reshape(min(step, num_examples - first), -1)
            beyond = np.flatnonzero((np.abs(block) > LARGEST).any(axis=1))
            if len(beyond):
                raise _too_large(block[beyond[0]], origin.row(first + int(beyond[0])))
            missing[first : first + step] = np.isnan(block).any(axis=1)
    no_target = np.zeros(num_examples, dtype=bool)
    if targets.dtype.kind == "f":
        no_target = np.isnan(targets).reshape(num_examples, -1).any(axis=1)
    may_fill = data.missing == "mean" and inputs.ndim == 2
    if missing.any() and data.missing != "drop" and not may_fill:
        row = int(np.flatnonzero(missing)[0])
        raise DataError(f"{origin.row(row)}: an input is missing (NaN); fill it, or set missing: drop")
    if no_target.any() and data.missing == "error":
        raise DataError(f"{origin.row(int(np.flatnonzero(no_target)[0]))}: the target is missing (NaN); fill it")
    incomplete = missing & ~no_target if data.missing == "drop" else np.zeros(num_examples, dtype=bool)
    notes = [
        f"dropped {int(mask.sum()):,} of {num_examples:,} examples {why}"
        for mask, why in ((no_target, "without a target"), (incomplete, "with a missing value (missing: drop)"))
        if mask.any()
    ]
    kept = np.flatnonzero(~(no_target | incomplete))
    if not len(kept):
        raise DataError(f"{origin}: every example has a missing value; nothing is left to train on")
    return kept, tuple(notes)
