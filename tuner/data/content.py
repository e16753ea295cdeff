"""What a source hands over, before anything is decided about it: a table with named columns, or arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy.typing as npt

from tuner.records import TaskKind

if TYPE_CHECKING:  # a sweep over arrays needs no pandas
    import pandas as pd


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One row for each example; the columns to predict are named by the sweep file, the last one by default."""

    frame: pd.DataFrame
    where: str
    """Name of the file or function, for messages."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrays:
    """Inputs (examples, ...) and targets (examples,) or (examples, outputs)."""

    inputs: npt.NDArray[Any]
    targets: npt.NDArray[Any]
    where: str
    """Name of the file or function, for messages."""
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Further arrays with one entry for each example, by name: groups, times."""
    task: TaskKind | None = None
    """What the source knows to be learnt; None where only the values can tell."""
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    """Of the integer targets 0, 1, ...; empty where the targets name themselves."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTable:
    """A table in files, which is read in parts as often as is needed."""

    read: Callable[[Mapping[str, str]], Iterator[pd.DataFrame]]
    """All rows in their order, in frames of the same columns. Columns that it is given a type for (`str`, `float64`)
    have that type in every part, if the format leaves types to be guessed."""
    files: tuple[Path, ...]
    """What is read; if they change, so does the table."""
    where: str
    """Name of the file, for messages."""
    notes: tuple[str, ...] = ()


Content: TypeAlias = Table | StoredTable | Arrays


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """All that a source holds: examples, and the dev and test examples if it gives them apart."""

    train: Content
    dev: Content | None = None
    test: Content | None = None
