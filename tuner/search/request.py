"""What a strategy is made from, and how one is made of a proposer and a pruner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from optuna.samplers import BaseSampler

from tuner.records import Direction, Params, TrialRecord
from tuner.search.observe import Noise
from tuner.search.optuna.proposer import Proposer, ProposerStrategy
from tuner.search.optuna.samplers import SamplerName, make_pruner, make_sampler
from tuner.search.optuna.study import StudyMirror
from tuner.search.rungs import rungs_of
from tuner.search.strategy import Cohorts, Strategy
from tuner.spec.blocks.search import PopulationSpec
from tuner.spec.model import SearchSpec
from tuner.spec.space import Space


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a strategy is made from."""

    strategy: str
    """Its name, for makers of several."""
    space: Space
    direction: Direction
    epochs: int
    """Of a full training."""
    trials: int
    """Total of the study."""
    starts: int
    """How many of the trials the user's own start configurations take."""
    seed: int
    pruner: str | None
    """None: the strategy's own rule."""
    regularisation_always: bool
    noise: Noise
    target_error: float
    root: str = "."
    """Folder that import paths of files start at."""
    asked: SearchSpec = field(default_factory=SearchSpec)
    """The sweep file's own words; its `arguments` are for whoever makes the strategy."""
    earlier: tuple[TrialRecord, ...]
    """Trials of an earlier study to learn from; they do not count."""
    learned: tuple[Params, ...]
    """Configurations of a portfolio, to begin with."""
    cohorts: Cohorts | None
    """In which groups new trials train best; None where each may start by itself."""
    population: PopulationSpec
    """How the members of a population learn from one another."""


Maker: TypeAlias = Callable[[Request], tuple[Strategy, int]]
"""Makes the strategy and says to which epoch it sends new trials."""


def with_rungs(
    request: Request, proposer: Proposer, mirror: StudyMirror | None = None, *, at_once: int | None = None
) -> tuple[Strategy, int]:
    """A strategy that asks a proposer for configurations, and looks at trials at the epochs of the pruner's rungs."""
    pruner = request.pruner or "none"
    if mirror is None and pruner != "none":
        mirror = mirror_of(request, sampler="random")
    rungs = rungs_of(pruner, epochs=request.epochs)
    strategy = ProposerStrategy(
        request.space, proposer, mirror=mirror, rungs=rungs, trials=request.trials, seed=request.seed, at_once=at_once
    )
    return strategy, rungs[0]


def mirror_of(request: Request, *, sampler: SamplerName | Callable[[int], BaseSampler]) -> StudyMirror:
    """Optuna's view of the trials, for a sampler or a pruner of Optuna's.

    Args:
        request: What is asked for.
        sampler: One of tuner's own names, or what makes any other for a trial's number: that one is asked for every
            trial again where the mirror is made anew, since it may keep its state in the trials.
    """
    pruner = request.pruner or "none"
    is_ours = isinstance(sampler, str)
    make = sampler
    if isinstance(sampler, str):
        make = make_sampler(sampler, request.space, trials=request.trials, seed=request.seed)
    assert not isinstance(make, str)
    return StudyMirror(
        request.space,
        direction=request.direction,
        rungs=rungs_of(pruner, epochs=request.epochs),
        sampler=make,
        pruner=make_pruner(pruner, epochs=request.epochs, root=request.root, asked=request.asked),
        learns=sampler != "random",
        replay_asks=sampler == "cmaes" or not is_ours,
        earlier=request.earlier,
    )
