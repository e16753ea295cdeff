"""From coarse to fine: the part of a space around its winners."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from tuner.records import Params, ParamValue
from tuner.spec.space import Dimension, Refinement, Space, written

_MARGIN = 0.1
"""Kept on both sides of the winners, as a share of the range on its own scale."""
_LEAST_WIDTH = 0.3
"""A zoomed range is at least so large a part of the old one: winners may agree by luck."""
_WORTHWHILE = 0.85
"""A range that would keep more than this of its width is left alone."""
_ENOUGH_WINNERS = 3
"""From fewer, nothing is concluded."""

_ENOUGH_TRIED = 3
"""Trials at another value than most have: from fewer, that the winners are where most are says nothing."""

Side = Literal["low", "high"]


def tried(space: Space, configurations: Iterable[Params]) -> frozenset[str]:
    """The hyperparameters that enough of these have at other values than most do."""
    counts: dict[str, Counter[ParamValue]] = {}
    for params in configurations:
        for name, value in params.items():
            counts.setdefault(name, Counter())[value] += 1
    others = {name: found.total() - found.most_common(1)[0][1] for name, found in counts.items()}
    return frozenset(d.name for d in space if not d.fixed and others.get(d.name, 0) >= _ENOUGH_TRIED)


def zoom(
    space: Space,
    winners: Sequence[Params],
    *,
    moved: Collection[str] | None = None,
    beyond: Mapping[tuple[str, Side], ParamValue] | None = None,
    kept: Collection[tuple[str, Side]] = (),
) -> tuple[Refinement, ...]:
    """The dimensions that change for a finer search, each with its reason.

    A range shrinks to where the winners lie, with a margin; where they crowd a bound, that side moves out instead.
    Its default becomes the best trial's value.

    Args:
        space: What was searched.
        winners: Parameters of the best trials, best first.
        moved: The hyperparameters that were `tried`; of others, winners say nothing. None for all.
        beyond: A further bound, or choice, for each side (name, side) of a range that winners crowd.
        kept: Sides that do not move in, whatever the winners say.
    """
    found = (_change(d, winners, beyond or {}, kept) for d in space if _is_judged(d, moved))
    changes = {change.dimension.name: change for change in found if change is not None}
    for dimension in space:  # those that others depend on come first
        orphaned = _orphaned(dimension, space, changes)
        if orphaned is not None:
            changes[dimension.name] = orphaned
    return tuple(changes[name] for name in space.names if name in changes)


def zoomed_space(
    space: Space, winners: Sequence[Params], *, moved: Collection[str] | None = None
) -> tuple[Space, tuple[Refinement, ...]]:
    """The space after `zoom`, and what changed; a dimension that keeps its range gets the best value as its default."""
    changes = zoom(space, winners, moved=moved)
    changed = {change.dimension.name: change.dimension for change in changes}
    dropped = {change.dimension.name for change in changes if change.kind == "dropped"}
    best = winners[0] if winners else {}
    kept = (replace(d, default=best.get(d.name, d.default)) for d in space if d.name not in dropped)
    return Space(tuple(changed.get(d.name, d) for d in kept)), changes


def _is_judged(dimension: Dimension, moved: Collection[str] | None) -> bool:
    return not dimension.fixed and (moved is None or dimension.name in moved)


def _orphaned(dimension: Dimension, space: Space, changes: Mapping[str, Refinement]) -> Refinement | None:
    for name, allowed in dimension.when.items():
        change = changes.get(name)
        parent = change.dimension if change else space[name]
        if (change and change.kind == "dropped") or not any(parent.contains(value) for value in allowed):
            wanted = " or ".join(written(value) for value in allowed)
            return Refinement(dimension=dimension, kind="dropped", reason=f"{name} is not to be {wanted} any more")
    return None


def _change(
    dimension: Dimension,
    winners: Sequence[Params],
    beyond: Mapping[tuple[str, Side], ParamValue],
    kept: Collection[tuple[str, Side]],
) -> Refinement | None:
    values = [params[dimension.name] for params in winners if dimension.name in params]
    if len(values) < _ENOUGH_WINNERS:
        return None
    further = _further(dimension, beyond)
    stays = frozenset(side for name, side in kept if name == dimension.name)
    narrowed = _choices if dimension.kind == "categorical" else _range
    changed = narrowed(dimension, values, further, stays)
    if changed == dimension:
        return None
    changed = replace(changed, default=values[0])
    if further:
        ends = " and ".join("lower" if side == "low" else "upper" for side in further)
        reason = f"the best {len(values)} trials crowd the {ends} bound of {dimension.values_text}"
        return Refinement(dimension=changed, kind="widened", reason=reason)
    seen = _span(dimension, values)
    reason = f"the best {len(values)} trials lie at {seen}, of {dimension.values_text}"
    return Refinement(dimension=changed, kind="zoomed", reason=reason)


def _further(dimension: Dimension, beyond: Mapping[tuple[str, Side], ParamValue]) -> dict[Side, ParamValue]:
    """The bounds beyond the old ones; on the grid, which leaves none where that is less than a step away."""
    sides: tuple[Side, ...] = ("low", "high")
    further = {side: beyond[dimension.name, side] for side in sides if (dimension.name, side) in beyond}
    if dimension.step is None or dimension.kind == "categorical":
        return further
    steps = {side: math.trunc((float(v) - dimension.low) / dimension.step + 1e-9) for side, v in further.items()}
    bounds = {side: float(f"{dimension.low + n * dimension.step:.12g}") for side, n in steps.items()}
    return {side: bound for side, bound in bounds.items() if not dimension.low <= bound <= dimension.high}


def _range(
    dimension: Dimension, values: Sequence[ParamValue], further: Mapping[Side, ParamValue], stays: Collection[Side]
) -> Dimension:
    units = [dimension.to_unit(value) for value in values]
    low, high = min(units) - _MARGIN, max(units) + _MARGIN
    missing = _LEAST_WIDTH - (high - low)
    if missing > 0:
        low, high = low - missing / 2, high + missing / 2
    low = 0.0 if "low" in stays else max(0.0, low)
    high = 1.0 if "high" in stays else min(1.0, high)
    if high - low > _WORTHWHILE:
        low, high = 0.0, 1.0
    ends = {
        "low": dimension.low if low == 0.0 else _rounded(dimension, dimension.from_unit(low), down=True),
        "high": dimension.high if high == 1.0 else _rounded(dimension, dimension.from_unit(high), down=False),
    }
    ends |= {side: float(value) for side, value in further.items()}
    return replace(dimension, low=ends["low"], high=ends["high"])


def _choices(
    dimension: Dimension, values: Sequence[ParamValue], further: Mapping[Side, ParamValue], stays: Collection[Side]
) -> Dimension:
    if dimension.ordered:
        places = [dimension.choices.index(value) for value in values]
        first = 0 if "low" in stays else max(0, min(places) - 1)
        last = len(dimension.choices) if "high" in stays else max(places) + 2
        kept = dimension.choices[first:last]
    else:
        kept = tuple(choice for choice in dimension.choices if choice in values)
    kept = (*((further["low"],) if "low" in further else ()), *kept, *((further["high"],) if "high" in further else ()))
    return replace(dimension, choices=kept)


def _rounded(dimension: Dimension, value: ParamValue, *, down: bool) -> float:
    """A bound in two digits, rounded outwards but never beyond the old bound; on the grid where there is one."""
    number = float(value)
    if dimension.kind == "int" or dimension.step is not None:
        return number
    if dimension.scale == "log1m":
        return _clip(dimension, 1.0 - _two_digits(1.0 - number, down=not down))
    return _clip(dimension, _two_digits(number, down=down))


def _clip(dimension: Dimension, number: float) -> float:
    # Rounded once more, since 1 - 0.03 is 0.97 only nearly.
    return min(dimension.high, max(dimension.low, float(f"{number:.12g}")))


def _two_digits(number: float, *, down: bool) -> float:
    if number == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    return (math.floor if down else math.ceil)(round(number / unit, 6)) * unit


def _span(dimension: Dimension, values: Sequence[ParamValue]) -> str:
    if dimension.kind == "categorical" and not dimension.ordered:
        return written(*(choice for choice in dimension.choices if choice in values))
    numbers = sorted(float(value) for value in values)
    return f"{numbers[0]:.3g} to {numbers[-1]:.3g}" if numbers[0] < numbers[-1] else f"{numbers[0]:.3g}"
