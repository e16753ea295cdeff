"""Optuna's samplers, quasi-random points and a grid as strategies."""

from __future__ import annotations

from typing import get_args

from tuner.search.designs import grid
from tuner.search.optuna.proposer import ListProposer, OptunaProposer, QuasiRandomProposer
from tuner.search.optuna.samplers import SamplerName, cohort_limit
from tuner.search.request import Request, mirror_of, with_rungs
from tuner.search.strategy import Strategy


def make_strategy(request: Request) -> tuple[Strategy, int]:
    """The strategy of this name."""
    match request.strategy:
        case "qmc":
            return with_rungs(request, QuasiRandomProposer(request.space, seed=request.seed))
        case "grid":
            points = grid(request.space, size=request.trials - request.starts, seed=request.seed)
            return with_rungs(request, ListProposer(points))
    (sampler,) = (name for name in get_args(SamplerName) if name == request.strategy)
    mirror = mirror_of(request, sampler=sampler)
    at_once = None if sampler == "random" else cohort_limit(request.trials)
    return with_rungs(request, OptunaProposer(mirror), mirror, at_once=at_once)
