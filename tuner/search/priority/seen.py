"""Which trials the model looks at where there are more than it can: what a decision costs must not grow with them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from tuner.records import Direction, Params, TrialRecord, TrialState
from tuner.search.cube import Array, Cube
from tuner.search.observe import best_first, in_state, rank_for_search
from tuner.trials import Mark, OrderKey, Trials

MOST_SEEN = 1000
"""Up to so many trials, the model looks at all. Of more: half of this number are the best, a quarter is spread evenly
over the study and says what is not worth a try; a quarter is for the best that are paused; and all that run count."""
_QUARTER = MOST_SEEN // 4
_SPREAD = 0x9E3779B1
"""Over 2**32 it is near the golden ratio: the first of its multiples, in their order, are spread evenly."""


def seen(trials: Trials, *, direction: Direction, others: Sequence[int]) -> list[int]:
    """The places of the trials to look at, ascending.

    Args:
        trials: All trials.
        direction: Of the dev metric.
        others: Places that are looked at in any case.
    """
    if len(trials) <= MOST_SEEN:
        return list(range(len(trials)))
    found = [
        *best_first(trials, direction)[: MOST_SEEN // 2],
        *trials.ordered(_spread)[:_QUARTER],
        *in_state(trials, TrialState.RUNNING),
    ]
    return sorted({record.number for record in found} | set(others))


def paused(trials: Trials, direction: Direction) -> list[TrialRecord]:
    """The paused trials by number; of very many the best."""
    found = in_state(trials, TrialState.PAUSED)
    if len(trials) <= MOST_SEEN or len(found) <= _QUARTER:
        return list(found)
    return sorted(trials.ordered(_best_paused(direction))[:_QUARTER], key=lambda record: record.number)


@cache
def _best_paused(direction: Direction) -> OrderKey:
    rank = rank_for_search(direction)
    return lambda record: rank(record) if record.state is TrialState.PAUSED else None


def _spread(record: TrialRecord) -> tuple[int]:
    return (record.number * _SPREAD % 2**32,)


class Points:
    """The configurations of all trials as rows of unit coordinates, which are worked out once for each."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._rows: Array = np.empty((0, cube.columns))
        self._params: list[Params] = []
        self._mark: Mark | None = None

    def of(self, trials: Trials) -> Array:
        """Shape (trials, columns)."""
        for place in trials.changed_since(self._mark):
            self._put(place, trials[place].params)
        self._mark = trials.mark()
        return self._rows[: len(trials)]

    def _put(self, place: int, params: Params) -> None:
        if place < len(self._params) and (self._params[place] is params or self._params[place] == params):
            return
        if place >= len(self._rows):
            more = np.empty((max(place + 1, 64), self._cube.columns))
            self._rows = np.concatenate([self._rows, more])  # at least doubled: each row is copied twice on average
        self._params[place : place + 1] = [params]
        self._rows[place] = self._cube.units(params)
