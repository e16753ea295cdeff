"""What the search believes of every configuration, and which new one it would try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.search.cube import Array, Cube
from tuner.search.priority.acquisition import Candidates, log_expected_improvement
from tuner.search.priority.effort import Effort
from tuner.search.priority.gp import Pool, Prior, Process, fit
from tuner.search.priority.observations import Observations

_LENGTH_SCALES = {1: 0.3, 2: 0.6}
_LATER_LENGTH_SCALE = 1.0
"""Medians of the prior by tier, in unit coordinates. Shorter ones for all tiers gained nothing, and made a wrong order
cost .04 (`docs/search.md`)."""
_EPOCH_LENGTH_SCALE = 0.4
"""Short: curves cross, and at the first rung a slow starter must not seem settled."""
_NUM_BASES = 5
"""Trials that local candidates are drawn around."""
_NUM_REFINED = 5
"""Candidates that small moves are tried from."""
_NEAREST = 1e-3
"""A proposal is at least so far, in some coordinate, from every configuration tried."""


@dataclass(frozen=True, kw_only=True)
class Appraisal:
    """What a full training of some configurations is expected to bring, one entry for each."""

    mean: Array
    deviation: Array
    log_improvement: Array
    """Logarithm of the expected improvement over the incumbent, and over what pending trials promise."""


class Response:
    """A model of the dev metric over configurations and training length, and its pool of candidates."""

    def __init__(
        self, observations: Observations, cube: Cube, *, trials: Array, effort: Effort, rng: np.random.Generator
    ) -> None:
        """
        Args:
            observations: What was measured.
            cube: The space.
            trials: The points of the trials that it may be asked about, shape (trials, columns).
            effort: How thoroughly to fit and to search.
            rng: Chance.
        """
        self._effort = effort
        tiers = cube.tiers
        scales = [_LENGTH_SCALES.get(int(tier), _LATER_LENGTH_SCALE) for tier in tiers]
        unordered = np.append(cube.unordered, False)
        x, y = observations.x, observations.y
        fitted = _informative(y, count=effort.fitted, rng=rng)
        prior = Prior(length_scales=np.array([*scales, _EPOCH_LENGTH_SCALE]))
        theta = fit(x[fitted], y[fitted], prior=prior, unordered=unordered, iterations=effort.iterations)
        kept = _informative(y, count=effort.conditioned, rng=rng)
        self._process = Process(x[kept], y[kept], theta=theta, unordered=unordered)
        self.incumbent = float(self._process.predict(x[kept])[0].max())
        """The best value of all observations, as the model sees it through the noise."""
        self._to_beat = self.incumbent
        self._points = trials
        self._trials: Pool | None = None
        self._candidates: Pool | None = None
        self._drawn_by: Candidates | None = None
        """Those of the pool."""

    def believe(self, points: Array) -> None:
        """Take pending configurations, shape (pending, columns), to turn out as predicted.

        What they are expected to bring is no improvement of another: without that, near a promising pending point
        every neighbour would seem as good as the point itself. Of very many, the most promising are believed: no
        proposal comes near the others.
        """
        if not len(points):
            return
        x = _at_full_length(points)
        if len(x) > self._effort.pending:
            gain = self._appraisal(*self._process.predict(x)).log_improvement
            x = x[np.sort(np.argsort(-gain, kind="stable")[: self._effort.pending])]
        self._to_beat = max(self._to_beat, float(self._process.mean(x).max()))
        self._process.believe(x)

    def appraise(self, points: Array) -> Appraisal:
        """What a full training would bring, for points of shape (points, columns)."""
        return self._appraisal(*self._process.predict(_at_full_length(points)))

    def appraise_trials(self, places: Sequence[int]) -> Appraisal:
        """What a full training of some of the trials would bring, by their places among all that it knows."""
        if self._trials is None:
            self._trials = self._process.pool(_at_full_length(self._points))
        which = np.array(places, dtype=np.intp)
        return self._appraisal(self._trials.mean[which], self._trials.deviation[which])

    def propose(self, candidates: Candidates, tried: Array, *, bases: Array | None = None) -> tuple[Array, float]:
        """The most promising new point, and the logarithm of its expected improvement.

        Args:
            candidates: Draws points.
            tried: Points of all trials, pending ones included, shape (trials, columns).
            bases: The points among which the best are looked for, to draw others around; all if left out.
        """
        if self._candidates is None or self._drawn_by is not candidates:
            self._drawn_by = candidates
            bases = tried if bases is None else bases
            best_first = np.argsort(-self.appraise(bases).mean, kind="stable")
            drawn = [
                candidates.anywhere(self._effort.uniform),
                candidates.around(bases[best_first[:_NUM_BASES]], self._effort.local),
            ]
            self._candidates = self._process.pool(_at_full_length(np.vstack(drawn)))
        points = self._candidates.x[:, :-1]
        scores = self._appraisal(self._candidates.mean, self._candidates.deviation).log_improvement
        for step in self._effort.refinements:
            top = np.argsort(-scores, kind="stable")[:_NUM_REFINED]
            moved = candidates.near(points[top], each=20, step=step)
            points = np.vstack([points, moved])
            scores = np.concatenate([scores, self.appraise(moved).log_improvement])
        return _first_new(points, scores, tried)

    def _appraisal(self, mean: Array, deviation: Array) -> Appraisal:
        improvement = log_expected_improvement(mean, deviation, self._to_beat)
        return Appraisal(mean=mean, deviation=deviation, log_improvement=improvement)


def _first_new(points: Array, scores: Array, tried: Array) -> tuple[Array, float]:
    order = np.argsort(-scores, kind="stable")
    for index in order:
        nearby = tried[np.abs(tried[:, 0] - points[index, 0]) <= _NEAREST]  # of 50,000 trials, some 100
        if (np.abs(nearby - points[index]).max(axis=1) > _NEAREST).all():
            return points[index], float(scores[index])
    return points[order[0]], float(scores[order[0]])


def _at_full_length(points: Array) -> Array:
    return np.column_stack([points, np.ones(len(points))])


def _informative(y: Array, *, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of at most `count` observations: half of them the best, half by chance from the others."""
    if len(y) <= count:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    best, others = order[: count // 2], order[count // 2 :]
    return np.sort(np.concatenate([best, rng.permutation(others)[: count - len(best)]]))
