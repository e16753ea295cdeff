"""Optuna's samplers and pruners by name, set up as their authors advise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from tuner.errors import UserCodeError
from tuner.imports import load_object, require
from tuner.search.rungs import REDUCTION_FACTOR, asha_first_rung
from tuner.search.seeding import derived_seed
from tuner.spec.blocks.search import LEARNING_TRIALS
from tuner.spec.space import Space

SamplerName = Literal["tpe", "gp", "cmaes", "random"]
_LEAST_STARTUP_TRIALS, _MOST_STARTUP_TRIALS = 5, 10
"""What is drawn at random before TPE or GP learns: Optuna's ten, a quarter of all in a short search, but no fewer than
five."""
_COHORTS = 4


def cohort_limit(trials: int) -> int:
    """How many trials of a sampler that learns may be under way at once: a part of them all, so that there is a next.

    Where trials are cheap, all of a short search would otherwise be asked for before the first has ended.
    """
    return trials if trials < LEARNING_TRIALS else -(-trials // _COHORTS)


def make_sampler(name: SamplerName, space: Space, *, trials: int, seed: int) -> Callable[[int], BaseSampler]:
    """A function from a trial's number to the sampler that asks for it.

    Its seed depends on the number, so that a sampler made anew after a restart does not repeat its first draws.

    TPE draws conditional parameters in groups. The Gaussian process and CMA-ES know only the parameters that every
    trial has (CMA-ES only numbers); they leave the others to uniform draws.

    Raises:
        MissingExtraError: `cmaes` is asked for and not installed.
    """
    if name == "cmaes":
        require("cmaes", extra="cmaes")
    conditional = any(d.when for d in space)
    startup = max(_LEAST_STARTUP_TRIALS, min(_MOST_STARTUP_TRIALS, cohort_limit(trials)))
    if trials < LEARNING_TRIALS:
        startup = LEARNING_TRIALS

    def sampler(number: int) -> BaseSampler:
        chance = derived_seed(seed, number)
        match name:
            case "random":
                return RandomSampler(seed=chance)
            case "tpe":
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)  # `group` and `multivariate` are
                    return TPESampler(
                        multivariate=True, group=conditional, constant_liar=True, n_startup_trials=startup, seed=chance
                    )
            case "gp":
                return GPSampler(n_startup_trials=startup, seed=chance, warn_independent_sampling=False)
            case "cmaes":
                return CmaEsSampler(seed=chance, warn_independent_sampling=False)

    return sampler


def make_pruner(name: str, *, epochs: int, root: str = ".") -> BasePruner:
    """The pruner of this name or path, which starts at `root`; it is asked at the epochs of `rungs_of(name)`.

    Raises:
        UserCodeError: a path that leads to no pruner, or to one that cannot be made without arguments.
    """
    match name:
        case "none":
            return NopPruner()
        case "median":
            return MedianPruner(n_startup_trials=5)
        case "asha":
            return SuccessiveHalvingPruner(min_resource=asha_first_rung(epochs), reduction_factor=REDUCTION_FACTOR)
        case "hyperband":
            return HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=REDUCTION_FACTOR)
        case _:
            return _pruner_by_path(name, root=root)


def _pruner_by_path(path: str, *, root: str) -> BasePruner:
    found: Any = load_object(path, root=Path(root))
    if not (isinstance(found, type) and issubclass(found, BasePruner)):
        raise UserCodeError(f"search.pruner: {path} must be a class of Optuna's pruners")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return found()
    except Exception as error:  # whatever the pruner's own code raises
        raise UserCodeError(
            f"search.pruner: {path} cannot be made without arguments ({type(error).__name__}: {error}); name a "
            "subclass of yours that has them"
        ) from error
