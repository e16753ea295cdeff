"""One look for what matplotlib draws: small enough for a phone, readable on light and dark."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tuner.report.figures.palette import GREY, INK

_MARK = "tuner"
"""In the PNG files of ours, as the software that wrote them."""
_HEAD_BYTES = 4096
"""The mark is in the first so many bytes of a file."""

_WIDTH_INCHES = 4.4
"""Drawn at this width, text has a readable size when the figure fills a page of 400 pixels."""

_PAD_INCHES = 0.04
"""Around a figure."""

_STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "xtick.bottom": False,
    "ytick.left": False,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tuner",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "path.simplify": True,
    # A name with a dollar sign is a name, not mathematics.
    "text.parse_math": False,
}


def styled() -> AbstractContextManager[None]:
    """While it lasts, matplotlib draws in this look."""
    settings: Any = _STYLE
    return mpl.rc_context(settings)


def new_figure(*, height_inches: float = 2.9) -> Figure:
    """An empty figure that no global state knows of."""
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches))
    FigureCanvasAgg(figure)
    return figure


def lay_out(figure: Figure) -> None:
    """Find the place of every part once, so that saving in two formats need not do it twice."""
    axes = figure.axes[0]
    if len(figure.axes) > 1 or axes.get_aspect() != "auto":
        ConstrainedLayoutEngine().execute(figure)
        return
    # Of a single one, whose texts keep their sizes, its margins say all: half the time of measuring it twice.
    assert isinstance(figure.canvas, FigureCanvasAgg)
    outer, inner, whole = axes.get_tightbbox(figure.canvas.get_renderer()), axes.bbox, figure.bbox  # type: ignore[no-untyped-call]
    assert outer is not None
    pad = _PAD_INCHES * figure.dpi
    figure.subplots_adjust(
        left=(inner.x0 - outer.x0 + pad) / whole.width,
        right=1 - (outer.x1 - inner.x1 + pad) / whole.width,
        bottom=(inner.y0 - outer.y0 + pad) / whole.height,
        top=1 - (outer.y1 - inner.y1 + pad) / whole.height,
    )


def to_svg(figure: Figure, *, prefix: str) -> str:
    """The figure as an SVG element to put into a page: scaled by its width, in the page's text colour.

    Args:
        figure: What to draw.
        prefix: Makes the identifiers of its parts differ from those of other figures in the page.
    """
    with styled():
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'id="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    return svg.replace(INK, "currentColor")


def is_ours(png: Path) -> bool:
    """Whether a PNG file was written by `to_png`."""
    try:
        with png.open("rb") as file:
            return f"tEXtSoftware\0{_MARK}".encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG on white, with our mark in it: see `is_ours`."""
    with styled():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=140, facecolor="white", metadata={"Software": _MARK})
    return buffer.getvalue()
