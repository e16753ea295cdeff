"""Our dimensions as Optuna's distributions, on the scales that we search on.

A float is an Optuna float in [0, 1], its unit coordinate, so that momentum is sampled on log(1 - beta) by any
sampler. Integers keep their own distribution, since samplers treat them better than a rounded float. Choices
that are numbers in order are integers (their index), so that a model knows that 64 lies between 32 and 128.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.records import Params, ParamValue
from tuner.spec.space import Dimension, Space


def distribution_of(dimension: Dimension) -> BaseDistribution:
    """The Optuna distribution of a dimension."""
    if dimension.kind == "categorical":
        if dimension.ordered:
            return IntDistribution(0, len(dimension.choices) - 1)
        return CategoricalDistribution(dimension.choices)
    if dimension.kind == "int" and dimension.scale == "linear":
        step = int(dimension.step or 1)
        low, high = int(dimension.low), int(dimension.high)
        return IntDistribution(low, low + (high - low) // step * step, step=step)
    if dimension.kind == "int" and dimension.scale == "log" and dimension.step in (None, 1):
        return IntDistribution(int(dimension.low), int(dimension.high), log=True)
    return FloatDistribution(0.0, 1.0)


def to_optuna(dimension: Dimension, value: ParamValue) -> ParamValue:
    """A value of ours as a value of `distribution_of(dimension)`."""
    match distribution_of(dimension):
        case FloatDistribution():
            return dimension.to_unit(value)
        case IntDistribution() if dimension.kind == "categorical":
            return dimension.choices.index(value)
        case _:
            return value


def from_optuna(dimension: Dimension, value: ParamValue) -> ParamValue:
    """The inverse of `to_optuna`."""
    match distribution_of(dimension):
        case FloatDistribution():
            return dimension.from_unit(float(value))
        case IntDistribution() if dimension.kind == "categorical":
            return dimension.choices[int(value)]
        case _:
            return value


def suggest(trial: optuna.Trial, space: Space) -> dict[str, ParamValue]:
    """Let a trial's sampler fill a configuration, dimension by dimension, as far as conditions hold."""
    params: dict[str, ParamValue] = {}
    for dimension in space:
        if any(params.get(name) not in values for name, values in dimension.when.items()):
            continue
        params[dimension.name] = from_optuna(dimension, _suggest(trial, dimension))
    return params


def distributions(space: Space, params: Params) -> dict[str, BaseDistribution]:
    """The distributions of the dimensions that a configuration has."""
    return {d.name: distribution_of(d) for d in space if d.name in params}


def values(space: Space, params: Params) -> Mapping[str, ParamValue]:
    """A configuration in Optuna's coordinates."""
    return {d.name: to_optuna(d, params[d.name]) for d in space if d.name in params}


def _suggest(trial: optuna.Trial, dimension: Dimension) -> ParamValue:
    match distribution_of(dimension):
        case FloatDistribution() as d:
            return trial.suggest_float(dimension.name, d.low, d.high)
        case IntDistribution() as d:
            return trial.suggest_int(dimension.name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution() as d:
            chosen = trial.suggest_categorical(dimension.name, d.choices)
            assert isinstance(chosen, bool | int | float | str)
            return chosen
        case other:
            raise AssertionError(other)
