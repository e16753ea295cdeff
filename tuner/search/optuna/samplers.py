"""Optuna's samplers and pruners by name, set up as their authors advise."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler

from tuner.errors import UserCodeError
from tuner.imports import load_object, require
from tuner.search.rungs import REDUCTION_FACTOR, asha_first_rung
from tuner.search.seeding import derived_seed
from tuner.spec.blocks.search import LEARNING_TRIALS
from tuner.spec.known.names import did_you_mean
from tuner.spec.model import SearchSpec
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


def make_pruner(name: str, *, epochs: int, root: str = ".", asked: SearchSpec | None = None) -> BasePruner:
    """The pruner of this name or path, which starts at `root`; it is asked at the epochs of `rungs_of(name)`.

    Raises:
        UserCodeError: a path that leads to no pruner, or to one that cannot be made.
        SweepFileError: it does not take the arguments of the sweep file.
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
    found: Any = load_object(name, root=Path(root))
    if not (isinstance(found, type) and issubclass(found, BasePruner)):
        raise UserCodeError(f"search.pruner: {name} must be a class of Optuna's pruners")
    return made(found, asked or SearchSpec(pruner=name), of="pruner")


_Made = TypeVar("_Made", BaseSampler, BasePruner)
_ARGUMENTS = {"strategy": "arguments", "pruner": "pruner_arguments"}
"""Where the arguments of each stand in a sweep file."""


def made(cls: type[_Made], asked: SearchSpec, *, of: str, ours: Mapping[str, object] = MappingProxyType({})) -> _Made:
    """A sampler or a pruner by its path, with the arguments of the sweep file and ours.

    Args:
        cls: Its class.
        asked: What the sweep file says.
        of: The key that names it, `strategy` or `pruner`.
        ours: Arguments that it is given besides.

    Raises:
        UserCodeError: it cannot be made without arguments.
        SweepFileError: it does not take those that it is given.
    """
    key = _ARGUMENTS[of]
    path, given = getattr(asked, of), getattr(asked, key)
    parameters = inspect.signature(cls).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for name in given:
        if name not in parameters and not takes_all:
            hint = did_you_mean(name, parameters) or f"it takes {', '.join(parameters) or 'none'}"
            raise asked.refusal(key, f"is no argument of {path}; {hint}", argument=name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return cls(**given, **ours)
    except Exception as error:  # whatever its own code raises
        said = f"{path} cannot be made: {type(error).__name__}: {error}"
        if given:
            raise asked.refusal(key, said) from error
        raise UserCodeError(f"search.{of}: {said}; `search: {{{key}: {{NAME: VALUE}}}}` gives it arguments") from error
