"""The search space: dimensions with scales, tiers and conditions, as plain frozen values.

Strategies see the space through the *unit* coordinates of its dimensions: a number in [0, 1] on the dimension's
own scale, so that momentum is searched on log(1 - beta) whichever strategy searches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tuner.records import Params, ParamValue

REGULARISATION_TIER = 4
"""The tier of weight decay, L1 and dropout: opened when the dev set says variance is the problem."""

ARCHITECTURE_TIER = 5
"""The tier of the choice among models, and of what only others than the default have: opened when neither larger
networks against bias nor regularisation against variance has been enough."""

Kind = Literal["float", "int", "categorical"]
Scale = Literal["linear", "log", "log1m"]
"""`log1m` is log(1 - x), for momenta: as many points between 0.9 and 0.99 as between 0.99 and 0.999."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One hyperparameter to search."""

    name: str
    kind: Kind
    tier: int
    """1 to 3, `REGULARISATION_TIER` or `ARCHITECTURE_TIER`."""
    default: ParamValue
    """The value while its tier is not yet explored; a member of the range or of the choices."""
    low: float = 0.0
    high: float = 0.0
    choices: tuple[ParamValue, ...] = ()
    """For kind `categorical`."""
    scale: Scale = "linear"
    step: float | None = None
    """Grid of values: low, low + step, ...; None for a continuum (integers: 1)."""
    when: Mapping[str, tuple[ParamValue, ...]] = field(default_factory=dict)
    """The dimension exists only where each named parameter has one of these values."""

    @property
    def ordered(self) -> bool:
        """Whether the choices are numbers in ascending order, so that neighbours are alike (batch sizes)."""
        return self.kind != "categorical" or (
            all(isinstance(c, int | float) and not isinstance(c, bool) for c in self.choices)
            and list(self.choices) == sorted(self.choices, key=float)
        )

    @property
    def num_values(self) -> int | None:
        """How many values there are to choose from; None for a continuum."""
        if self.kind == "categorical":
            return len(self.choices)
        if self.low == self.high:
            return 1
        # The tolerance lets 0.3 be the third step of 0.1.
        return None if self._grid is None else math.floor((self.high - self.low) / self._grid + 1e-9) + 1

    @property
    def fixed(self) -> bool:
        """Whether there is only one value to choose."""
        return self.num_values == 1

    @property
    def values_text(self) -> str:
        """The values to choose from, in a few characters, as a sweep file has them."""
        return written(*self.choices) if self.kind == "categorical" else f"{self.low:.10g} to {self.high:.10g}"

    def to_unit(self, value: ParamValue) -> float:
        """The place of a value in [0, 1]; a choice lies in the middle of its share of the interval.

        Raises:
            ValueError: the value is none of the choices. Numbers outside the range are clipped.
        """
        if self.kind == "categorical":
            return (self.choices.index(value) + 0.5) / len(self.choices)
        if self.fixed:
            return 0.5
        low, high = self._edges()
        unit = (self._warp(min(self.high, max(self.low, float(value)))) - low) / (high - low)
        return min(1.0, max(0.0, unit))

    def units(self, values: Iterable[ParamValue | None]) -> list[float]:
        """The places of many values, as `to_unit` has them; NaN of one that is missing, or none of the choices."""
        if self.kind == "categorical":
            at = {choice: self.to_unit(choice) for choice in reversed(self.choices)}
            return [math.nan if v is None else at.get(v, math.nan) for v in values]
        if self.fixed:
            return [math.nan if v is None else 0.5 for v in values]
        low, high = self._edges()
        return [
            min(1.0, max(0.0, (self._warp(min(self.high, max(self.low, float(v)))) - low) / (high - low)))
            if isinstance(v, int | float)
            else math.nan
            for v in values
        ]

    def from_unit(self, unit: float) -> ParamValue:
        """The value at a place in [0, 1]; the inverse of `to_unit` up to rounding to the grid."""
        unit = min(1.0, max(0.0, unit))
        if self.kind == "categorical":
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        if self.fixed:
            return int(self.low) if self.kind == "int" else self.low
        low, high = self._edges()
        value = self._unwarp(low + unit * (high - low))
        if self._grid is not None:
            return self.value_at(round((value - self.low) / self._grid))
        return min(self.high, max(self.low, value))

    def value_at(self, index: int) -> ParamValue:
        """One of the `num_values` values, counted from 0 in ascending order; an index beyond the ends is clipped."""
        assert self.num_values is not None
        index = min(self.num_values - 1, max(0, index))
        if self.kind == "categorical":
            return self.choices[index]
        value = self.low + index * (self._grid or 0.0)
        if self.kind == "int":
            return int(value)
        # Twelve digits: 3 * 0.1 is written 0.3, not 0.30000000000000004.
        return min(self.high, max(self.low, float(f"{value:.12g}")))

    def contains(self, value: ParamValue) -> bool:
        """Whether the value is one that a search of this dimension may propose."""
        if self.kind == "categorical":
            return any(value == c and type(value) is type(c) for c in self.choices)
        if isinstance(value, bool | str):
            return False
        is_whole = self.kind == "float" or float(value).is_integer()
        return self.low <= value <= self.high and is_whole and self._is_on_grid(float(value))

    def _is_on_grid(self, value: float) -> bool:
        if self._grid is None or self.low == self.high:
            return True
        steps = (value - self.low) / self._grid
        rounded = 5e-12 * abs(value) / self._grid  # to twelve digits, as `value_at` does
        return abs(steps - round(steps)) <= 1e-6 * max(1.0, abs(steps)) + rounded

    @property
    def _grid(self) -> float | None:
        return (self.step or 1) if self.kind == "int" else self.step

    def _edges(self) -> tuple[float, float]:
        """The ends of [0, 1], warped; the outer values of a grid own half a step beyond them, as the others do."""
        if self._grid is None:
            return self._warp(self.low), self._warp(self.high)
        assert self.num_values is not None
        last = self.low + (self.num_values - 1) * self._grid
        low, high = self.low - self._grid / 2, last + self._grid / 2
        match self.scale:
            case "log":
                low = max(low, self.low / 2)
            case "log1m":
                high = min(high, (1.0 + last) / 2)
        return self._warp(low), self._warp(high)

    def _warp(self, value: float) -> float:
        match self.scale:
            case "log":
                return math.log(value)
            case "log1m":
                return -math.log(1.0 - value)
            case _:
                return value

    def _unwarp(self, value: float) -> float:
        match self.scale:
            case "log":
                return math.exp(value)
            case "log1m":
                return 1.0 - math.exp(-value)
            case _:
                return value


