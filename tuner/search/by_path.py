"""Strategies of other packages, and Optuna's samplers of any package, by import path."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from tuner.errors import UserCodeError
from tuner.imports import load_object
from tuner.search.optuna.proposer import OptunaProposer
from tuner.search.optuna.samplers import cohort_limit
from tuner.search.request import Maker, Request, mirror_of, with_rungs
from tuner.search.seeding import derived_seed
from tuner.search.strategy import Strategy


def maker_by_path(path: str, *, root: str) -> Maker:
    """What makes the strategy: a class of Optuna's samplers, or a function of a `Request` like those of ours.

    Raises:
        UserCodeError: it cannot be imported, or is neither.
    """
    found: Any = load_object(path, root=Path(root))
    if inspect.isclass(found) and issubclass(found, BaseSampler):
        made = _maker(found, path)
        made(0)  # or else what it lacks would be found out after the workers have loaded

        def make(request: Request) -> tuple[Strategy, int]:
            mirror = mirror_of(request, sampler=lambda number: made(derived_seed(request.seed, number)))
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


def _maker(cls: type[BaseSampler], path: str) -> Callable[[int], BaseSampler]:
    """Makes samplers, with a seed if they take one."""
    takes_seed = "seed" in inspect.signature(cls).parameters

    def make(seed: int) -> BaseSampler:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                arguments: dict[str, Any] = {"seed": seed} if takes_seed else {}
                return cls(**arguments)
        except Exception as error:  # whatever the sampler's own code raises
            raise UserCodeError(f"search.strategy: {path} cannot be made: {type(error).__name__}: {error}") from error

    return make
