"""How good are the configurations that a strategy finds, at equal budgets of epochs?

Runs strategies through the sweep loop that `tuner run` uses, with a surrogate of training in place of networks, over
many data sets and seeds, and prints the normalised regret: 0 is the best known configuration, 1 a median random one.

    python benchmarks/search_quality.py --surrogate DIR --instances FILE --reference FILE \
        --strategies priority,tpe,gp,random,tpe+asha --budgets 5,10,20,40 --seeds 8

A budget counts epochs, in full trainings of 52. `--noise 0.05` adds to each trial's values a normal error of 5 % of
the distance between a median random and the best known configuration, and scores the true value of the configuration
that looks best. `--shuffle-tiers` deals the tiers out to the hyperparameters by chance. `--workers 8` trains eight
trials at once, each epoch taking equally long. `--portfolio` begins with what `benchmarks/portfolio.py` has learned.
`--seconds` counts the seconds that the surrogate gives in place of epochs: a budget is so many full trainings of a
random configuration's median time.
`--past related` begins with what small studies of four other data sets found, as `search.learn_from` would; `--past
planted` with what studies found that have nothing to do with the data: configurations drawn by chance.

`--peers smac,priorband,mobster,hypertune,dyhpo` adds searches of other packages, as `search_peers.py` sets them up.
SMAC3 comes with the extra `peers`. NePS and the schedulers of Syne Tune want older libraries than tuner, and an
environment each: pip complains, but installs them, and what is used here works with those, too.

    python -m venv neps && neps/bin/pip install torch==2.13.0 -e ".[bench,peers]"
    neps/bin/pip install neural-pipeline-search==0.17.0
    python -m venv syne && syne/bin/pip install torch==2.13.0 -e ".[bench]"
    syne/bin/pip install "syne-tune[gpsearchers]==0.14.2"
    neps/bin/python benchmarks/search_quality.py ... --keep scores.jsonl --strategies priority --peers smac,priorband
    syne/bin/python benchmarks/search_quality.py ... --keep scores.jsonl --strategies "" --peers mobster,hypertune
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from search_peers import PEERS, require_peers, search_by_peer
from surrogate import EPOCHS, SPACE, Instance, Surrogate, SurrogateExecutor, read_instances
from timed import Timed

from tuner.records import Direction, Params
from tuner.search.cube import Cube
from tuner.search.portfolio import learned_starts
from tuner.search.registry import open_strategy
from tuner.search.seeding import derived_seed
from tuner.spec.known.strategies import PRUNERS, STRATEGIES
from tuner.spec.model import DataSpec, LimitsSpec, SearchSpec, StopSpec, SweepSpec, TrainingSpec
from tuner.spec.portfolio import NO_PORTFOLIO
from tuner.spec.space import Space
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import StopRequest, Sweep
from tuner.sweep.watcher import Watcher

UNLIMITED = 100_000  # trials: the budget of epochs ends the search
SECONDS_BETWEEN_LINES = 10.0
PASTS = ("related", "planted")
GUESSES = ("good little", "good much", "bad little", "bad much")
GUESSED = 200
"""Configurations that a guess is taken from."""
TIMED = 500
"""Configurations whose median time is the unit of `--seconds`."""
_SEARCHED = 2
"""Times as many epochs are trained as a budget of seconds has: what is chosen may be quicker than the median."""
PAST_STUDIES, PAST_TRIALS = 4, 30
"""Studies that a search learns from, and configurations that each of them tried."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One search of one strategy on one data set."""

    strategy: str
    """A strategy's name, with `+pruner` where it has one; or one of `PEERS`."""
    instance: Instance
    seed: int
    budgets: tuple[int, ...]
    noise: float
    shuffle_tiers: bool
    workers: int
    surrogate: Path
    portfolio: Path | None = None
    """Of `benchmarks/portfolio.py`: what the search begins with."""
    past: str = ""
    """Of `PASTS`: the studies whose best configurations are tried first."""
    guess: str = ""
    """Of `GUESSES`: what the user guesses of every hyperparameter."""
    seconds: bool = False
    """Whether budgets count seconds."""
    others: tuple[int, ...] = ()
    """The codes of all data sets."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a run had found when it had spent a budget."""

    regret: float
    seconds_per_proposal: float
    """Time in the strategy, divided by the trials started."""


@cache
def load(folder: Path) -> Surrogate:
    """The surrogate, once in each process."""
    return Surrogate(folder)


