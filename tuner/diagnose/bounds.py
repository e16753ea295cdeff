"""Winners that sit on the edge of their range: the search may have been fenced off from better values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.diagnose.importance import Finding, Importance
from tuner.records import Params, ParamValue
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.knowledge import Bounds
from tuner.spec.space import Dimension, Space

_LEAST_NEAR = 3
_NEAR = 0.1
"""Within this share of the range, on its own scale, counts as near the bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundFinding:
    """A hyperparameter whose winners crowd one end of its range."""

    name: str
    side: Literal["low", "high"]
    value: ParamValue
    """Of the best trial."""
    bound: ParamValue
    distance: str
    """From the bound, in the scale's own units: `0.03 decades`, `0.02`, `on it`."""
    near: int
    """How many of the winners lie near this bound."""
    of: int
    suggestion: ParamValue
    """A bound, or a further choice, beyond this one."""
    is_choice: bool
    """Whether the range is a list of choices."""

    @property
    def text(self) -> str:
        where = "lies on" if self.distance == "on it" else f"lies {self.distance} from"
        best = f"{self.name} = {_text(self.value)} of the best trial {where} its {self._end} {_text(self.bound)}"
        return f"{best}; {self.near} of the best {self.of} trials do"

    @property
    def _end(self) -> str:
        return "lower bound" if self.side == "low" else "upper bound"


def winners_on_bounds(winners: Sequence[Params], *, space: Space) -> tuple[BoundFinding, ...]:
    """The dimensions whose best values crowd a bound, the worst first.

    A finding needs the best trial near a bound and at least three of the winners with it. A bound that no value can
    cross, such as a dropout of 0, is none.

    Args:
        winners: Parameters of the best trials, best first.
        space: The space that they were searched in.
    """
    found = [
        (finding, closeness)
        for dimension in space
        if dimension.ordered and not dimension.fixed
        for side in ("low", "high")
        if (finding := _finding(winners, dimension, side)) is not None
        for closeness in [finding.near / finding.of]
    ]
    return tuple(finding for finding, _ in sorted(found, key=lambda pair: -pair[1]))


def bounds_worth_moving(
    bounds: Sequence[BoundFinding], *, importances: Sequence[Importance], num_finished: int, num_ties: int
) -> list[BoundFinding]:
    """The bounds that the winners crowd by more than chance, and whose hyperparameters are not known to be idle.

    Args:
        bounds: As found.
        importances: Of the hyperparameters.
        num_finished: Trials that are ranked.
        num_ties: Trials that cannot be told from the best: where these are most, the order of the winners is chance.
    """
    if 2 * num_ties > num_finished:
        return []
    idle = {i.name for i in importances if i.finding is Finding.DOES_NOT_MATTER}
    return [bound for bound in bounds if bound.name not in idle]


def _finding(winners: Sequence[Params], dimension: Dimension, side: Literal["low", "high"]) -> BoundFinding | None:
    values = [w[dimension.name] for w in winners if dimension.name in w]
    if not values or values[0] is not winners[0].get(dimension.name):
        return None
    near = sum(_is_near(dimension, v, side) for v in values)
    if not _is_near(dimension, values[0], side) or near < _LEAST_NEAR:
        return None
    # Half of all random points lie in the outer choices of four: more than half of the winners must.
    if dimension.kind != "float" and near <= len(values) / 2:
        return None
    bound = _bound(dimension, side)
    suggestion = _further(dimension, side)
    if suggestion is None:
        return None
    return BoundFinding(
        name=dimension.name,
        side=side,
        value=values[0],
        bound=bound,
        distance=_distance(dimension, values[0], bound),
        near=near,
        of=len(values),
        suggestion=suggestion,
        is_choice=dimension.kind == "categorical",
    )


def _is_near(dimension: Dimension, value: ParamValue, side: Literal["low", "high"]) -> bool:
    if dimension.kind == "categorical":
        return value == _bound(dimension, side)
    unit = dimension.to_unit(value)
    if dimension.kind == "int" and value == _bound(dimension, side):
        return True
    return unit <= _NEAR if side == "low" else unit >= 1 - _NEAR


def _bound(dimension: Dimension, side: Literal["low", "high"]) -> ParamValue:
    if dimension.kind == "categorical":
        return dimension.choices[0 if side == "low" else -1]
    value = dimension.low if side == "low" else dimension.high
    return int(value) if dimension.kind == "int" else value


def _distance(dimension: Dimension, value: ParamValue, bound: ParamValue) -> str:
    if value == bound or isinstance(value, str) or isinstance(bound, str):
        return "on it"
    if dimension.kind != "categorical" and not dimension.low <= value <= dimension.high:
        return "beyond it"  # of a study that was altered
    match dimension.scale:
        case "log":
            return f"{abs(math.log10(value / bound)):.2g} decades"
        case "log1m":
            return f"{abs(math.log10((1 - value) / (1 - bound))):.2g} decades of 1 - {dimension.name}"
        case _:
            return f"{abs(value - bound):.2g}"


def _further(dimension: Dimension, side: Literal["low", "high"]) -> ParamValue | None:
    """A value further out: half the range on its own scale, rounded; None if none beyond the bound makes sense."""
    low, high = float(_bound(dimension, "low")), float(_bound(dimension, "high"))
    whole = dimension.kind == "int" or (
        dimension.kind != "float" and all(isinstance(c, int) for c in dimension.choices)
    )
    if dimension.kind == "categorical":
        value = low / 2 if side == "low" else high * 2
    else:
        value = _stretched(dimension, low, high, side)
    if whole:
        value = float(math.floor(value) if side == "low" else math.ceil(value))
    limits = _limits(dimension)
    if not limits.hold(value):
        value = limits.low if side == "low" else limits.high
    if not limits.hold(value) or (value >= low if side == "low" else value <= high):
        return None
    return int(value) if whole else value


def _stretched(dimension: Dimension, low: float, high: float, side: Literal["low", "high"]) -> float:
    match dimension.scale:
        case "log":
            factor = 10.0 if high / low >= 100 else 2.0
            return low / factor if side == "low" else high * factor
        case "log1m":
            # A decade nearer to 1: 0.99 -> 0.999.
            return 1 - (1 - high) / 10 if side == "high" else max(0.0, 1 - (1 - low) * 2)
        case _:
            step = (high - low) / 2
            return _rounded(low - step if side == "low" else high + step)


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _limits(dimension: Dimension) -> Bounds:
    known = HYPERPARAMETERS.get(dimension.name)
    if known is not None and known.bounds is not None:
        return known.bounds
    # Of an unknown hyperparameter, a sign that the range keeps is taken to be meant.
    return Bounds(low=0.0 if float(_bound(dimension, "low")) >= 0 else -math.inf)


def _text(value: ParamValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
