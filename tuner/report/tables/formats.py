"""A leaderboard in each format that `tuner report --format` offers; `FORMATS` is the table of them.

The HTML report, which is more than a table, is `tuner.report.write.html_report`.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from tuner.imports import require
from tuner.records import Json
from tuner.report.certainty.choice import final_choice
from tuner.report.words.escape import markdown_cell, spreadsheet_cell, visible
from tuner.report.words.numbers import metric_text, value_text
from tuner.store.standing import state_of
from tuner.store.study_data import StudyData

if TYPE_CHECKING:  # takes half a second to load, which a table that is printed once more does not need
    import pandas as pd

Formatter: TypeAlias = "Callable[[pd.DataFrame, StudyData], str | bytes]"


def to_csv(frame: pd.DataFrame, study: StudyData) -> str:
    """Full precision, empty cells for what is missing."""
    return frame.to_csv(index=False, lineterminator="\n")


def to_excel_csv(frame: pd.DataFrame, study: StudyData) -> str:
    """CSV whose text cells a spreadsheet takes for text, never for a formula."""
    safe = frame.map(lambda cell: spreadsheet_cell(cell) if isinstance(cell, str) else cell)
    return to_csv(safe.rename(columns=spreadsheet_cell), study)


def to_tsv(frame: pd.DataFrame, study: StudyData) -> str:
    """What `--format table` gives in a pipe: the cells of the table, separated by tabs."""
    return tab_separated(cells_of(frame), metric=study.metric)


def tab_separated(cells: Mapping[str, Sequence[object]], *, metric: str) -> str:
    """The same of the cells of each column."""
    rows = [[visible(name) for name in cells], *_texts(cells, metric=metric)]
    return "".join("\t".join(row) + "\n" for row in rows)


def to_json(
    frame: pd.DataFrame, study: StudyData, *, lines: Sequence[str] = (), more: Mapping[str, Json] | None = None
) -> str:
    """An object with the study's name and objective, `best`, and `trials`: one object for each row; null for missing.

    With `lines` it has a `summary` too, and what is given as `more`.
    """
    choice, (state, reason) = final_choice(study), state_of(study)
    cells = {name: [_plain(cell) for cell in column] for name, column in cells_of(frame).items()}
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    document = {
        "study": study.name,
        "metric": study.metric,
        "direction": study.direction.value,
        "state": state,
        "reason": reason,
        "best": None if choice is None else {"trial": choice.record.number, "why": choice.why},
        **({"summary": list(lines)} if lines else {}),
        **(more or {}),
        "trials": rows,
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(frame: pd.DataFrame, study: StudyData, *, lines: Sequence[str] = ()) -> str:
    """A table for a README or a pull request, rounded; `lines` go above it, under the study's name."""
    above = f"# {markdown_cell(study.name)}\n\n" + "".join(f"- {markdown_cell(line)}\n" for line in lines) + "\n"
    header = [markdown_cell(str(c)) for c in frame.columns]
    rule = ["---:" if _numeric(frame[c]) else "---" for c in frame.columns]
    rows = [[markdown_cell(cell) for cell in row] for row in _texts(cells_of(frame), metric=study.metric)]
    return (above if lines else "") + "".join(f"| {' | '.join(row)} |\n" for row in [header, rule, *rows])


def to_parquet(frame: pd.DataFrame, study: StudyData) -> bytes:
    """Full precision; columns of mixed types become text.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    require("pyarrow", extra="parquet")
    plain = frame.copy()
    for name in plain.columns:
        if plain[name].dtype == object:
            plain[name] = plain[name].map(lambda cell: cell if cell is None else str(cell))
    buffer = io.BytesIO()
    plain.to_parquet(buffer, index=False)
    return buffer.getvalue()


FORMATS: dict[str, Formatter] = {
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
    "parquet": to_parquet,
}


def cell_text(cell: object, *, column: str, metric: str) -> str:
    """One cell, rounded for people."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and (column.endswith(f"_{metric}") or column in ("gap", "ci_low", "ci_high")):
        return metric_text(cell, metric=metric)
    if column == "seconds" and isinstance(cell, float):
        return f"{cell:.1f}"
    return visible(value_text(cell))


def cells_of(frame: pd.DataFrame) -> dict[str, list[object]]:
    """The cells of each column, None where there is none."""
    return {str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame.columns}


def _texts(cells: Mapping[str, Sequence[object]], *, metric: str) -> list[list[str]]:
    texts = [[cell_text(c, column=name, metric=metric) for c in column] for name, column in cells.items()]
    return [list(row) for row in zip(*texts, strict=True)]


def _numeric(column: pd.Series[Any]) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column)


def _plain(cell: object) -> object:
    if isinstance(cell, float) and not math.isfinite(cell):
        return None if math.isnan(cell) else str(cell)
    return cell
