"""Where the name of a strategy becomes a strategy."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

from tuner.errors import SweepFileError
from tuner.records import Direction, TrialRecord
from tuner.search.designs import grid
from tuner.search.observe import Noise, no_noise
from tuner.search.optuna.proposer import ListProposer, OptunaProposer, Proposer, ProposerStrategy, QuasiRandomProposer
from tuner.search.optuna.samplers import SamplerName, cohort_limit, make_pruner, make_sampler
from tuner.search.optuna.study import StudyMirror
from tuner.search.priority.explorer import Explorer
from tuner.search.priority.strategy import PriorityProposer, PriorityStrategy
from tuner.search.rungs import PRUNERS, priority_rungs, rungs_of
from tuner.search.seeding import derived_seed
from tuner.search.staged import StagedProposer
from tuner.search.strategy import Strategy
from tuner.search.wrap.rounds import Rounds
from tuner.search.wrap.scalarised import ScalarisedStrategy
from tuner.search.wrap.starts import StartFirst, start_configurations
from tuner.search.wrap.stop import StoppingStrategy
from tuner.spec.blocks.search import PrunerName
from tuner.spec.model import SweepSpec
from tuner.spec.objectives import further_objectives
from tuner.spec.space import Space


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a strategy is made from."""

    space: Space
    direction: Direction
    epochs: int
    """Of a full training."""
    trials: int
    """Total of the study."""
    starts: int
    """How many of the trials the user's own start configurations take."""
    seed: int
    pruner: PrunerName | None
    """None: the strategy's own rule."""
    regularisation_always: bool
    noise: Noise
    target_error: float
    earlier: tuple[TrialRecord, ...]
    """Trials of an earlier study to learn from; they do not count."""


Factory = Callable[[Request], tuple[Strategy, int]]
"""Makes the strategy and says to which epoch it sends new trials."""


def open_strategy(
    spec: SweepSpec,
    space: Space,
    direction: Direction,
    *,
    noise: Noise = no_noise,
    elapsed_seconds: Callable[[], float] = lambda: 0.0,
    earlier: Sequence[TrialRecord] = (),
) -> Strategy:
    """The strategy that a sweep file asks for, with its start configurations and its stopping rules.

    Args:
        spec: The sweep file.
        space: Its search space.
        direction: Of the objective's dev metric.
        noise: Of the dev metric: what `stop.plateau` takes for no improvement, and the diagnosis for no gap.
        elapsed_seconds: Wall-clock seconds of the study so far, over all its runs, for `stop.seconds`.
        earlier: Trials of an earlier study to learn from, as far as they lie in this space: by `priority`, TPE, GP and
            Optuna's pruners.

    Raises:
        SweepFileError: an unknown strategy or pruner, or a start configuration outside the space.
        MissingExtraError: the strategy needs a package that is not installed.
    """
    search = spec.search
    factory = STRATEGIES.get(search.strategy)
    if factory is None:
        raise SweepFileError([_unknown("strategy", search.strategy, sorted(STRATEGIES))])
    pruner = next((name for name in PRUNERS if name == search.pruner), None)
    if search.pruner is not None and pruner is None:
        raise SweepFileError([_unknown("pruner", search.pruner, PRUNERS)])
    others = further_objectives(spec)
    starts = start_configurations(search.start, space)

    def make(space: Space, index: int, trials: int, before: Sequence[TrialRecord]) -> Strategy:
        request = Request(
            space=space,
            direction=direction,
            epochs=spec.training.epochs,
            trials=trials,
            starts=0 if index else len(starts),
            seed=derived_seed(search.seed, index) if index else search.seed,
            pruner=pruner,
            regularisation_always=search.regularisation == "always" or spec.loop is not None,
            noise=noise,
            target_error=spec.objective.target_error or 0.0,
            earlier=tuple(r for r in (*earlier, *before) if space.contains(r.params)),
        )
        strategy, first_epoch = factory(request)
        if others or spec.constraints:
            strategy = ScalarisedStrategy(
                lambda: factory(request)[0], direction=direction, others=others, seed=request.seed
            )
        return StartFirst(strategy, starts, to_epoch=first_epoch, trials=trials) if request.starts else strategy

    strategy: Strategy
    if search.refine:
        strategy = Rounds(make, space, direction=direction, trials=search.trials, rounds=search.refine)
    else:
        strategy = make(space, 0, search.trials, ())
    if search.stop is not None:
        strategy = StoppingStrategy(
            strategy,
            search.stop,
            direction=direction,
            epochs=spec.training.epochs,
            noise=noise,
            elapsed_seconds=elapsed_seconds,
        )
    return strategy


def _unknown(key: str, given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    return f"search.{key}: must be one of {', '.join(known)}, got {given!r}.{hint}"


def _from_sampler(name: SamplerName) -> Factory:
    def factory(request: Request) -> tuple[Strategy, int]:
        mirror = _mirror(request, sampler=name)
        at_once = None if name == "random" else cohort_limit(request.trials)
        return _with_rungs(request, OptunaProposer(mirror), mirror, at_once=at_once)

    return factory


def _quasi_random(request: Request) -> tuple[Strategy, int]:
    return _with_rungs(request, QuasiRandomProposer(request.space, seed=request.seed))


def _grid(request: Request) -> tuple[Strategy, int]:
    points = grid(request.space, size=request.trials - request.starts, seed=request.seed)
    return _with_rungs(request, ListProposer(points))


def _staged(request: Request) -> tuple[Strategy, int]:
    proposer = StagedProposer(
        request.space,
        direction=request.direction,
        trials=request.trials - request.starts,
        seed=request.seed,
    )
    return _with_rungs(request, proposer)


def _priority(request: Request) -> tuple[Strategy, int]:
    rungs = (
        priority_rungs(request.epochs) if request.pruner is None else rungs_of(request.pruner, epochs=request.epochs)
    )
    explorer = Explorer(
        request.space,
        direction=request.direction,
        rungs=rungs,
        trials=request.trials,
        seed=request.seed,
        regularisation_always=request.regularisation_always,
        noise=request.noise,
        target_error=request.target_error,
        earlier=request.earlier,
    )
    if request.pruner is None:
        return PriorityStrategy(explorer), rungs[0]
    return _with_rungs(request, PriorityProposer(explorer))


def _with_rungs(
    request: Request, proposer: Proposer, mirror: StudyMirror | None = None, *, at_once: int | None = None
) -> tuple[Strategy, int]:
    pruner = request.pruner or "none"
    if mirror is None and pruner != "none":
        mirror = _mirror(request, sampler="random")
    rungs = rungs_of(pruner, epochs=request.epochs)
    strategy = ProposerStrategy(
        request.space, proposer, mirror=mirror, rungs=rungs, trials=request.trials, seed=request.seed, at_once=at_once
    )
    return strategy, rungs[0]


def _mirror(request: Request, *, sampler: SamplerName) -> StudyMirror:
    pruner = request.pruner or "none"
    return StudyMirror(
        request.space,
        direction=request.direction,
        rungs=rungs_of(pruner, epochs=request.epochs),
        sampler=make_sampler(sampler, request.space, trials=request.trials, seed=request.seed),
        pruner=make_pruner(pruner, epochs=request.epochs),
        replay_asks=sampler == "cmaes",
        earlier=request.earlier,
    )


STRATEGIES: dict[str, Factory] = {
    "priority": _priority,
    "staged": _staged,
    "qmc": _quasi_random,
    "grid": _grid,
    **{name: _from_sampler(name) for name in get_args(SamplerName)},
}
