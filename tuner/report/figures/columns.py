"""What figures show of every trial, by columns: their points refer to these by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.records import TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import places
from tuner.spec.space import Dimension

NUMBER, VALUE, TRAIN = "trial", "value", "train"
_GOLDEN = 0.6180339887


def at(dimension: str) -> str:
    """The column of a hyperparameter's places on its own scale."""
    return f"at {dimension}"


def of_objective(name: str) -> str:
    """The column of a further objective."""
    return f"objective {name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Some trials, in the order of their numbers."""

    numbers: Sequence[int]
    tiers: Sequence[str]
    states: Sequence[str]
    values: Mapping[str, NDArray[np.float64]]
    """By the names above; NaN where a trial has none."""


def trial_columns(analysis: Analysis, records: Sequence[TrialRecord] | None = None) -> Columns:
    """The columns of all trials of the study, or of some of them."""
    shown = analysis.study.records if records is None else records
    values = {
        NUMBER: [r.number for r in shown],
        VALUE: [r.best.dev_metric if r.best else math.nan for r in shown],
        TRAIN: [r.best.train_metric if r.best else math.nan for r in shown],
    }
    for objective in analysis.objectives:  # not those of the front, which the statistics of the whole study would say
        values[of_objective(objective.name)] = [r.objectives.get(objective.name, math.nan) for r in shown]
    columns = {name: np.array(column, dtype=np.float64) for name, column in values.items()}
    for dimension in shown_dimensions(analysis):
        where = places(dimension, [r.params.get(dimension.name) for r in shown])
        columns[at(dimension.name)] = where + _jitter(dimension, columns[NUMBER])
    for column in columns.values():
        column[~np.isfinite(column)] = np.nan
    return Columns(
        numbers=[r.number for r in shown],
        tiers=[r.tier for r in shown],
        states=[r.state.value for r in shown],
        values=columns,
    )


def shown_dimensions(analysis: Analysis) -> list[Dimension]:
    """The hyperparameters that figures have places for."""
    return [d for d in analysis.space if not d.fixed]


def _jitter(dimension: Dimension, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """A fixed small shift that keeps points of equal choices apart."""
    if dimension.kind != "categorical":
        return np.zeros(len(numbers))
    return ((numbers * _GOLDEN) % 1.0 - 0.5) * 0.5 / len(dimension.choices)
