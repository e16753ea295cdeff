"""What a figure shows, as data: the page draws it by d3, a PNG file is drawn by matplotlib (`drawing.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """An axis of a figure; what lies outside its limits is drawn on the edge."""

    label: str = ""
    limits: tuple[float, float]
    scale: Literal["linear", "log", "log2"] = "linear"
    ticks: tuple[tuple[float, str], ...] | None = None
    """Places and labels; None leaves them to what draws."""
    form: Literal["", "integer", "percent"] = ""
    """Of the labels of ticks that are left to what draws."""
    grid: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """Every trial that has both values, coloured by tier; on a page they follow its filters."""

    x: str
    """A name in `Columns.values`."""
    y: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    x: Numbers
    y: Numbers
    colour: str
    shape: Literal["o", "s", "D", "x"] = "o"
    sizes: Numbers | float = 5.0
    """Diameters, in points of print."""
    hollow: bool = False
    alpha: float = 1.0
    label: str = ""
    trials: Sequence[int] = ()
    """Whose points they are, one after the other; empty if they are no trial's."""
    tips: Sequence[str] = ()
    """What is said of each where the pointer rests on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    x: Numbers
    y: Numbers
    colour: str
    width: float = 1.4
    dashed: bool = False
    step: Literal["", "post", "pre"] = ""
    label: str = ""
    trial: int | None = None
    part: str = ""
    """What the line is of that trial: dev or train."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """The area between two lines."""

    x: Numbers
    low: Numbers
    high: Numbers
    colour: str
    label: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Straight lines, each between two points: intervals, marks."""

    x0: Numbers
    y0: Numbers
    x1: Numbers
    y1: Numbers
    colour: str
    width: float = 1.2
    label: str = ""
    trials: Sequence[int] = ()
    tips: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """Horizontal bars, each at a row of the y axis."""

    rows: Numbers
    left: Numbers
    right: Numbers
    colour: str
    alpha: float = 1.0
    height: float = 0.65
    """Of the distance of two rows."""
    label: str = ""
    trials: Sequence[int] = ()
    tips: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """A matrix of shares, 0 to 1, with its first row on top: row r at y = -r, column c at x = c."""

    shares: Sequence[Sequence[float]]
    texts: Sequence[Sequence[str]]
    """Written into each, where there is room; empty texts where there is not."""
    tips: Sequence[Sequence[str]]


Mark: TypeAlias = Trials | Points | Line | Band | Segments | Bars | Cells


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A figure of two axes."""

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    height: float = 2.9
    """In inches, at a width of 4.4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelRow:
    name: str
    column: str
    """A name in `Columns.values`, whose values lie in 0 to 1."""
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """Parallel coordinates: each trial a line through all rows, from the top down."""

    rows: tuple[ParallelRow, ...]
    ranked: Sequence[int]
    """Finished trials, the best first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Images side by side, each with its title."""

    pixels: Sequence[NDArray[np.uint8]]
    """Of shape (height, width), or (height, width, 3)."""
    titles: Sequence[str]


Drawing: TypeAlias = Chart | Parallel | Pictures


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A figure of the report."""

    name: str
    """Of its PNG file, and of its place in the page."""
    section: str
    """The part of the page that it belongs to."""
    title: str
    caption: str
    drawing: Drawing
