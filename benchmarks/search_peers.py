"""Searches of other packages in the harness of `search_quality.py`: one adapter each, which asks and tells.

All search the ranges of `surrogate.SPACE`, on its scales, one trial at a time. A trial that goes on pays for the epochs
that are missing, whether or not the package would train it again from the start. They are told the best dev accuracy of
the trial so far, which is what our strategies see. The default configuration comes first, as it does for ours, and a
portfolio's configurations next; PriorBand has the default for its prior and knows no others.

Where a package lets them be chosen, rungs are those of `priority`: 6, 17 (18 in Syne Tune) and 52 epochs. SMAC draws no
first configurations by chance, which it would put before the default: on nine data sets that was .332 and .297 for .349
and .299 at 5 and 10 full trainings. Everything else is left as the package has it.
"""

from __future__ import annotations

import datetime
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, Protocol

from surrogate import EPOCHS, SPACE, SurrogateExecutor
from timed import Stopwatch

from tuner.records import EpochsFinished, Params, ParamValue, TrialJob
from tuner.spec.space import Dimension

ACCURACY, EPOCH = "accuracy", "epoch"
LEAST_EPOCHS = 6
"""Of the first rung."""
FACTOR = 3
"""Of which one goes on at each rung."""
DYHPO_STEP = 4
"""Epochs between two decisions on a trial of DyHPO. One by one, as its authors have it, it is dearer and was worse."""
SMAC_TRIALS = 3
"""That SMAC is told to expect for each full training of the budget: as many as Hyperband has at these rungs."""
_APART = "_below_1"
"""Added to the name of a hyperparameter on the scale of 1 - x, which none has: they see 1 - x on a log scale."""


class SpentError(Exception):
    """The budget of epochs is used up."""


class Training:
    """Trains what a peer asks for, until the budget is spent, and takes the time that it thinks."""

    def __init__(self, executor: SurrogateExecutor, *, epochs: int) -> None:
        self.watch = Stopwatch()
        self.epochs = epochs
        self._executor = executor
        self._spent = 0
        self._trials: dict[tuple[ParamValue, ...], int] = {}
        self._best: defaultdict[int, list[float]] = defaultdict(list)
        """The best dev accuracy so far after each epoch, of each trial."""

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """Around what a peer decides."""
        with self.watch.running():
            yield
        self.watch.decided(epochs=self._spent, started=len(self._trials) + 1)

    def train(self, params: Params, *, to_epoch: int) -> float:
        """The best dev accuracy of a configuration up to an epoch; what was trained before is not trained again.

        Raises:
            SpentError: no epoch of the budget is left.
        """
        if self._spent >= self.epochs:
            raise SpentError
        number = self._trials.setdefault(tuple(params[name] for name in SPACE.names), len(self._trials))
        best = self._best[number]
        if len(best) < to_epoch:
            self._executor.submit([TrialJob(trial=number, params=params, seed=0, to_epoch=to_epoch, folder="")])
            for event in self._executor.events(0.0):
                for result in event.results if isinstance(event, EpochsFinished) else ():
                    best.append(max([result.dev_metric, *best[-1:]]))
                    self._spent += 1
        return best[to_epoch - 1]


class Search(Protocol):
    """An adapter: asks, trains and tells until the budget is spent."""

    def __call__(self, training: Training, *, starts: Sequence[Params], seed: int) -> NoReturn: ...


def to_peer(d: Dimension, value: ParamValue) -> tuple[str, float]:
    """A value under the name, and on the scale, that peers have for it."""
    return (d.name + _APART, 1 - float(value)) if d.scale == "log1m" else (d.name, value)


def as_peers_see(params: Params) -> dict[str, float]:
    """A configuration by the names of peers."""
    return dict(to_peer(d, params[d.name]) for d in SPACE)


def as_ours(values: Mapping[str, Any]) -> Params:
    """A peer's configuration by our names; other keys are left out."""
    found = {d.name: 1 - values[d.name + _APART] if d.scale == "log1m" else values[d.name] for d in SPACE}
    return {d.name: int(found[d.name]) if d.kind == "int" else float(found[d.name]) for d in SPACE}


@dataclass(frozen=True, kw_only=True)
class Range:
    """A dimension as peers have it."""

    name: str
    low: float
    high: float
    log: bool
    whole: bool
    default: float


def ranges() -> list[Range]:
    """The space as peers have it."""
    found = []
    for d in SPACE:
        (name, one), (_, other), (_, default) = (to_peer(d, value) for value in (d.low, d.high, d.default))
        whole = d.kind == "int"
        low, high = sorted((int(one), int(other)) if whole else (one, other))
        found.append(
            Range(name=name, low=low, high=high, log=d.scale in ("log", "log1m"), whole=whole, default=default)
        )
    return found


def smac(training: Training, *, starts: Sequence[Params], seed: int) -> NoReturn:
    """SMAC3's multi-fidelity facade: random forests in Hyperband (arXiv 2109.09831)."""
    from ConfigSpace import Configuration, ConfigurationSpace, Float, Integer
    from smac import MultiFidelityFacade, Scenario
    from smac.runhistory import TrialValue

    space = ConfigurationSpace(seed=seed)
    space.add(
        [(Integer if r.whole else Float)(r.name, (r.low, r.high), log=r.log, default=r.default) for r in ranges()]
    )
    with tempfile.TemporaryDirectory(prefix="smac-") as folder:
        scenario = Scenario(
            space, output_directory=folder, deterministic=True, seed=seed,
            min_budget=EPOCHS / FACTOR**2, max_budget=EPOCHS, n_trials=SMAC_TRIALS * training.epochs // EPOCHS,
        )  # fmt: skip
        first = [Configuration(space, values=as_peers_see(params)) for params in [SPACE.default(), *starts]]
        design = MultiFidelityFacade.get_initial_design(scenario, n_configs=0, additional_configs=first)
        with training.thinking():
            facade = MultiFidelityFacade(
                scenario, lambda config, seed, budget: 0.0, initial_design=design, overwrite=True, logging_level=False
            )
        while True:
            with training.thinking():
                asked = facade.ask()
            accuracy = training.train(as_ours(dict(asked.config)), to_epoch=round(asked.budget))
            with training.thinking():
                facade.tell(asked, TrialValue(cost=1 - accuracy), save=False)


