"""The search space that a study was run with, from its facts, or guessed from the trials of a foreign study."""

from __future__ import annotations

from collections.abc import Iterable

from tuner.records import Params, ParamValue, TrialRecord
from tuner.spec.space import Dimension, Kind, Scale, Space
from tuner.store.study_data import StudyData


def study_space(study: StudyData) -> Space:
    """The study's dimensions, in tier order.

    Where it does not say them, as in a study that plain Optuna made,
    each parameter that a trial has becomes a tier 1 dimension over the values seen.
    """
    if study.space is None:
        return _observed_space(study.records)
    return Space(tuple(sorted(study.space, key=lambda d: d.tier)))


def _observed_space(records: Iterable[TrialRecord]) -> Space:
    seen: dict[str, list[ParamValue]] = {}
    for record in records:
        for name, value in record.params.items():
            seen.setdefault(name, []).append(value)
    return Space(tuple(_observed_dimension(name, values) for name, values in seen.items()))


def _observed_dimension(name: str, values: list[ParamValue]) -> Dimension:
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        choices = tuple(dict.fromkeys(values))
        return Dimension(name=name, kind="categorical", tier=1, default=choices[0], choices=choices)
    low, high = min(numbers), max(numbers)
    # Two decades between the extremes: whoever chose the range meant a logarithmic scale.
    scale: Scale = "log" if low > 0 and high / low >= 100 else "linear"
    kind: Kind = "int" if all(isinstance(v, int) for v in numbers) else "float"
    return Dimension(name=name, kind=kind, tier=1, default=numbers[0], low=float(low), high=float(high), scale=scale)


def shown_params(study: StudyData) -> list[str]:
    """Names of all hyperparameters that the trials have, those of the space first, in tier order."""
    names = dict.fromkeys(study_space(study).names)
    for record in study.records:
        names.update(dict.fromkeys(record.params))
    return list(names)


def completed(space: Space, params: Params) -> dict[str, ParamValue]:
    """The parameters, with those of the space in its order."""
    ordered = {name: params[name] for name in space.names if name in params}
    return ordered | {name: value for name, value in params.items() if name not in ordered}
