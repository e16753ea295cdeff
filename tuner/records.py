"""The values that cross layers: frozen, picklable, standard library only.

A *trial* is one configuration of hyperparameters. All training work is a `TrialJob`: advance a trial to an
epoch. An executor answers with `TrialEvent`s; the store folds them into `TrialRecord`s; strategies and reports
read nothing but records.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

ParamValue: TypeAlias = bool | int | float | str
Params: TypeAlias = Mapping[str, ParamValue]
Json: TypeAlias = Any
"""A value that `json.dumps` accepts."""
TaskKind: TypeAlias = Literal["classification", "multi_label", "regression"]


FINALIST = "finalist"
"""The tier of a finalist's re-training."""
ON_A_PART = "part of the training examples"
"""The tier of a training on a part of the training examples, of which a learning curve is made."""


class Direction(StrEnum):
    """Whether larger or smaller values of the objective's dev metric are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def sign(self) -> float:
        """What values are multiplied by so that larger is better."""
        return 1.0 if self is Direction.MAXIMIZE else -1.0

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`; a NaN is never better."""
        return a > b if self is Direction.MAXIMIZE else a < b

    @property
    def worst(self) -> float:
        """The value that every finite value is better than."""
        return self.sign * float("-inf")


class TrialState(StrEnum):
    """Where a trial stands. COMPLETE, PRUNED and FAILED are final."""

    RUNNING = "running"
    """An executor is advancing it (or was, when the last run ended without a word)."""
    PAUSED = "paused"
    """It reached the epoch it was sent to; the strategy decides whether it goes on."""
    COMPLETE = "complete"
    """Trained to its last epoch, or stopped early by its own early stopping."""
    PRUNED = "pruned"
    """Given up by the strategy before its last epoch."""
    FAILED = "failed"
    """Ended by an error, a divergence or a killed process; `reason` says which."""

    @property
    def final(self) -> bool:
        return self not in (TrialState.RUNNING, TrialState.PAUSED)


SPENT_SECONDS = "spent_seconds"
"""The fact of a trial that failed which holds its seconds up to then."""


TRAIN_DEV_METRIC = "train_dev_metric"
"""The fact of a finished trial that holds its metric on the train-dev part."""
PART_METRIC = "part_metric"
"""The fact of a training on a part of the training examples that holds its metric on these."""


PHASES = "phases"
"""The fact of a trial that holds its phases, each with those values alone that it changed."""


