"""What is to be predicted: classes, labels or numbers, decided from the values unless sweep file or source says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tuner.data.examples import LARGEST, Origin
from tuner.data.text import DATE, clean, quoted
from tuner.errors import DataError
from tuner.records import TaskKind

MOST_INTEGER_CLASSES = 50
"""With more distinct integers, a target is a number to predict, unless `task: classification` says otherwise."""
_LEAST_EXAMPLES_OF_AN_INTEGER_CLASS = 5
"""Average; with fewer examples of each distinct integer, a target is a number to predict (two are always classes)."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Encoded targets: see `Examples`."""

    values: npt.NDArray[Any]
    task: TaskKind
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def encode_targets(
    raw: npt.NDArray[Any],
    *,
    task: Literal["auto", "classification", "multi_label", "regression"],
    names: tuple[str, ...],
    class_names: tuple[str, ...],
    origin: Origin,
) -> Targets:
    """Turn targets into class indices, or float64 columns of labels or numbers.

    Args:
        raw: (examples,) or (examples, outputs), without missing values; text, booleans or numbers.
        task: What the sweep file, or else the source, says.
        names: Of the outputs, for messages; empty if they have none.
        class_names: Of integer targets, if the source knows them.
        origin: Of the rows, for messages.

    Raises:
        DataError: the targets cannot be what they are said to be.
    """
    if raw.ndim > 2:
        raise DataError(f"{origin}: targets have shape {raw.shape}; they must be (examples,) or (examples, outputs)")
    if task == "multi_label":
        return _encode_labels(raw, names, origin)
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim == 2 and task != "regression" and _is_one_hot(raw):
        raw = raw.argmax(axis=1)
    if raw.ndim == 2 and task == "auto" and _is_zero_or_one(raw).all():
        return _encode_labels(raw, names, origin)
    if raw.ndim == 2 and task == "classification":
        remedy = "give one, or task: regression, or task: multi_label for labels of 0 and 1"
        raise DataError(f"{origin}: classification needs one target, got {raw.shape[1]}; {remedy}")
    if task == "classification" or (task == "auto" and raw.ndim == 1 and _looks_like_classes(raw)):
        return _encode_classes(raw, class_names, names, origin, told=task != "auto")
    return Targets(_as_numbers(raw, names, origin), "regression", ())


