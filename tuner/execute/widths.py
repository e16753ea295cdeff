"""How wide cohorts may be on an accelerator, and how far to ask ahead, from what its workers have found."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import fmean

SHARE = 0.8
"""Of the memory that there is, for what is estimated; allocators leave gaps, and evaluation takes its part."""
FIRST_AHEAD = 16
"""Jobs that are asked for before any cohort has shown how many of them share a shape."""
COHORTS_AHEAD = 4
"""Later on so many cohorts are: where shapes are shared they fill, and room grows with them; where each trial has one
of its own, asking further ahead would only let the search decide before it has seen results."""
_REMEMBERED_COHORTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What trials of one kind take of a GPU's memory, as was measured."""

    fixed_bytes: float = 0.0
    per_trial_bytes: float
    room_bytes: float
    """What they could have."""

    @property
    def most(self) -> int:
        """How many fit."""
        return max(1, int((SHARE * self.room_bytes - self.fixed_bytes) / max(self.per_trial_bytes, 1.0)))


class Widths:
    """What was found out, by fusion key, and of memory by shape."""

    def __init__(self, *, all_fused: bool, room_bytes: float | None) -> None:
        """Begin.

        Args:
            all_fused: Whether it is known beforehand that trials can be fused.
            room_bytes: Memory for trials; None where it is not known.
        """
        self._all_fused = all_fused
        self._room_bytes = room_bytes
        self._fused: dict[Hashable, bool] = {}
        self._footprints: dict[Hashable, Footprint] = {}
        self._ratio = 1.0
        """The most that was measured of a trial, by what was estimated of it."""
        self._widths: deque[int] = deque(maxlen=_REMEMBERED_COHORTS)

    def note_way(self, key: Hashable, *, fused: bool) -> None:
        """A trial has begun, in a stack or alone."""
        self._fused[key] = self._fused.get(key, False) or fused

    def note_cohort(self, width: int) -> None:
        """A cohort is in training, so wide."""
        self._widths.append(width)

    def note_footprint(self, shape: Hashable, found: Footprint, *, estimated_bytes: float) -> None:
        """A worker has measured trials of this shape; by the rest, those of others are estimated."""
        ratios = [] if not self._footprints else [self._ratio]
        self._ratio = max([*ratios, found.per_trial_bytes / max(estimated_bytes, 1.0)])
        self._footprints[shape] = found
        self._room_bytes = found.room_bytes

    def most(self, key: Hashable, shape: Hashable, *, estimated_bytes: float) -> int | None:
        """How many trials of a key, and of a shape, may train together; None where nothing limits them."""
        if self._fused.get(key) is False:
            return 1
        if shape in self._footprints:
            return self._footprints[shape].most
        if self._room_bytes is None:
            return None
        return max(1, int(SHARE * self._room_bytes / max(self._ratio * estimated_bytes, 1.0)))

    def ahead(self, *, first: int, least: int) -> int:
        """How many jobs a worker should have before it.

        Args:
            first: Where it is not known whether trials can be fused.
            least: Where they cannot.
        """
        if not self._all_fused and not self._fused:
            return first
        if self._fused and not any(self._fused.values()):
            return least
        return max(first, round(COHORTS_AHEAD * fmean(self._widths))) if self._widths else FIRST_AHEAD
