"""Strategies of other packages, and Optuna's samplers of any package, by import path."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from tuner.errors import UserCodeError
from tuner.imports import load_object
from tuner.search.optuna.proposer import OptunaProposer
from tuner.search.optuna.samplers import cohort_limit, made
from tuner.search.request import Maker, Request, mirror_of, with_rungs
from tuner.search.seeding import derived_seed
from tuner.search.strategy import Strategy
from tuner.spec.model import SearchSpec


def maker_by_path(search: SearchSpec, *, root: str) -> Maker:
    """What makes the strategy: a class of Optuna's samplers, or a function of a `Request` like those of ours.

    Raises:
        UserCodeError: it cannot be imported, is neither, or cannot be made.
        SweepFileError: a sampler does not take the arguments of the sweep file.
    """
    path = search.strategy
    found: Any = load_object(path, root=Path(root))
    if inspect.isclass(found) and issubclass(found, BaseSampler):
        make_sampler = _maker(found, search)
        make_sampler(0)  # or else what it lacks would be found out after the workers have loaded

        def make(request: Request) -> tuple[Strategy, int]:
            mirror = mirror_of(request, sampler=lambda number: make_sampler(derived_seed(request.seed, number)))
            return with_rungs(request, OptunaProposer(mirror), mirror, at_once=cohort_limit(request.trials))

        return make
    if inspect.isclass(found) and issubclass(found, BasePruner):
        raise UserCodeError(f"search.strategy: {path} is a pruner of Optuna's; write it at search.pruner")
    if not callable(found):
        raise UserCodeError(
            f"search.strategy: {path} must be a sampler's class of Optuna's, or a function of a Request; it is "
            f"a {type(found).__name__}"
        )
    maker: Maker = found
    return maker


def _maker(cls: type[BaseSampler], search: SearchSpec) -> Callable[[int], BaseSampler]:
    """Makes samplers, with a seed if they take one and are not given it."""
    takes_seed = "seed" in inspect.signature(cls).parameters

    def make(seed: int) -> BaseSampler:
        ours = {"seed": seed} if takes_seed and "seed" not in search.arguments else {}
        return made(cls, search, of="strategy", ours=ours)

    return make