def _is_zero_or_one(raw: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.isin(raw, (0, 1)) if raw.dtype.kind in "biuf" else np.zeros(raw.shape, dtype=bool)


def _encode_labels(raw: npt.NDArray[Any], names: tuple[str, ...], origin: Origin) -> Targets:
    columns = raw.reshape(len(raw), -1)
    if columns.dtype.kind == "O":
        columns = _as_numbers(columns, names, origin)
    wrong = np.argwhere(~_is_zero_or_one(columns))
    if len(wrong):
        row, column = (int(i) for i in wrong[0])
        named = f" {names[column]}" if names else ""
        raise DataError(
            f"{origin.row(row)}: the label{named} is {quoted(columns[row, column])}; task: multi_label needs 0 or 1 in "
            "each target"
        )
    values = columns.astype(np.float64)
    found = names or tuple(f"label_{i + 1}" for i in range(values.shape[1]))
    constant = [name for name, column in zip(found, values.T, strict=True) if column.min() == column.max()]
    if len(constant) == len(found):
        raise DataError(f"{origin}: no label tells the examples apart; each is the same in all of them")
    notes = [f"the label {name} is the same in all examples, so that nothing can be learnt of it" for name in constant]
    return Targets(values, "multi_label", found, tuple(notes))


def _is_one_hot(raw: npt.NDArray[Any]) -> bool:
    return bool(raw.dtype.kind in "biuf" and np.isin(raw, (0, 1)).all() and (raw.sum(axis=1) == 1).all())


def _is_whole(raw: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which numbers are whole, and so small that a float64 tells each from its neighbours."""
    whole: npt.NDArray[np.bool_] = (np.abs(raw) < 2.0**53) & (raw == np.round(raw))
    return whole


def _looks_like_classes(raw: npt.NDArray[Any]) -> bool:
    if raw.dtype.kind not in "iuf":
        return True
    if raw.dtype.kind == "f" and not _is_whole(raw).all():
        return False
    distinct = len(np.unique(raw))
    often = len(raw) >= _LEAST_EXAMPLES_OF_AN_INTEGER_CLASS * distinct
    return distinct <= 2 or (distinct <= MOST_INTEGER_CLASSES and often)


def _encode_classes(
    raw: npt.NDArray[Any], class_names: tuple[str, ...], names: tuple[str, ...], origin: Origin, *, told: bool
) -> Targets:
    if raw.dtype.kind == "f" and not _is_whole(raw).all():
        row = int(np.flatnonzero(~_is_whole(raw))[0])
        raise DataError(f"{origin.row(row)}: {raw[row]} is no class; give whole numbers or names, or task: regression")
    if raw.dtype.kind == "f":
        raw = raw.astype(np.int64)
    if raw.dtype.kind not in "biu":
        raw = _cleaned(raw)
        if all(DATE.fullmatch(text) for text in raw[:50]):
            raise DataError(
                f"{origin}: the target holds dates; turn them into numbers, or name another column as data.target"
            )
    present, codes = np.unique(raw, return_inverse=True)
    if len(present) < 2:
        raise DataError(
            f"{origin}: all examples are of the class {quoted(present[0])}; classification needs at least two"
        )
    if class_names and raw.dtype.kind in "iu" and present[0] >= 0 and present[-1] < len(class_names):
        found = tuple(class_names[int(value)] for value in present)
    else:
        found = tuple(str(value) for value in present)
    notes = _alike(found)
    if not told and raw.dtype.kind in "iu" and len(present) > 2:
        named = f" {names[0]}" if names else ""
        notes += (
            f"the target{named} holds {len(present)} distinct whole numbers, taken for classes; "
            "set task: regression if they are amounts",
        )
    return Targets(codes.astype(np.int64).reshape(-1), "classification", found, notes)


def _alike(names: tuple[str, ...]) -> tuple[str, ...]:
    """A note on two names that differ in case alone."""
    by_folded: dict[str, str] = {}
    for name in names:
        other = by_folded.setdefault(name.casefold(), name)
        if other != name:
            return (f"the classes {quoted(other)} and {quoted(name)} differ in case alone; if they are one, mend them",)
    return ()


def _cleaned(raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if raw.dtype.kind != "O":
        values, codes = np.unique(raw, return_inverse=True)
        return np.array([clean(str(value)) for value in values], dtype=object)[codes]
    # Each text once: an array of texts has room for the longest in every row.
    known: dict[str, str] = {}
    texts = map(str, raw)
    return np.array([known.get(text) or known.setdefault(text, clean(text)) for text in texts], dtype=object)


def _as_numbers(raw: npt.NDArray[Any], names: tuple[str, ...], origin: Origin) -> npt.NDArray[np.float64]:
    columns = raw.reshape(len(raw), -1)
    if columns.dtype.kind not in "biuf":
        columns = np.stack([_parsed(column, origin, several=columns.shape[1] > 1) for column in columns.T], axis=1)
    numbers = columns.astype(np.float64)
    _check_exact(columns, numbers, names, origin)
    bad = np.argwhere(~(np.abs(numbers) <= LARGEST))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        named, value = f" {names[column]}" if names else "", numbers[row, column]
        if np.isfinite(value):
            cause = f"{value:g}, which is too large to compute with; correct it, or scale it"
            raise DataError(f"{origin.row(row)}: the target{named} is {cause}")
        raise DataError(f"{origin.row(row)}: the target{named} is {value}; give finite numbers")
    return numbers


def _check_exact(
    raw: npt.NDArray[Any], numbers: npt.NDArray[np.float64], names: tuple[str, ...], origin: Origin
) -> None:
    """Refuse whole numbers of which two become one as float64."""
    if raw.dtype.kind not in "iu":
        return
    for column in range(raw.shape[1]):
        if len(np.unique(raw[:, column])) > len(np.unique(numbers[:, column])):
            named = f" {names[column]}" if names else ""
            raise DataError(
                f"{origin}: the target{named} holds whole numbers beyond 2**53 that a float64 does not tell apart; "
                "subtract what they have in common, or set task: classification if they are labels"
            )


def _parsed(column: npt.NDArray[Any], origin: Origin, *, several: bool) -> npt.NDArray[np.float64]:
    result = np.empty(len(column))
    for row, value in enumerate(column):
        try:
            result[row] = float(value)
        except (TypeError, ValueError):
            remedy = "several targets must be numbers" if several else "correct it, or set task: classification"
            raise DataError(f"{origin.row(row)}: the target {quoted(value)} is no number; {remedy}") from None
    return result