def syne_tune(training: Training, *, starts: Sequence[Params], seed: int, scheduler: str) -> NoReturn:
    """A model-based scheduler of Syne Tune that pauses trials and goes on with them.

    All by Gaussian processes: MOBSTER (arXiv 2003.10865), Hyper-Tune (arXiv 2201.06834), and DyHPO (arXiv 2202.09774)
    as Syne Tune has it, which promotes a quarter by successive halving.
    """
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import lograndint, loguniform, randint, uniform
    from syne_tune.optimizer import legacy_baselines
    from syne_tune.optimizer.scheduler import SchedulerDecision

    kinds = {(True, True): lograndint, (True, False): randint, (False, True): loguniform, (False, False): uniform}
    space = {r.name: kinds[r.whole, r.log](r.low, r.high) for r in ranges()} | {"epochs": EPOCHS}
    rungs: dict[str, Any] = {"type": "promotion", "grace_period": LEAST_EPOCHS, "reduction_factor": FACTOR}
    if scheduler == "DyHPO":
        rungs = {"grace_period": DYHPO_STEP, "rung_increment": DYHPO_STEP}
    chosen = getattr(legacy_baselines, scheduler)(
        space, metric=ACCURACY, resource_attr=EPOCH, mode="max", max_resource_attr="epochs", random_seed=seed % 2**31,
        points_to_evaluate=[as_peers_see(params) for params in [SPACE.default(), *starts]],
        search_options={"debug_log": False}, **rungs,
    )  # fmt: skip
    trials: list[Trial] = []
    reached: dict[int, int] = {}
    while True:
        with training.thinking():
            asked = chosen.suggest(len(trials))
            if asked.spawn_new_trial_id:
                trials.append(Trial(len(trials), asked.config, datetime.datetime.now()))
                chosen.on_trial_add(trials[-1])
            trial = trials[-1] if asked.spawn_new_trial_id else trials[asked.checkpoint_trial_id]
            if asked.config is not None:  # says to which epoch it trains, too
                trial = trials[trial.trial_id] = replace(trial, config=asked.config)
        decision = SchedulerDecision.CONTINUE
        while decision == SchedulerDecision.CONTINUE and reached.get(trial.trial_id, 0) < EPOCHS:
            epoch = reached[trial.trial_id] = reached.get(trial.trial_id, 0) + 1
            result = {EPOCH: epoch, ACCURACY: training.train(as_ours(trial.config), to_epoch=epoch)}
            with training.thinking():
                decision = chosen.on_trial_result(trial, result)
        with training.thinking():
            if epoch == EPOCHS:
                chosen.on_trial_complete(trial, result)
            else:
                chosen.on_trial_remove(trial)


def priorband(training: Training, *, starts: Sequence[Params], seed: int) -> NoReturn:
    """NePS's PriorBand (arXiv 2306.12370): Hyperband that draws around the prior and around the best."""
    import neps
    import numpy as np
    import torch

    del starts  # it takes one prior
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    parts = {
        r.name: (neps.HPOInteger if r.whole else neps.HPOFloat)(r.low, r.high, log=r.log, prior=r.default)
        for r in ranges()
    }
    space = neps.SearchSpace({**parts, EPOCH: neps.HPOInteger(LEAST_EPOCHS, EPOCHS, is_fidelity=True)})
    asking = neps.AskAndTell(neps.algorithms.priorband(space, eta=FACTOR, sample_prior_first=True))
    while True:
        with training.thinking():
            asked = asking.ask()
        accuracy = training.train(as_ours(asked.config), to_epoch=int(asked.config[EPOCH]))
        with training.thinking():
            asking.tell(asked, 1 - accuracy)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A search, and what it needs to be installed."""

    search: Search
    package: str
    needs: str
    """For `pip install`."""


_SYNE_TUNE = "syne-tune[gpsearchers]==0.14.2"
"""The last one that has them: 0.15 and newer have neither of the three."""
PEERS: dict[str, Peer] = {
    "smac": Peer(search=smac, package="smac", needs="tuner[peers]"),
    "mobster": Peer(search=partial(syne_tune, scheduler="MOBSTER"), package="syne_tune", needs=_SYNE_TUNE),
    "hypertune": Peer(search=partial(syne_tune, scheduler="HyperTune"), package="syne_tune", needs=_SYNE_TUNE),
    "dyhpo": Peer(search=partial(syne_tune, scheduler="DyHPO"), package="syne_tune", needs=_SYNE_TUNE),
    "priorband": Peer(search=priorband, package="neps", needs="neural-pipeline-search==0.17.0"),
}


def require_peers(names: Sequence[str]) -> None:
    """End the program, with the line that helps, if a package is missing."""
    for name in names:
        if importlib.util.find_spec(PEERS[name].package) is None:
            sys.exit(f'{name} is not installed here; run: pip install "{PEERS[name].needs}"')


def search_by_peer(
    name: str, executor: SurrogateExecutor, *, starts: Sequence[Params], seed: int, epochs: int
) -> Stopwatch:
    """Let a peer search for so many epochs; the executor knows what it has trained."""
    training = Training(executor, epochs=epochs)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            PEERS[name].search(training, starts=starts, seed=seed)
        except SpentError:
            return training.watch
