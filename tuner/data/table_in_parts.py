"""Tables that are larger than memory: read in parts, typed, and written as arrays that batches are read from.

A table is gone through twice, three times if it has columns of text: which columns are empty and of one type; what
the columns of text hold; the examples (`typed_parts.py` says how often its file is read for that). What is kept of a
part in memory does not grow with its columns. The arrays hold the examples as read (float64, and the numbers of
categories), so that they serve any split, and what is measured on the training part is measured as in memory, to the
bit.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.columns import ColumnSurvey, NumberColumn, TimeSurvey, group_codes, is_beyond
from tuner.data.content import StoredTable
from tuner.data.examples import LARGEST, Examples, Indices, Origin, TextColumn
from tuner.data.kept import key_of, made_once
from tuner.data.stored import StoredRows
from tuner.data.table import (
    InputColumns,
    Roles,
    UsableRows,
    roles_of,
    target_values,
)
from tuner.data.targets import encode_targets
from tuner.data.typed_parts import TypedParts
from tuner.spec.model import DataSpec

log = logging.getLogger(__name__)

_FORMAT = 1
"""Of the files; those of another are not used."""
_SETTINGS = ("target", "task", "group", "order", "ignore", "missing")
"""What in the sweep file's block decides which examples there are."""


def examples_from_stored_table(table: StoredTable, *, data: DataSpec, kept_in: Path | None) -> Examples:
    """The examples of a table, whose inputs stay on disk.

    Args:
        table: The source.
        data: Says which columns are for what, and what to do with missing values.
        kept_in: Folder to keep the arrays in, for all processes and later runs; temporary if None.

    Raises:
        DataError: as `examples_from_tables`; or the disk cannot take the arrays.
    """
    key = key_of(table.files, _FORMAT, table.where, *(getattr(data, name) for name in _SETTINGS))
    return _opened(made_once(lambda folder: _write(table, data, folder), key=key, within=kept_in))


def _write(table: StoredTable, data: DataSpec, folder: Path) -> None:
    """Fill a folder with the arrays of a table."""
    log.info("%s is read in parts and written to %s as arrays", table.where, folder)
    with tempfile.TemporaryFile(dir=folder) as spool:  # without a name, so that a crash leaves nothing
        _write_parts(TypedParts(table, spool=spool, room=folder), table, data, folder)


def _write_parts(parts: TypedParts, table: StoredTable, data: DataSpec, folder: Path) -> None:
    roles = roles_of(parts.facts, data, where=table.where)
    inputs = InputColumns(_typed_inputs(parts, roles, data))
    usable = UsableRows(roles, data)
    kept: list[Indices] = []
    targets: list[npt.NDArray[Any]] = []
    groups: list[npt.NDArray[np.int64]] = []
    times = TimeSurvey(data.order)
    origin = Origin((table.where,), (0,))
    texts: dict[object, object] = {}
    with (folder / "numbers").open("wb") as numbers, (folder / "codes").open("wb") as codes:
        for part in parts:
            rows = usable.among(part.frame, part.origin)
            frame, part_origin = part.frame.iloc[rows], part.origin.keep(rows)
            kept.append(rows + part.first)
            numbers.write(_finite(inputs.numbers(frame), inputs, part_origin).tobytes())
            codes.write(inputs.codes(frame).tobytes())
            targets.append(_once(target_values(frame, roles.targets), texts))
            if data.group is not None:
                groups.append(group_codes(frame[data.group], part_origin))
            if data.order is not None:
                times.add(frame[data.order], part_origin)
    dropped = usable.notes(origin)
    encoded = encode_targets(
        # The type of a part without a target is that of missing values, and would make numbers of flags.
        np.concatenate([values for values in targets if len(values)] or targets[:1]),
        task=data.task,
        names=roles.targets,
        class_names=(),
        origin=origin.keep(np.concatenate(kept)),
    )
    np.save(folder / "targets.npy", encoded.values)
    if data.group is not None:
        np.save(folder / "groups.npy", np.concatenate(groups))
    if data.order is not None:
        np.save(folder / "times.npy", times.times())
    used = frozenset(roles.inputs)
    facts = {
        "number_names": inputs.number_names,
        "texts": [[column.name, column.values] for column in inputs.texts],
        "task": encoded.task,
        "class_names": encoded.class_names,
        "target_names": roles.targets,
        "left_out": [name for name in parts.facts.names if name not in used],
        "notes": (*table.notes, *roles.notes, *dropped, *encoded.notes),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _typed_inputs(parts: TypedParts, roles: Roles, data: DataSpec) -> list[NumberColumn | TextColumn]:
    """What the columns of inputs hold; goes through all rows if some hold text."""
    surveys = {name: ColumnSurvey(name) for name in roles.inputs if name in parts.texts}
    if not surveys:
        return [NumberColumn(name) for name in roles.inputs]
    usable = UsableRows(roles, data)
    for part in parts:
        rows = usable.among(part.frame, part.origin)
        frame, origin = part.frame.iloc[rows], part.origin.keep(rows)
        for name, survey in surveys.items():
            survey.add(frame[name], in_source=np.ones(len(frame), dtype=bool), origin=origin)
    whole = Origin((parts.where,), (0,))
    return [surveys[name].verdict(whole) if name in surveys else NumberColumn(name) for name in roles.inputs]


def _finite(numbers: npt.NDArray[np.float64], inputs: InputColumns, origin: Origin) -> npt.NDArray[np.float64]:
    """The same numbers, none of which is infinite or too large."""
    with np.errstate(invalid="ignore"):
        beyond = np.argwhere(np.abs(numbers) > LARGEST)
    if len(beyond):
        row, column = map(int, beyond[0])
        raise is_beyond(inputs.number_names[column], origin.row(row), float(numbers[row, column]))
    return numbers


def _once(values: npt.NDArray[Any], known: dict[object, object]) -> npt.NDArray[Any]:
    """The same values, where equal texts are one object, so that classes by name take no more room than numbers."""
    if values.dtype.kind != "O" or not all(isinstance(value, str) for value in values.ravel()):
        return values
    found = np.empty(values.shape, dtype=object)
    found.ravel()[:] = [known.setdefault(value, value) for value in values.ravel()]
    return found


def _opened(folder: Path) -> Examples:
    """The examples of a folder that is whole."""
    facts: Mapping[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    targets = np.load(folder / "targets.npy")
    texts = tuple(TextColumn(name=name, values=tuple(values)) for name, values in facts["texts"])
    number_names = tuple(facts["number_names"])
    optional = {name: folder / f"{name}.npy" for name in ("groups", "times")}
    found = {name: np.load(file) if file.exists() else None for name, file in optional.items()}
    return Examples(
        numbers=_rows(folder / "numbers", np.dtype(np.float64), (len(targets), len(number_names))),
        number_names=number_names,
        texts=texts,
        codes=_rows(folder / "codes", np.dtype(np.int16), (len(targets), len(texts))),
        targets=targets,
        task=facts["task"],
        class_names=tuple(facts["class_names"]),
        target_names=tuple(facts["target_names"]),
        groups=found["groups"],
        times=found["times"],
        parts=None,
        notes=tuple(facts["notes"]),
        left_out=tuple(facts.get("left_out", ())),
    )


def _rows(file: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> StoredRows:
    if not shape[1]:  # an empty file cannot be mapped
        return StoredRows(np.empty(shape, dtype=dtype), shape[1:])
    return StoredRows(np.memmap(file, dtype=dtype, mode="r", shape=shape), shape[1:])
