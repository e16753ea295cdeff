"""From our dimensions to Optuna's distributions, in natural units: momentum is stored as beta itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from tuner.records import Params, ParamValue
from tuner.spec.space import Dimension, Space


class StoredSpace:
    """How the parameters of a search space are written in Optuna's terms.

    A value that lies outside its dimension (a start configuration, an earlier and wider space) is stored under a
    distribution that includes it; a parameter that is no dimension at all is a category of its own.
    """

    def __init__(self, space: Space) -> None:
        self._dimensions: Mapping[str, Dimension] = {d.name: d for d in space}

    def plain(self, params: Params) -> dict[str, ParamValue]:
        """The parameters with the types in which a database gives them back: 1 becomes 1.0 in a float dimension."""
        return {name: self._plain(name, value) for name, value in params.items()}

    def distribution(self, name: str, value: ParamValue) -> BaseDistribution:
        """The distribution to store a value of a parameter under."""
        dimension = self._dimensions.get(name)
        if dimension is None or not _is_number(value) or dimension.kind == "categorical":
            choices = dimension.choices if dimension is not None and dimension.kind == "categorical" else ()
            return _categorical(choices, value)
        return _range(dimension, value)

    def stored(self, name: str, value: ParamValue) -> tuple[float, str]:
        """(Optuna's internal number, the distribution's JSON) of a parameter."""
        distribution = self.distribution(name, value)
        return internal(distribution, value), distribution_to_json(distribution)

    def _plain(self, name: str, value: ParamValue) -> ParamValue:
        dimension = self._dimensions.get(name)
        if dimension is None or dimension.kind == "categorical" or not _is_number(value):
            return value
        if dimension.kind == "int" and float(value).is_integer():
            return int(value)
        return float(value)


def internal(distribution: BaseDistribution, value: ParamValue) -> float:
    """The number that Optuna stores for a value; unlike Optuna, True and 1 are told apart."""
    if isinstance(distribution, CategoricalDistribution):
        return float(_index(distribution.choices, value))
    return float(value)


def _is_number(value: ParamValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _index(choices: tuple[object, ...], value: ParamValue) -> int:
    return next(i for i, c in enumerate(choices) if c == value and type(c) is type(value))


def _categorical(choices: tuple[ParamValue, ...], value: ParamValue) -> CategoricalDistribution:
    known = any(c == value and type(c) is type(value) for c in choices)
    return CategoricalDistribution(choices if known else (*choices, value))


def _range(dimension: Dimension, value: ParamValue) -> BaseDistribution:
    low, high, number = dimension.low, dimension.high, float(value)
    if dimension.kind == "int" and number.is_integer():
        step = int(dimension.step or 1)
        log = dimension.scale == "log" and step == 1 and min(low, number) >= 1
        top = _last_of_grid(low, high, step)
        if not low <= number <= top or (number - low) % step:
            step, low, top = 1, min(low, number), max(top, number)
        return IntDistribution(int(low), int(top), log=log, step=step)
    low, high = min(low, number), max(high, number)
    log = dimension.scale == "log" and low > 0
    # A grid is stored as its range: Optuna knows none on a log scale, and rounds the others in its own way.
    return FloatDistribution(low, high, log=log)


def _last_of_grid(low: float, high: float, step: float) -> float:
    return low + math.floor((high - low) / step) * step
