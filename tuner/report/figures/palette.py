"""The colours, markers and names of all figures, told apart without colour, readable on light and dark.

The palette is Okabe and Ito's, which colour-blind readers can tell apart; each tier also has its own marker.
"""

from __future__ import annotations

from collections.abc import Iterable

INK = "#010203"
"""Text and axes; on a page it becomes the colour of the page's own text."""
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
GREY = "#8A8F98"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY)

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


def tier_style(tier: str) -> tuple[str, str]:
    """Colour and marker of a part of the search."""
    return _TIERS.get(tier, _OTHER_TIER)


def tier_order(tiers: Iterable[str]) -> list[str]:
    """The parts of the search, in the order in which it goes through them."""
    known = list(_TIERS)
    return sorted(set(tiers), key=lambda t: (known.index(t) if t in known else len(known), t))


def short(text: str, length: int = 22) -> str:
    """The text, cut to a length that a label can have."""
    flat = "".join(c if c.isprintable() else "?" for c in text)
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"