def play(run: Run) -> dict[int, Score]:
    """Run one search and score it at each budget."""
    return play_peer(run) if run.strategy in PEERS else play_strategy(run)


def play_peer(run: Run) -> dict[int, Score]:
    """Run one search of another package."""
    chance = derived_seed(run.seed, run.instance.code)
    starts = [] if run.portfolio is None else json.loads(run.portfolio.read_text())["portfolios"][0]["starts"]
    executor = SurrogateExecutor(load(run.surrogate), run.instance, noise=run.noise, seed=chance)
    watch = search_by_peer(run.strategy, executor, starts=starts, seed=chance % 2**31, epochs=max(run.budgets) * EPOCHS)
    return {
        budget: Score(
            regret=run.instance.regret(executor.accuracy_of_pick(budget * EPOCHS)),
            seconds_per_proposal=watch.seconds_per_proposal(budget * EPOCHS),
        )
        for budget in run.budgets
    }


def play_strategy(run: Run) -> dict[int, Score]:
    """Run one search of ours."""
    chance = derived_seed(run.seed, run.instance.code)  # data sets must not share their luck
    space = with_shuffled_tiers(SPACE, seed=chance) if run.shuffle_tiers else SPACE
    name, _, pruner = run.strategy.partition("+")
    search = SearchSpec(
        trials=UNLIMITED,
        strategy=name,
        pruner=pruner or None,
        seed=chance,
        regularisation="always",
        stop=StopSpec(epochs=max(run.budgets) * EPOCHS * (_SEARCHED if run.seconds else 1)),
        portfolio=NO_PORTFOLIO if run.portfolio is None else str(run.portfolio.resolve()),
    )
    spec = SweepSpec(
        study="benchmark", data=DataSpec(source="surrogate"), training=TrainingSpec(epochs=EPOCHS), search=search
    )
    learned = learned_starts(spec, space)
    starts, past = learned.starts if learned else (), past_of(run, chance)
    if run.guess:
        space, past = with_guess(run, space, chance)
    strategy = Timed(open_strategy(spec, space, Direction.MAXIMIZE, learned=starts, past=past))
    executor = SurrogateExecutor(load(run.surrogate), run.instance, workers=run.workers, noise=run.noise, seed=chance)
    Sweep(
        strategy,
        store := MemoryStore(),
        executor,
        folders=lambda number: Path(f"{number}"),
        limits=LimitsSpec(),
        watcher=Watcher(),
        stop=StopRequest(),
    ).run()
    costs = costs_of(run, [record.params for record in store.records()]) if run.seconds else None
    return {
        budget: Score(
            regret=run.instance.regret(executor.accuracy_of_pick(budget * EPOCHS, costs=costs)),
            seconds_per_proposal=strategy.seconds_per_proposal(budget * EPOCHS),
        )
        for budget in run.budgets
    }


def costs_of(run: Run, tried: Sequence[Params]) -> NDArray[np.float64]:
    """Seconds of each configuration's training, in units of a random one's median."""
    surrogate, cube = load(run.surrogate), Cube(SPACE)
    drawn = cube.snap(np.random.default_rng(TIMED).random((TIMED, cube.columns)))
    of_drawn, of_tried = (
        surrogate.predicted(run.instance.code, configurations)[:, -1, 0].astype(float)
        for configurations in ([cube.params(point) for point in drawn], tried)
    )
    return of_tried / float(np.median(of_drawn))


