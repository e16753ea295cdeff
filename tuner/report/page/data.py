"""What the page's script reads: trials, figures and curves, as JSON."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.records import EpochResult, Json, TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.curves import read_curves
from tuner.report.figures.chart import Figure, Pictures
from tuner.report.figures.columns import trial_columns
from tuner.report.figures.palette import tier_order, tier_style
from tuner.report.figures.table import figures_of
from tuner.report.page.table import PageTable, order_of
from tuner.report.words.escape import visible

_MOST_CURVES = 1000
"""Curves of so many of the best trials are in the page, and of the others none."""
_MOST_POINTS = 30_000
"""Epochs in all curves of a page together: beyond, each is thinned."""
_FEWEST_POINTS = 8


def page_data(analysis: Analysis) -> dict[str, Json]:
    """All that the script of a page of its own reads."""
    table, records = PageTable.of(analysis), analysis.study.records
    cells = [table.cells(record, analysis.notes.get(record.number)) for record in records]
    trials = trials_data(points_of(records, analysis), cells=cells)
    return {
        "whole": True,
        "metric": analysis.study.metric,
        **table.head(table.numeric(cells)),
        **order_of(analysis),
        "ties": sorted(analysis.statistics.ties),
        "trials": trials,
        "figures": [figure_data(figure) for figure in figures_of(analysis)],
        "curves": _curves(analysis),
    }


def as_script(data: Mapping[str, Json]) -> str:
    """The data as text that may stand within a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Point:
    """A trial in figures."""

    number: int
    tier: str
    state: str
    values: Mapping[str, float | None]
    """Its places, by the names of the columns."""


def points_of(records: Sequence[TrialRecord], analysis: Analysis) -> list[Point]:
    """Some trials of a study, in the order given."""
    columns = trial_columns(analysis, records)
    names = [visible(name) for name in columns.values]
    rows = zip(*(_numbers(values.tolist()) for values in columns.values.values()), strict=True)
    each = zip(columns.numbers, columns.tiers, columns.states, rows, strict=True)
    return [Point(number, tier, state, dict(zip(names, row, strict=True))) for number, tier, state, row in each]


def trials_data(points: Sequence[Point], *, cells: Sequence[Sequence[str]]) -> dict[str, Json]:
    """Some trials: their places in figures, and their rows of the table."""
    tiers = tier_order([point.tier for point in points])
    place = {tier: number for number, tier in enumerate(tiers)}
    styles = [tier_style(tier) for tier in tiers]
    return {
        "numbers": [point.number for point in points],
        "cells": list(cells),
        "tiers": [
            {"name": visible(tier), "colour": colour, "shape": shape}
            for tier, (colour, shape) in zip(tiers, styles, strict=True)
        ],
        "tier": [place[point.tier] for point in points],
        "state": [point.state for point in points],
        "values": {name: [point.values[name] for point in points] for name in (points[0].values if points else ())},
    }


def figure_data(figure: Figure) -> dict[str, Json]:
    """A figure as the script reads it."""
    return {
        "name": visible(figure.name),
        "section": figure.section,
        "title": visible(figure.title),
        "caption": visible(figure.caption),
        "drawing": _plain(figure.drawing),
    }


def curve_data(curve: Sequence[EpochResult], *, points: int = 10**9) -> dict[str, Json]:
    """A curve of at most about so many epochs, the first and the last among them; numbered if need be."""
    step = max(1, math.ceil(len(curve) / points))
    kept = [e for i, e in enumerate(curve) if i % step == 0 or i == len(curve) - 1]
    epochs = [e.epoch for e in kept]
    found: dict[str, Json] = {
        "dev": _numbers(e.dev_metric for e in kept),
        "train": _numbers(e.train_metric for e in kept),
    }
    found["dev_loss"] = _numbers(e.dev_loss for e in kept)
    found["train_loss"] = _numbers(e.train_loss for e in kept)
    return found if epochs == list(range(1, len(epochs) + 1)) else {"epochs": epochs, **found}


def _curves(analysis: Analysis) -> dict[str, Json]:
    """Curves by trial, as many and as long as the page has room for."""
    order = {number: place for place, number in enumerate(order_of(analysis)["order"])}
    wanted = sorted(analysis.study.records, key=lambda r: order.get(r.number, 0))[:_MOST_CURVES]
    known = analysis.curves
    curves = {**known, **read_curves((r for r in wanted if r.number not in known), paths=analysis.paths)}
    points = max(_FEWEST_POINTS, _MOST_POINTS // max(1, len(curves)))
    return {str(number): curve_data(curve, points=points) for number, curve in curves.items()}


def _plain(value: Any) -> Json:
    """A drawing, or a part of one, in lists and dictionaries."""
    if isinstance(value, Pictures):
        return {"kind": "pictures", "sources": [_png(p) for p in value.pixels], "titles": [*map(_lines, value.titles)]}
    if is_dataclass(value):
        parts = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"kind": type(value).__name__.lower(), **parts}
    match value:
        case str():
            return visible(value)
        case None | bool() | int():
            return value
        case float():
            return _number(value)
        case np.ndarray():
            return _numbers(value.tolist())
        case np.generic():
            return _plain(value.item())
        case Sequence() if value and isinstance(value[0], float) and isinstance(value[-1], float):
            return _numbers(value)
        case _:
            return [_plain(part) for part in value]


def _lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def _numbers(values: Iterable[float | None]) -> list[float | None]:
    return [_number(v) for v in values]


def _number(value: float | None) -> float | None:
    """A number with the six digits that a figure shows at most; None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _png(pixels: NDArray[np.uint8]) -> str:
    """An image as the source of an element: PNG without a filter."""
    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + image).decode()
