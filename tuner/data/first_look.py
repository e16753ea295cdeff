"""A first look at a table, before there is a sweep file: what could be predicted, what to leave out, which metric."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuner.data.column_kinds import holds_dates, with_dates_expanded
from tuner.data.columns import ColumnSurvey
from tuner.data.content import StoredTable, Table
from tuner.data.examples import Origin, TextColumn
from tuner.data.preparation import MOST_CATEGORIES
from tuner.data.sources import delimited, parquet, read_contents
from tuner.data.table import target_values, with_text_names
from tuner.data.targets import Targets, encode_targets
from tuner.data.text import quoted
from tuner.errors import DataError
from tuner.spec.edit.starter import ColumnFound, TableFound
from tuner.spec.model import DataSpec

_WHOLE_BYTES = 100 << 20
"""Of a larger file the first rows are looked at."""
_USUAL_TARGETS = re.compile(
    r"target|label|class|outcome|response|y|survived|churn(ed)?|default(ed)?|price", re.IGNORECASE
)
_IDENTIFIER = re.compile(r"(.*[_ -])?(id|uuid|guid|nr|no|number|index|key|row)|[a-z]+I[dD]", re.IGNORECASE)
_NEARLY_EACH = 0.9
"""A column whose values differ in so many rows names them."""
_MOSTLY_ONE, _RARE = 0.8, 0.05
_LONG_TAIL = 3.0
"""Skewness of numbers of which a few large ones make up most of a squared error."""
_SHOWN = 4


def look_at(source: str, *, root: Path, target: str | None = None) -> TableFound | None:
    """What a table holds; None for a source that is none, or is not there.

    Args:
        source: As a sweep file has it.
        root: Folder of the sweep file.
        target: The column to predict, if the user names it.

    Raises:
        DataError: the file cannot be read, it has no such column, or nothing in it can be predicted.
    """
    path = (root / source).absolute()
    if not path.is_file() or not any(kind.matches(source, path) for kind in (delimited, parquet)):
        return None
    is_part = path.stat().st_size > _WHOLE_BYTES
    content = read_contents(source, DataSpec(source=source, stream=is_part), root=root).train
    assert isinstance(content, Table | StoredTable)
    frame = content.frame if isinstance(content, Table) else next(content.read({}))
    frame = with_text_names(frame, where=path.name)
    found = {name: _looked_at(frame[name]) for name in frame.columns}
    candidates = {name: _as_target(frame, name) for name, (_, is_input) in found.items() if is_input}
    usable = {name: targets for name, targets in candidates.items() if targets is not None}
    if target is not None and target not in usable:
        why = found[target][0] if target in found else "there is no such column"
        raise DataError(f"{path.name}: {quoted(target)} cannot be predicted ({why}); there are {', '.join(usable)}")
    if not usable:
        raise DataError(
            f"{path.name}: no column of it can be predicted; there are {', '.join(map(str, frame.columns))}"
        )
    texts = {name for name in usable if not pd.api.types.is_numeric_dtype(frame[name])}
    ranked = _by_likelihood(list(usable), texts)
    chosen = target or ranked[0]
    metric, why = _metric(usable[chosen])
    return TableFound(
        rows=len(frame),
        is_part=is_part,
        target=ColumnFound(chosen, _as_said(usable[chosen])),
        others=tuple(ColumnFound(name, _as_said(usable[name])) for name in ranked if name != chosen),
        ignored=tuple(
            ColumnFound(name, why) for name, (why, is_input) in found.items() if not is_input and why != _DATE
        ),
        dates=tuple(name for name, (why, _) in found.items() if why == _DATE),
        metric=metric,
        why_metric=why,
    )


_DATE = "dates"


def _looked_at(column: pd.Series[Any]) -> tuple[str, bool]:
    """What a column is, in words, and whether it can be an input as it is."""
    values = column.dropna()
    name, distinct = str(column.name), values.astype(str).nunique()
    if distinct < 2:
        return ("is empty" if not len(values) else "has one value"), False
    origin = Origin((name,), (0,))
    if holds_dates(column):
        try:
            with_dates_expanded(column.to_frame(), [name], origin)
        except DataError:
            return "holds dates that are not written as 2024-12-31", False
        return _DATE, False
    is_whole = column.dtype.kind in "iu"
    if is_whole and distinct == len(column) and ((column.diff().iloc[1:] == 1).all() or _IDENTIFIER.fullmatch(name)):
        return "numbers the rows", False
    survey = ColumnSurvey(name)
    try:
        survey.add(column, in_source=np.ones(len(column), dtype=bool), origin=origin)
        kind = survey.verdict(origin)
    except DataError:
        return "holds what is neither number nor category", False
    if isinstance(kind, TextColumn) and len(kind.values) > MOST_CATEGORIES:
        each = distinct >= _NEARLY_EACH * len(values)
        return (f"names nearly each row ({distinct:,} texts)" if each else f"has {distinct:,} distinct texts"), False
    return "", True


def _as_target(frame: pd.DataFrame, name: str) -> Targets | None:
    known = frame[frame[name].notna()]
    try:
        return encode_targets(
            target_values(known, (name,)), task="auto", names=(name,), class_names=(), origin=Origin((name,), (0,))
        )
    except DataError:
        return None


def _by_likelihood(names: Sequence[str], texts: Collection[str]) -> list[str]:
    """Columns called as targets are; the one of texts, where all others are numbers; the last one; the others."""
    usual = [name for name in reversed(names) if _USUAL_TARGETS.fullmatch(name)]
    lone = [name for name in names if name in texts] if len(texts) == 1 else []
    last_to_first = list(reversed(names))
    of_texts = [name for name in last_to_first if name in texts]
    return list(dict.fromkeys([*usual, *lone, last_to_first[0], *of_texts, *last_to_first]))


def _as_said(targets: Targets) -> str:
    if targets.task == "regression":
        return f"numbers, {targets.values.min():.4g} to {targets.values.max():.4g}"
    return f"{len(targets.class_names)} classes: {', '.join(_shares(targets))}"


def _shares(targets: Targets) -> Iterator[str]:
    counts = np.bincount(targets.values)
    for code in np.argsort(-counts, kind="stable")[:_SHOWN]:
        yield f"{targets.class_names[code]} {100 * counts[code] / counts.sum():.0f} %"
    if len(counts) > _SHOWN:
        yield "..."


def _metric(targets: Targets) -> tuple[str, str]:
    """The metric that suits what is predicted, and why."""
    if targets.task == "regression":
        values = targets.values.ravel()
        deviations = (values - values.mean()) / (values.std() or 1.0)
        if abs(float((deviations**3).mean())) > _LONG_TAIL:
            return "mae", "a few values are far from the rest, and would make up most of an rmse"
        return "rmse", "for numbers; or mae, r2"
    shares = np.bincount(targets.values) / len(targets.values)
    if shares.max() >= _MOSTLY_ONE and len(shares) == 2:
        return "auroc", f"one answer is right in {100 * shares.max():.0f} % of cases, so accuracy says little"
    if shares.max() >= _MOSTLY_ONE or shares.min() < min(_RARE, 0.2 / len(shares)):
        return "balanced_accuracy", "some classes are rare, and accuracy hardly counts them"
    return "accuracy", "no class is rare; or balanced_accuracy, f1, auroc"