def with_guess(run: Run, space: Space, chance: int) -> tuple[Space, list[Params]]:
    """The space, and what is tried first, where the user guesses every hyperparameter: well, or as badly as can be.

    A good guess lies near the best of many configurations, by an error of a tenth of each range; a bad one is of the
    worst tenth.
    """
    quality, _, sure = run.guess.partition(" ")
    cube, rng = Cube(space), np.random.default_rng([chance, 4])
    points = cube.snap(rng.random((GUESSED, cube.columns)))
    tried = [cube.params(point) for point in points]
    order = np.argsort(load(run.surrogate).predicted(run.instance.code, tried)[:, :, 1].max(axis=1))
    place = order[-1] if quality == "good" else rng.choice(order[: GUESSED // 10])
    error = 0.1 * rng.standard_normal(cube.columns) if quality == "good" else 0.0
    guess = cube.params(cube.snap((points[place] + error)[None])[0])
    if sure == "little":
        return space, [guess]
    return Space(tuple(replace(d, default=guess[d.name]) for d in space)), []


def past_of(run: Run, chance: int) -> list[Params]:
    """The best configurations of studies of other data sets, or of nothing."""
    if not run.past:
        return []
    cube, rng = Cube(SPACE), np.random.default_rng([chance, 3])
    if run.past == "planted":
        return [cube.params(point) for point in cube.snap(rng.random((PAST_STUDIES, cube.columns)))]
    others = [code for code in run.others if code != run.instance.code]
    found = []
    for code in rng.choice(others, size=PAST_STUDIES, replace=False):
        tried = [cube.params(point) for point in cube.snap(rng.random((PAST_TRIALS, cube.columns)))]
        accuracies = load(run.surrogate).predicted(int(code), tried)[:, :, 1].max(axis=1)
        found.append(tried[int(np.argmax(accuracies))])
    return found


def with_shuffled_tiers(space: Space, *, seed: int) -> Space:
    """The same dimensions with each other's tiers."""
    tiers = np.random.default_rng([seed, 1]).permutation([d.tier for d in space])
    dimensions = [replace(d, tier=int(tier)) for d, tier in zip(space, tiers, strict=True)]
    return Space(tuple(sorted(dimensions, key=lambda d: d.tier)))


def summarise(runs: Sequence[Run], scores: Sequence[dict[int, Score]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, median and mean rank over data sets and seeds: {strategy: {budget: {...}}}."""
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    budgets = runs[0].budgets
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in strategies}
    for budget in budgets:
        regrets = {
            name: [s[budget].regret for run, s in zip(runs, scores, strict=True) if run.strategy == name]
            for name in strategies
        }
        ranks = rankdata(np.array([regrets[name] for name in strategies]), axis=0).mean(axis=1)
        for name, rank in zip(strategies, ranks, strict=True):
            seconds = [
                s[budget].seconds_per_proposal for run, s in zip(runs, scores, strict=True) if run.strategy == name
            ]
            table[name][str(budget)] = {
                "mean": statistics.fmean(regrets[name]),
                "median": statistics.median(regrets[name]),
                "standard_error": statistics.pstdev(regrets[name]) / len(regrets[name]) ** 0.5,
                "rank": float(rank),
                "seconds_per_proposal": statistics.fmean(seconds),
            }
    return table


def show(table: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print a line for each strategy and budget."""
    print(f"{'strategy':16} {'FTE':>4} {'mean':>7} {'(se)':>7} {'median':>7} {'rank':>6} {'s/proposal':>11}")
    for name, budgets in table.items():
        for budget, line in budgets.items():
            print(
                f"{name:16} {budget:>4} {line['mean']:7.3f} {line['standard_error']:7.3f} {line['median']:7.3f} "
                f"{line['rank']:6.2f} {line['seconds_per_proposal']:11.4f}"
            )


def play_all(runs: Sequence[Run], *, jobs: int, kept: Path | None = None) -> list[dict[int, Score]]:
    """Run all searches, some at once; a line on stderr now and then says how far they are.

    Those of which the file `kept` has a line are not run again; the others are added to it as they end.
    """
    known = {} if kept is None else read_kept(kept)
    scores = {index: known[key_of(run)] for index, run in enumerate(runs) if key_of(run) in known}
    waiting = [(index, run) for index, run in enumerate(runs) if index not in scores]
    began = told = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for index, score in pool.imap_unordered(_play_numbered, waiting, chunksize=1):
            scores[index] = score
            if kept is not None:
                with kept.open("a") as lines:
                    lines.write(json.dumps(line_of(runs[index], score)) + "\n")
            now = time.monotonic()
            if now - told > SECONDS_BETWEEN_LINES or len(scores) == len(runs):
                told = now
                print(f"{len(scores)} of {len(runs)} searches, {now - began:.0f} s", file=sys.stderr, flush=True)
    return [scores[index] for index in range(len(runs))]


def key_of(run: Run) -> tuple[object, ...]:
    """What tells a search from others in a file of kept scores."""
    portfolio = () if run.portfolio is None else (run.portfolio.name,)
    past = tuple(filter(None, (run.past, run.guess, "seconds" if run.seconds else "")))
    return (
        run.strategy,
        run.instance.name,
        run.seed,
        *run.budgets,
        run.noise,
        run.shuffle_tiers,
        run.workers,
        *portfolio,
        *past,
    )


def line_of(run: Run, score: dict[int, Score]) -> dict[str, object]:
    """A search and its scores as a line of JSON."""
    scores = {str(budget): [s.regret, s.seconds_per_proposal] for budget, s in score.items()}
    return {"run": key_of(run), "scores": scores}


def read_kept(path: Path) -> dict[tuple[object, ...], dict[int, Score]]:
    """The scores of a file of kept scores; none where there is no file yet."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {
        tuple(line["run"]): {
            int(budget): Score(regret=regret, seconds_per_proposal=seconds)
            for budget, (regret, seconds) in line["scores"].items()
        }
        for line in lines
    }


def _play_numbered(numbered: tuple[int, Run]) -> tuple[int, dict[int, Score]]:
    index, run = numbered
    return index, play(run)


def strategy_list(text: str) -> list[str]:
    """Strategies' names, each with `+pruner` where it has one; argparse reports a wrong one."""
    names = text.split(",") if text else []
    for name in names:
        strategy, _, pruner = name.partition("+")
        if strategy not in STRATEGIES:
            raise argparse.ArgumentTypeError(f"{name!r}: the strategies are {', '.join(STRATEGIES)}")
        if pruner and pruner not in PRUNERS:
            raise argparse.ArgumentTypeError(f"{name!r}: the pruners are {', '.join(PRUNERS)}")
    return names


def peer_list(text: str) -> list[str]:
    """Names of other packages' searches; argparse reports a wrong one."""
    names = text.split(",") if text else []
    for name in names:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r}: the peers are {', '.join(PEERS)}")
    return names


def portfolio_for(instance: Instance, given: Path | None) -> Path | None:
    """The portfolio of a data set: of a folder the one that has its name."""
    return given / f"{instance.name}.json" if given is not None and given.is_dir() else given


def main() -> None:
    """Parse the command line, run all searches on all cores, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surrogate", type=Path, required=True, help="folder of model.onnx")
    parser.add_argument("--instances", type=Path, required=True, help="JSON: data set to code")
    parser.add_argument("--reference", type=Path, required=True, help="JSON: data set to best and median values")
    parser.add_argument(
        "--strategies", type=strategy_list, default="priority,tpe,gp,random,tpe+asha,tpe+hyperband,gp+median"
    )
    parser.add_argument("--peers", type=peer_list, default="", help="searches of other packages; one trial at a time")
    parser.add_argument("--budgets", default="5,10,20,40", help="in full trainings of 52 epochs")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="of each trial, as a share of a regret of 1")
    parser.add_argument("--shuffle-tiers", action="store_true")
    parser.add_argument("--workers", type=int, default=1, help="trials trained at once")
    parser.add_argument(
        "--portfolio", type=Path, help="what searches begin with; or a folder, one NAME.json for each data set"
    )
    parser.add_argument("--past", choices=PASTS, default="", help="studies that the search learns from")
    parser.add_argument("--guess", choices=GUESSES, default="", help="what the user guesses, and how sure of it")
    parser.add_argument("--seconds", action="store_true", help="budgets in seconds, not epochs")
    parser.add_argument("--json", type=Path, help="write the summary here")
    parser.add_argument("--keep", type=Path, help="file of each search's scores: those in it are not run again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="searches run at once")
    given = parser.parse_args()
    require_peers(given.peers)
    asked_of_ours = (given.seconds, given.shuffle_tiers, given.past, given.guess, given.workers > 1)
    if given.peers and any(asked_of_ours):
        parser.error("peers know no --seconds, --shuffle-tiers, --past, --guess and --workers")
    runs = [
        Run(
            strategy=strategy,
            instance=instance,
            seed=seed,
            budgets=tuple(sorted(int(b) for b in given.budgets.split(","))),
            noise=given.noise,
            shuffle_tiers=given.shuffle_tiers,
            workers=given.workers,
            surrogate=given.surrogate,
            portfolio=portfolio_for(instance, given.portfolio),
            past=given.past,
            guess=given.guess,
            seconds=given.seconds,
            others=tuple(json.loads(given.instances.read_text()).values()),
        )
        for strategy in [*given.strategies, *given.peers]
        for instance in read_instances(given.instances, given.reference)
        for seed in range(given.first_seed, given.first_seed + given.seeds)
    ]
    table = summarise(runs, play_all(runs, jobs=given.jobs, kept=given.keep))
    show(table)
    if given.json is not None:
        given.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
