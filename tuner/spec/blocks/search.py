"""The `search:`, `finalists:` and `limits:` blocks: which trials are made, and when one, or all, must end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr

from tuner.errors import SweepFileError
from tuner.spec.values import Part, PositiveNumber, PrunerName, Seed, StrategyName, Value, Values

_MOST_TRIALS = 1_000_000
LEARNING_TRIALS = 12
"""Of a search so short `tpe` and `gp` make no more than random draws: a model of fewer brings nothing (measured)."""
_MOST_ROUNDS = 20
"""Each round keeps about a third of a range or more: after twenty, floats no longer tell its ends apart."""


class StopSpec(Part):
    """When to end the search before its trials are used up. A best trial that is paused then is still trained to its
    end."""

    target: float | None = None
    """Stop once the best dev metric is at least as good as this."""
    plateau: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many trials without an improvement larger than the noise of the dev set."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Stop once this many epochs have been trained in all trials together."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after this many seconds of wall-clock time, over all runs of the study."""


class PopulationSpec(Part):
    """How the members of a population learn from one another, with `strategy: population`."""

    interval: Annotated[int, Field(ge=1)] | None = None
    """Epochs between two comparisons; a tenth of the training if left out."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """The share of the members that goes on from where one of the best, as many, is."""
    factors: Annotated[list[PositiveNumber], Field(min_length=1)] = Field(default_factory=lambda: [0.8, 1.2])
    """What each value that may change is multiplied by then, one of these at random; of a momentum its distance from 1,
    and of a list of choices the next or the one before is taken. A value of 0 stays 0."""
    resample: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How probable it is that a value is drawn anew from its range instead."""


class SearchSpec(Part):
    """How configurations are chosen."""

    trials: Annotated[int, Field(ge=1, le=_MOST_TRIALS)] = 64
    """Total number of trials of the study, over all runs, whatever their end."""
    strategy: StrategyName = "priority"
    """`priority`, `staged`, or an Optuna sampler: `tpe`, `gp`, `cmaes`, `qmc`, `random`, `grid`; or
    [`population`](search.md#a-population-that-learns-as-it-trains); or any other by its path, such as
    `optuna.samplers:NSGAIISampler`; or a [plug-in](plugins.md)."""
    arguments: dict[str, Values] = Field(default_factory=dict)
    """Arguments of a sampler that is named by its path, such as `{population_size: 20}`; a strategy of yours finds them
    in its `Request`."""
    pruner: PrunerName | None = None
    """`median`, `asha`, `hyperband` or `none`, or a pruner of Optuna's by its path, such as
    `optuna.pruners:PercentilePruner`; left out: the strategy's own rule."""
    pruner_arguments: dict[str, Values] = Field(default_factory=dict)
    """Arguments of a pruner that is named by its path, such as `{percentile: 25.0}`."""
    seed: Seed = 0
    """Seed of the search and of every trial."""
    trial_seed: Seed | None = None
    """Seed of every trial, instead of one drawn from `seed` and the trial's number: to train one trial over again."""
    regularisation: Literal["on_variance", "always"] = "on_variance"
    """Open weight decay, L1 and dropout when the best trials show variance, or search them from the start."""
    start: list[dict[str, Value]] = Field(default_factory=list)
    """Configurations to try first; parameters left out take their defaults."""
    warm_start: str | None = None
    """An earlier study to learn from: its name, or its folder from the sweep file's. Its trials are not counted (nor
    repeated by `priority`); its data and training must be the same, its space may be another. For the strategies
    `priority`, `tpe` and `gp`."""
    learn_from: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    """Other studies, whatever their data and network, whose best configurations are tried first: a folder of studies
    such as `results/`, or a list of studies. Those that are finished and share hyperparameters with this one count."""
    portfolio: str | None = None
    """Configurations that were learned on other data, to begin with: see docs/search.md. A file of them, from the sweep
    file's folder; `off` for none; left out: `priority` begins with those that come with tuner, where the data are a
    table and they fit. They are brought into the ranges of the space, and take the place of the opening pass."""
    stop: StopSpec | None = None
    """When to end the search early."""
    population: PopulationSpec | None = None
    """With `strategy: population`: how its members, the trials, learn from one another."""
    synchronous: Annotated[int, Field(ge=1)] | None = None
    """Decide on so many trials at a time, such as 8, and only while none trains:
    [the same search from the same seed](search.md#the-same-search-again) on any number of workers and at any speed.
    Workers wait for the slowest of each batch."""
    refine: Annotated[int, Field(ge=0, le=_MOST_ROUNDS)] = 0
    """So many times the space is zoomed around the best trials; each round has an equal share of the trials."""
    _places: Mapping[tuple[str, ...], str] = PrivateAttr(default_factory=dict)
    """Where each argument stands in the sweep file."""

    def at(self, places: Mapping[tuple[str, ...], str]) -> SearchSpec:
        """The same, with the places of its keys."""
        found = self.model_copy()
        found._places = places
        return found

    def refusal(self, key: str, rule: str, *, argument: str | None = None) -> SweepFileError:
        """The error of a sampler or a pruner that cannot be made: `key` is what names it, or holds its arguments."""
        path = (key,) if argument is None else (key, argument)
        place = self._places.get(path, "the sweep file")
        return SweepFileError([f"{place}: search.{'.'.join(path)}: {rule}"])


class FinalistsSpec(Part):
    """Training the best trials again on fresh seeds, since the best of many is partly luck."""

    count: Annotated[int, Field(ge=1)] = 5
    """How many of the best trials."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """Fresh seeds for each."""


class LimitsSpec(Part):
    """When a trial, or the sweep, is given up."""

    trial_seconds: Annotated[float, Field(gt=0)] | None = None
    """A trial that has trained longer fails with reason `timeout`."""
    stall_seconds: Annotated[float, Field(gt=0)] = 600.0
    """A trial that does no step for so long, or whose own code reports nothing, fails with reason `stalled`.

    A worker that loads for so long ends the run."""
    consecutive_failures: Annotated[int, Field(ge=1)] = 3
    """So many trials in a row that fail in the same way stop the sweep (exit code 7). Divergence does not count."""
    retries: Annotated[int, Field(ge=0)] = 1
    """How often a trial whose process was killed is continued from its checkpoint."""
