"""Where the name of a strategy becomes a strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pkgutil import resolve_name

from tuner.records import Direction, Params, TrialRecord
from tuner.search.cube import Cube
from tuner.search.observe import Noise, no_noise
from tuner.search.portfolio import known_columns, learned_points
from tuner.search.request import Maker, Request
from tuner.search.seeding import derived_seed
from tuner.search.strategy import Cohorts, Strategy
from tuner.search.wrap.finish import FinishingStrategy
from tuner.search.wrap.rounds import Rounds
from tuner.search.wrap.scalarised import ScalarisedStrategy
from tuner.search.wrap.starts import StartFirst, start_configurations
from tuner.search.wrap.stop import StoppingStrategy
from tuner.search.wrap.synchronous import SynchronousStrategy
from tuner.spec.defaults import guessed_configuration
from tuner.spec.known.strategies import STRATEGIES
from tuner.spec.model import PopulationSpec, SearchSpec, SweepSpec
from tuner.spec.objectives import further_objectives
from tuner.spec.space import REGULARISATION_TIER, Space

_MOST_PAST, _TRIALS_FOR_EACH_PAST = 4, 8
"""Of good configurations of other studies so many are tried, and no more than one for so many trials: if the studies
have nothing to do with this one, they are lost."""


def open_strategy(
    spec: SweepSpec,
    space: Space,
    direction: Direction,
    *,
    noise: Noise = no_noise,
    elapsed_seconds: Callable[[], float] = lambda: 0.0,
    earlier: Sequence[TrialRecord] = (),
    learned: Sequence[Params] = (),
    past: Sequence[Params] = (),
    cohorts: Cohorts | None = None,
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
        learned: Configurations of a portfolio (`tuner/search/portfolio.py`), to begin with.
        past: Configurations that were good in other studies, to try before those.
        cohorts: In which groups new trials train best; `priority` by its own rule heeds it.

    Raises:
        SweepFileError: a start configuration outside the space.
        MissingExtraError: the strategy needs a package that is not installed.
    """
    search = spec.search
    maker = maker_of(search, root=spec.root)
    others = further_objectives(spec)
    starts = start_configurations(search.start, space)
    guess = guessed_configuration(spec, space)
    begins_with_it = guess == space.default() and search.strategy in ("priority", "staged")
    is_open = search.regularisation == "always" or spec.loop is not None
    num_past = max(1, min(_MOST_PAST, search.trials // _TRIALS_FOR_EACH_PAST))
    tried = [
        *([] if guess is None or begins_with_it else [guess]),
        *_mapped(past, space, closed=not is_open)[:num_past],
    ]
    if search.strategy != "priority":  # which has a pass for them
        tried += _mapped(learned, space)
        learned = ()

    def make(space: Space, index: int, trials: int, before: Sequence[TrialRecord]) -> Strategy:
        request = Request(
            strategy=search.strategy,
            space=space,
            direction=direction,
            epochs=spec.training.epochs,
            trials=trials,
            starts=0 if index else len(starts) + len(tried),
            seed=derived_seed(search.seed, index) if index else search.seed,
            pruner=search.pruner,
            regularisation_always=is_open,
            noise=noise,
            target_error=spec.objective.target_error or 0.0,
            root=spec.root,
            asked=search,
            earlier=tuple(r for r in (*earlier, *before) if space.contains(r.params)),
            learned=() if index else tuple(learned),
            cohorts=cohorts,
            population=search.population or PopulationSpec(),
        )
        strategy, first_epoch = maker(request)
        if others or spec.constraints:
            strategy = ScalarisedStrategy(
                lambda: maker(request)[0], direction=direction, others=others, seed=request.seed
            )
        if not request.starts:
            return strategy
        return StartFirst(strategy, starts, at_the_beginning=tried, to_epoch=first_epoch, trials=trials)

    strategy: Strategy
    if search.refine:
        strategy = Rounds(make, space, direction=direction, trials=search.trials, rounds=search.refine)
    else:
        strategy = make(space, 0, search.trials, ())
    if search.strategy == "priority" and search.pruner is None and not search.synchronous:
        strategy = FinishingStrategy(strategy, direction=direction, epochs=spec.training.epochs, trials=search.trials)
    if search.stop is not None:
        strategy = StoppingStrategy(
            strategy,
            search.stop,
            direction=direction,
            epochs=spec.training.epochs,
            noise=noise,
            elapsed_seconds=elapsed_seconds,
        )
    return SynchronousStrategy(strategy, together=search.synchronous) if search.synchronous else strategy


def _mapped(learned: Sequence[Params], space: Space, *, closed: bool = False) -> list[Params]:
    """Configurations in the ranges of this space; at their defaults in the last tiers, if these are closed at first."""
    cube = Cube(space)
    known = known_columns(cube, learned)
    if closed:
        known &= cube.tiers < REGULARISATION_TIER
    return [cube.params(point) for point in learned_points(cube, learned, known=known)]


def maker_of(search: SearchSpec, *, root: str = ".") -> Maker:
    """The function that makes the strategy of this name, or of this path, which starts at `root`; imports it.

    Raises:
        UserCodeError: a path that leads to no strategy.
        SweepFileError: its arguments are not those that it takes.
    """
    if search.strategy not in STRATEGIES:
        from tuner.search.by_path import maker_by_path

        return maker_by_path(search, root=root)
    maker: Maker = resolve_name(f"{STRATEGIES[search.strategy].module}:make_strategy")
    return maker
