"""One look for all figures: small enough for a phone, readable on light and dark, told apart without colour.

The palette is Okabe and Ito's, which colour-blind readers can tell apart; each tier also has its own marker.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#010203"
"""Text and axes; in an SVG it becomes the colour of the page's own text."""
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#8A8F98"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY)

_MARK = "tuner"
"""In the PNG files of ours, as the software that wrote them."""
_HEAD_BYTES = 4096
"""The mark is in the first so many bytes of a file."""

_WIDTH_INCHES = 4.4
"""Drawn at this width, text has a readable size when the figure fills a page of 400 pixels."""

_PAD_INCHES = 0.04
"""Around a figure."""

_TIERS = {
    "default": (GREY, "D"),
    "start": (GREY, "P"),
    "portfolio": (GREY, "*"),
    "tier 1": (BLUE, "o"),
    "tier 2": (ORANGE, "s"),
    "tier 3": (GREEN, "^"),
    "regularisation": (PURPLE, "v"),
    "all": (SKY, "o"),
}
_OTHER_TIER = (RED, "X")

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


def tier_style(tier: str) -> tuple[str, str]:
    """Colour and marker of a part of the search."""
    return _TIERS.get(tier, _OTHER_TIER)


def tier_order(tiers: Iterable[str]) -> list[str]:
    """The parts of the search, in the order in which it goes through them."""
    known = list(_TIERS)
    return sorted(set(tiers), key=lambda t: (known.index(t) if t in known else len(known), t))


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


def short(text: str, length: int = 22) -> str:
    """The text, cut to a length that a label can have."""
    flat = "".join(c if c.isprintable() else "?" for c in text)
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


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