class FailureReason(StrEnum):
    """Why a trial failed; the first word of its record's `reason`."""

    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"
    """Its network breaks a constraint on what is known before training, so that it was not trained."""
    ERROR = "error"
    KILLED = "killed"
    EXITED = "exited"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    NO_REPORT = "no report"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedTrial:
    """A trial's trained network, as any process can load it."""

    trial: int
    params: Params
    weights: Path
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataInfo:
    """Facts about a data set that models, reports and the diagnosis need."""

    task: TaskKind
    input_shape: tuple[int, ...]
    """Of one example: (features,), or (channels, height, width)."""
    num_outputs: int
    """Classes, labels, or regression targets."""
    num_train: int
    """With folds, that each network is trained on."""
    num_dev: int
    """With folds, of all of them together."""
    num_test: int
    """Examples set aside for `tuner test`; they are counted, never loaded into a `TrainingData`."""
    num_train_dev: int = 0
    """Training examples that nothing is trained on, to tell variance from a mismatch of train and dev; mostly 0."""
    folds: int = 0
    """Networks of a cross-validated trial, those of all repeats; 0 if there is one dev set."""
    repeats: int = 1
    """So many times the examples are shared out to folds: each is a dev example as often."""
    pooled: bool = False
    """Whether the training examples are those of train and dev together, as where the winner is trained once more."""
    dev_apart: bool = False
    """Whether the dev examples are given apart, and not drawn from those that are split."""
    class_names: tuple[str, ...] = ()
    """Of the classes, or of the labels; empty for regression."""
    feature_names: tuple[str, ...] = ()
    num_numbers: int = 0
    """Of a table, how many of the features are numbers; they come first."""
    target_names: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    """Of each regression target over the training examples, in its own units; empty for classification."""
    target_std: tuple[float, ...] = ()
    """Of each regression target over the training examples, in its own units; empty for classification."""
    dev_in_train: int = 0
    """Dev examples whose inputs equal those of a training example."""
    test_in_train: int = 0
    """Test examples whose inputs equal those of a training example."""
    test_in_dev: int = 0
    """Test examples whose inputs equal those of a dev example."""
    train_dev_auroc: float | None = None
    """Cross-validated AUROC of a classifier that tells dev from train examples, where that is well above chance."""
    sha256: str = ""
    """Of the train and dev examples as read and split, before normalisation, so that a study notices when its data
    changes; the same on every machine."""
    test_sha256: str | None = None
    """The same of the test examples; None if there are none."""
    notes: tuple[str, ...] = ()
    """What the preparation did that a user should know: filled values, dropped rows, overlaps, imbalance."""
    columns: str = ""
    """What is predicted from what, in words; empty where the columns have no names."""
    telling_columns: tuple[str, ...] = ()
    """Inputs that tell the target of nearly every example by themselves, so that they may be known only with it."""

    if not TYPE_CHECKING:  # a name that is not there is mypy's to find in our own code

        def __getattr__(self, name: str) -> NoReturn:
            """A user's factory that asks for another name hears which there are."""
            raise AttributeError(f"the data have no {name!r}; they have: {', '.join(type(self).__dataclass_fields__)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """What one finished epoch of one trial measured.

    Losses are means per example. Metrics are in the objective's own units (accuracy 0..1). The training loss
    and metric are measured like the dev ones: after the epoch, dropout off, on training examples.
    """

    epoch: int
    """Number of finished epochs, from 1; 0 in a curve file is what own training code measured before its first step."""
    train_loss: float
    dev_loss: float
    train_metric: float
    dev_metric: float
    learning_rate: float
    """The learning rate of the epoch's last step."""
    seconds: float
    """Training and evaluation seconds of the trial so far: its share of the cohort's wall time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A part of the training examples to train on."""

    share: float
    """Of the examples, above 0 up to 1; all parts of a draw hold the smaller ones."""
    draw: int
    """Which of the ways to draw them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A part of a training, from an epoch on, with values of its own."""

    from_epoch: int
    """Finished epochs when it begins."""
    params: Params
    """The values that differ from those of the trial, or all of them."""
    trial: int
    """Which trial trained it: a trial that went on from where another was has that one's phases before its own."""


Past: TypeAlias = tuple[tuple[int, Params], ...]
"""What a training was trained with so far: the epochs after which values came to count, and these, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialJob:
    """Advance one trial to an epoch, from its last checkpoint if it has one."""

    trial: int
    params: Params
    seed: int
    """Every random number of the trial is a pure function of this seed and of where it is used."""
    to_epoch: int
    """Stop after this many finished epochs (earlier when early stopping or the last epoch says so)."""
    folder: str
    """Absolute path of the trial's own folder: see `tuner.paths.TrialPaths`."""
    name: str = ""
    """How people are told of it; `trial 3` unless given."""
    is_whole: bool = False
    """Whether the trial is done at that epoch, though its schedule is laid out over more."""
    part: Part | None = None
    """Of the training examples that it sees, over and over in as many steps as all would take; None: all of them."""
    phases: tuple[Phase, ...] = ()
    """Those of its training, from epoch 0 on, each with what differs from `params`; empty if these never change."""
    stays: bool = False
    """Whether the process that trains it will soon be sent on with it, and is the only one."""

    def params_after(self, epoch: int) -> Params:
        """The values that it goes on with after so many epochs."""
        own = next((p.params for p in reversed(self.phases) if p.from_epoch <= epoch), {})
        return {**self.params, **own}

    def past(self, epoch: int, step: int = 0) -> Past:
        """What it is trained with up to a step of the epoch after this one."""
        if not self.phases:
            return ((0, dict(self.params)),)
        begun = (p for p in self.phases if p.from_epoch < max(1, epoch + (step > 0)))
        return tuple((p.from_epoch, {**self.params, **p.params}) for p in begun)

    @property
    def shown(self) -> str:
        return self.name or f"trial {self.trial}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStarted:
    """A worker has taken the job up."""

    trial: int
    worker: str
    device: str
    path: str
    """How it is trained: `stacked`, `vmap` or `plain`."""
    cohort_width: int
    from_epoch: int
    """Finished epochs in the checkpoint that it continues from; 0 for a fresh start."""
    num_parameters: int
    from_step: int = 0
    """Steps of the next epoch that are in the checkpoint too."""
    code: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the user's code that trains it, by path."""
    anew: bool = False
    """What was reported of it before does not count: it was trained in a way that was wrong, or is no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochsFinished:
    """Progress: epochs that finished since the last event of this trial, in order."""

    trial: int
    results: tuple[EpochResult, ...]
    kept: EpochResult | None = None
    """The epoch whose weights are kept so far; None: that of the best dev metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialPaused:
    """The trial has finished `epoch` epochs, as asked; its checkpoint is on disk, or rests with who trained it."""

    trial: int
    epoch: int
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFinished:
    """The trial is trained; the kept epoch's weights and dev predictions are on disk."""

    trial: int
    reason: str
    """`all epochs`, `early stopping at epoch 17` or what the user's own loop said."""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialFailed:
    """The trial cannot go on."""

    trial: int
    reason: FailureReason
    message: str
    traceback: str = ""
    retryable: bool = False
    """Whether the cause lies outside the trial (a killed process), so that going on from the checkpoint may help."""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialInterrupted:
    """The sweep was asked to stop: the trial goes on from its last checkpoint, if it has one."""

    trial: int


TrialEvent: TypeAlias = TrialStarted | EpochsFinished | TrialPaused | TrialFinished | TrialFailed | TrialInterrupted


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """All that is known of one trial, at one moment."""

    number: int
    params: Params
    seed: int | None
    """None for a trial that plain Optuna made."""
    state: TrialState
    tier: str = ""
    """The part of the search that proposed it: `default`, `tier 1` .. `tier 3`, `regularisation`, `all`, `start`."""
    reason: str = ""
    """Why it ended, in words; for FAILED it begins with a `FailureReason`."""
    to_epoch: int = 0
    """The epoch that it was last sent to."""
    rungs: tuple[tuple[int, float], ...] = ()
    """(finished epochs, dev metric of `best` so far) at each epoch where an advance ended, in order."""
    best: EpochResult | None = None
    """The epoch whose weights are kept so far, which ranks it: that with the best dev metric (the first of equals), or
    which `early_stopping.restore_best` says."""
    last: EpochResult | None = None
    num_parameters: int = 0
    attempts: int = 0
    """How often a worker took it up."""
    started: str = ""
    """UTC, ISO 8601, when it was created."""
    ended: str = ""
    """UTC, ISO 8601, when its state became final."""
    facts: Mapping[str, Json] = field(default_factory=dict)
    """Further facts by name, JSON values: gradient norms, share of dead units, training path, device."""

    @property
    def name(self) -> str:
        """How people are told of it: `trial 3`, or `finalist 35, seed 2 of 3` for a re-training of trial 35."""
        if self.tier not in (FINALIST, ON_A_PART):
            return f"trial {self.number}"
        seed, seeds = self.facts.get("repeat"), self.facts.get("repeats")
        of_seeds = f", seed {seed} of {seeds}" if seed and seeds else ""
        if self.part is not None:
            return f"{100 * self.part.share:g} % of the training examples{of_seeds}"
        return f"finalist {self.facts.get('repeat_of')}{of_seeds}"

    @property
    def part(self) -> Part | None:
        """The part of the training examples that it is trained on; None: all of them."""
        share, draw = self.facts.get("train_share"), self.facts.get("repeat")
        if self.tier != ON_A_PART or not isinstance(share, int | float) or not isinstance(draw, int):
            return None
        return Part(share=float(share), draw=draw)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Those of its training, from epoch 0 on; empty where its values never changed."""
        return phases_of(self.facts.get(PHASES, ()))

    @property
    def is_ours(self) -> bool:
        """Whether tuner trained it, and so knows its epochs, its size and its seed."""
        return self.seed is not None

    @property
    def has_epochs(self) -> bool:
        """Whether its epochs are known: a trial of plain Optuna's has those that it reported, or none."""
        return self.is_ours or len(self.rungs) > 1

    @property
    def unsaved(self) -> str | None:
        """What its network answered with besides its weights, and no file holds."""
        found = self.facts.get("unsaved")
        return found if isinstance(found, str) else None

    @property
    def objectives(self) -> Mapping[str, float]:
        """What was measured beside the metric, by name, for further objectives and for constraints."""
        found = self.facts.get("objectives")
        return found if isinstance(found, Mapping) else {}

    @property
    def violation(self) -> float:
        """By how much it breaks the constraints, in shares of their bounds; 0 if it keeps them."""
        found = self.facts.get("violation")
        return float(found) if isinstance(found, int | float) else 0.0

    @property
    def train_dev_metric(self) -> float | None:
        """Of its best epoch, on training examples that it was not trained on; None where none are held out."""
        found = self.facts.get(TRAIN_DEV_METRIC)
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else None

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return self.last.epoch if self.last else 0

    @property
    def seconds(self) -> float:
        """Training and evaluation seconds spent on it, with those of an epoch that a failure cut short if known."""
        spent = self.facts.get(SPENT_SECONDS)
        trained = self.last.seconds if self.last else 0.0
        return max(trained, float(spent)) if isinstance(spent, int | float) else trained

    @property
    def value(self) -> float | None:
        """The dev metric that ranks it, of `best`; None before the first epoch."""
        return self.best.dev_metric if self.best else None


def phases_as_fact(phases: Sequence[Phase]) -> list[Json]:
    """Phases as the fact `PHASES`."""
    found: list[Json] = []
    before: Params = {}
    for phase in phases:
        values = {name: value for name, value in phase.params.items() if before.get(name) != value}
        found.append({"from_epoch": phase.from_epoch, "trial": phase.trial, "values": values})
        before = phase.params
    return found


def phases_of(fact: Json) -> tuple[Phase, ...]:
    """The inverse of `phases_as_fact`."""
    found: list[Phase] = []
    params: dict[str, ParamValue] = {}
    for part in fact:
        params = {**params, **part["values"]}
        found.append(Phase(from_epoch=part["from_epoch"], params=params, trial=part["trial"]))
    return tuple(found)