@dataclass(frozen=True, slots=True)
class Space:
    """The dimensions of a search, in tier order; a parameter that others depend on comes before them."""

    dimensions: tuple[Dimension, ...]

    def __iter__(self) -> Iterator[Dimension]:
        return iter(self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    def __getitem__(self, name: str) -> Dimension:
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.dimensions)

    @property
    def tiers(self) -> tuple[int, ...]:
        """The tiers that have a dimension, ascending."""
        return tuple(sorted({d.tier for d in self.dimensions}))

    def in_tier(self, tier: int) -> tuple[Dimension, ...]:
        return tuple(d for d in self.dimensions if d.tier == tier)

    def active(self, params: Params) -> tuple[Dimension, ...]:
        """The dimensions whose conditions hold under these parameters."""
        return tuple(d for d in self.dimensions if all(params.get(name) in values for name, values in d.when.items()))

    def complete(self, params: Params) -> dict[str, ParamValue]:
        """These parameters, with defaults for those missing, without those whose condition does not hold."""
        result: dict[str, ParamValue] = {}
        for d in self.dimensions:
            if all(result.get(name) in values for name, values in d.when.items()):
                result[d.name] = params.get(d.name, d.default)
        return result

    def default(self) -> dict[str, ParamValue]:
        """The default configuration."""
        return self.complete({})

    def moved(self, configurations: Iterable[Params]) -> frozenset[str]:
        """The hyperparameters that some configurations have at several values."""
        values: dict[str, set[ParamValue]] = {}
        for params in configurations:
            for name, value in params.items():
                values.setdefault(name, set()).add(value)
        return frozenset(d.name for d in self if not d.fixed and len(values.get(d.name, ())) > 1)

    def contains(self, params: Params) -> bool:
        """Whether a search of this space could have proposed these parameters."""
        names = {d.name for d in self.active(params)}
        return names == set(params) and all(self[name].contains(value) for name, value in params.items())

    def from_units(self, units: Sequence[float]) -> dict[str, ParamValue]:
        """The configuration at a point of the unit cube: one coordinate for each dimension, in order."""
        values = {d.name: d.from_unit(u) for d, u in zip(self.dimensions, units, strict=True)}
        return self.complete(values)

    def to_units(self, params: Params) -> list[float]:
        """The point of the unit cube of a configuration; an inactive dimension lies at its default."""
        return [d.to_unit(params.get(d.name, d.default)) for d in self.dimensions]


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """What becomes of one dimension in a finer search, and why."""

    dimension: Dimension
    """As it shall be; as it was, if it is dropped."""
    kind: Literal["zoomed", "widened", "dropped"]
    """`dropped`: what its condition asks for is searched no more."""
    reason: str

    @property
    def text(self) -> str:
        """The change and its reason, on one line and without a semicolon."""
        what = "dropped" if self.kind == "dropped" else f"{self.kind} to {self.dimension.values_text}"
        return f"{what}: {self.reason}"


def written(*values: ParamValue) -> str:
    """Values as a sweep file has them, with commas between, on one line that may stand in a comment."""
    texts = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
    return ", ".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) for text in texts)


def tier_label(tier: int) -> str:
    """What a tier is called."""
    return {REGULARISATION_TIER: "regularisation", ARCHITECTURE_TIER: "architecture"}.get(tier, f"tier {tier}")
