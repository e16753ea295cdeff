"""Which jobs train together, where, and how long that takes; without torch."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from math import prod
from statistics import median

from tuner.execute.facts import TaskFacts
from tuner.execute.sizes import common_values
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.execute.widths import FIRST_AHEAD, Footprint, Widths
from tuner.models.layers.widths import by_windows
from tuner.records import ParamValue, TrialJob
from tuner.search.strategy import Cohorts
from tuner.spec.by_layer import hidden_widths
from tuner.spec.defaults import batch_examples, build_space, settings_for
from tuner.spec.known.networks import DESCRIBED
from tuner.spec.known.strategies import known_strategy
from tuner.spec.model import SweepSpec
from tuner.spec.values import is_own
from tuner.train.measure.portions import evaluation_rows
from tuner.train.programs.fusion import MIXED, PER_TRIAL, SIZES, fusion_key

MAX_WIDTH_CPU = 16
"""Wider stacks gain nothing on a CPU: the state of more trials no longer fits the cache of a core."""
MAX_WIDTH_GPU = 256
"""An upper end for the smallest networks; the others are limited by memory (`tuner.execute.widths`)."""
_SCRATCH = 1.5
"""Times what layers give: libraries copy on the way."""
LEAST_ROOM = 1
"""Jobs for each worker, however long they take: what it trains. What is next is decided when that has ended, from all
that is known by then, which is worth more to a search than the moment that the worker waits."""
FIRST_ROOM = 3
"""The same before it is known how long jobs take."""
AHEAD_SECONDS = 0.3
"""Training that a worker of a CPU should have before it: enough to fill its cohorts where trials are short."""
_ROUNDS = 4
"""So many times at least a search that learns is asked on an accelerator: asked for 64 trials at once, one of 64 trials
decides nearly all of them by the first epochs of ten (`docs/search.md`)."""
_WIDER = 4 / 3
"""Cohorts that a search starts whole are as wide as the root of the number of its trials times this: 9 of 64, 18 of
256. On LCBench 8 of 64 trials had a regret of .037, 9 of .044, 10 and 12 of .051, 18 of 256 .017, 16 of them .022."""
_LEAST_COHORT = 4
"""Of fewer trials a search learns more one by one."""
_SHARE_OF_COHORT = 1 / 3
"""A search starts whole cohorts where one takes at most so much of the time of its trials one by one, even of the
largest networks: it trains all of them in full, and without cohorts about a third of all epochs."""
_REMEMBERED_JOBS = 8
"""So few that the median follows when the search comes to longer trainings."""
_STATE_BYTES_CPU = 24 * 2**20
"""A cohort's parameters, gradients, moments and best weights stay within about so much on a CPU."""
_COHORT_BYTES_CPU = 2**27
"""With what its layers give as well: more members then gain nothing over one another, and cost their memory."""
_STATE_COPIES = 5
"""Of the parameters: themselves, gradients, two moments, the best weights."""
_OPERATIONS_PER_LAYER = 14
_OPERATIONS_PER_STEP = 16
"""Small operations of a training step, about: each costs the overhead that was measured at the start. On the estimate
rest what `tuner check` says and which group goes first, no more."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Jobs that are trained together."""

    jobs: tuple[PlannedJob, ...]
    seconds: float
    """Estimated, on one worker."""


class Planner:
    """Groups jobs by fusion key and chooses the widths of cohorts."""

    def __init__(self, spec: SweepSpec, facts: TaskFacts, *, num_workers: int) -> None:
        self.spec = spec
        self.facts = facts
        self.num_workers = num_workers
        self.on_accelerator = not facts.device.startswith("cpu")
        self.widths = Widths(
            all_fused=DESCRIBED.issuperset(spec.model.kinds), room_bytes=facts.calibration.get("room_bytes")
        )
        """What was found out on an accelerator; on a CPU it is not asked."""
        self._limit: dict[Hashable, int] = {}
        self._job_seconds: deque[float] = deque(maxlen=_REMEMBERED_JOBS)
        self._mixes_sizes = facts.device.startswith("cuda")
        """Whether networks of several sizes train as one: what they are padded by costs a CPU as much as what it
        computes, and a GPU hardly anything, where it waits for the launches of small operations."""
        self.folds = max(1, int(facts.data.get("folds", 0)))
        """Networks of each trial."""

    def describe(self, job: TrialJob) -> PlannedJob:
        """A job, with its fusion key and what it will take."""
        if self.spec.loop is not None:
            return PlannedJob(job, None, {}, self._seconds({}, epochs=job.to_epoch, width=1))
        if self._changes_values and self.num_workers == 1 and job.part is None:
            job = replace(job, stays=True)
        values = settings_for(self.spec, job.params)
        seconds = self._seconds(values, epochs=job.to_epoch, width=1)
        return PlannedJob(job, fusion_key(self.spec, values, mixes_sizes=self._mixes_sizes), values, seconds)

    def _largest(self) -> PlannedJob:
        """The largest network that is searched, with all else at its default."""
        space = build_space(self.spec)
        sizes = [d for d in space if d.name in SIZES]
        each = product(*(d.choices or (d.from_unit(1.0),) for d in sizes))
        params = [{**space.default(), **dict(zip((d.name for d in sizes), own, strict=True))} for own in each]
        jobs = [TrialJob(trial=0, params=own, seed=0, to_epoch=1, folder="") for own in params]
        return max(map(self.describe, jobs), key=lambda planned: self.num_parameters(planned.values))

    @property
    def _is_alone(self) -> bool:
        """Whether trials are never trained together."""
        return (
            self.spec.training.fuse == "off"
            or self.spec.loop is not None
            or is_own(self.spec.training.loss)
            or is_own(self.spec.training.optimizer)
        )

    @property
    def _changes_values(self) -> bool:
        """Whether trials are sent on every few epochs, with values that may be others."""
        return known_strategy(self.spec.search.strategy).changes_values

    def too_wide(self, key: Hashable, width: int) -> None:
        """A cohort of this width ran out of memory: the next ones of its key are at most half as wide."""
        self._limit[key] = max(1, width // 2)

    def note_footprint(self, cohort: Sequence[PlannedJob], found: Footprint) -> None:
        """A worker has measured the memory of a cohort."""
        shape = common_values(cohort)
        estimated = self.folds * self.num_bytes(shape)
        self.widths.note_footprint((cohort[0].key, hidden_widths(shape)), found, estimated_bytes=estimated)

    def max_width(self, *cohort: PlannedJob) -> int:
        """The most trials that a cohort with these may have, and with others that are no larger."""
        if self._is_alone:
            return 1
        planned, shape = cohort[0], common_values(cohort)
        if self.on_accelerator:
            estimated = self.folds * self.num_bytes(shape)
            found = self.widths.most(planned.key, (planned.key, hidden_widths(shape)), estimated_bytes=estimated)
            width = MAX_WIDTH_GPU if found is None else min(MAX_WIDTH_GPU, found * self.folds)
        else:
            state = self.num_parameters(planned.values) * 4 * _STATE_COPIES
            fitting = min(_STATE_BYTES_CPU / max(state, 1), _COHORT_BYTES_CPU / self.num_bytes(planned.values))
            width = max(1, min(MAX_WIDTH_CPU, int(fitting)))
        return min(max(1, width // self.folds), self._limit.get(planned.key, width))

    @property
    def most_room(self) -> int:
        """How many jobs fill the cohorts of a worker."""
        if self._is_alone:
            return LEAST_ROOM
        return max(1, (MAX_WIDTH_GPU if self.on_accelerator else MAX_WIDTH_CPU) // self.folds)

    @cached_property
    def cohorts(self) -> Cohorts | None:
        """In which groups a search should start trials; None where it does better by looking at each."""
        search = self.spec.search
        is_ours = search.strategy == "priority" and search.pruner is None and not search.synchronous
        size = math.isqrt(round(_WIDER * search.trials))
        if not is_ours or size < _LEAST_COHORT or self._is_alone or not self._mixes_sizes:
            return None
        if not MIXED.issuperset(self.spec.model.kinds):
            return None
        largest = self._largest()
        together = self._seconds(largest.values, epochs=largest.job.to_epoch, width=size)
        if size > self.max_width(largest) or together > _SHARE_OF_COHORT * size * largest.seconds:
            return None
        return Cohorts(size, frozenset(build_space(self.spec).names) - PER_TRIAL - SIZES)

    @property
    def _decides_blindly(self) -> bool:
        """Whether the search loses nothing by deciding before it has seen results."""
        search = self.spec.search
        rules = search.pruner not in (None, "none") or search.stop is not None or search.refine > 0
        return known_strategy(search.strategy).is_blind and not rules

    @property
    def room_per_worker(self) -> int:
        """How many jobs a worker should have, those in training and those waiting for it.

        On an accelerator enough to fill its cohorts as far as shapes are shared, for a wide one takes hardly longer
        than a narrow one; but no more than a part of the study, so that the search learns from each. A CPU gains by
        wide cohorts only where trials are so short that their start counts; where they are longer, asking far ahead
        would only let the search decide before it has seen results. Members of a population wait for one another.
        """
        if self._is_alone or self._changes_values:
            return self.most_room
        if self.cohorts is not None:
            return self.cohorts.size
        if self.on_accelerator:
            ahead = self.widths.ahead(first=FIRST_ROOM, least=LEAST_ROOM)
            if ahead > FIRST_ROOM and self._decides_blindly:
                return self.most_room
            share = -(-self.spec.search.trials // (_ROUNDS * self.num_workers))
            return min(self.most_room, ahead, max(FIRST_AHEAD, share))
        if not self._job_seconds:
            return min(self.most_room, FIRST_ROOM)
        ahead = int(AHEAD_SECONDS / max(median(self._job_seconds), 1e-6))
        return min(self.most_room, max(LEAST_ROOM, ahead))

    def note_seconds(self, seconds: float) -> None:
        """A trial has taken so long to where it was sent: its share of the wall time of its cohorts."""
        self._job_seconds.append(seconds)

    def next_cohort(self, pending: Waiting, *, idle: int) -> Cohort | None:
        """The jobs that an idle worker should take: of the group with the most work left, an even share.

        With few groups a group is shared among the idle workers; with many, or where whole cohorts are asked for,
        groups go to workers whole.

        Args:
            pending: The jobs that nobody has.
            idle: How many workers have nothing to do, the one that asks included.
        """
        if not pending:
            return None
        group = pending.with_most_work()
        is_whole = pending.num_groups >= 2 * idle or self.cohorts is not None
        share = len(group) if is_whole else -(-len(group) // idle)
        # Trials with many epochs left first, so that the rest of the cohort is not held up by a late start.
        chosen = self.joining(sorted(group, key=lambda p: -p.job.to_epoch), most=share)
        return Cohort(tuple(chosen), self.seconds(chosen))

    def joining(
        self, waiting: Sequence[PlannedJob], *, members: Sequence[PlannedJob] = (), most: int | None = None
    ) -> list[PlannedJob]:
        """Those of the waiting jobs of one key that should train with the members of a cohort.

        Networks of several sizes are padded to one shape: a job joins if all of them take no longer so than the members
        and it one after the other.

        Args:
            waiting: The jobs, the first of whom joins a cohort without members in any case.
            members: Of the cohort, of the same key.
            most: So many of them at most.
        """
        chosen, found = list(members), list[PlannedJob]()
        for planned in waiting[:most] if most is not None else waiting:
            grown = [*chosen, planned]
            if len(grown) > self.max_width(*grown):
                if self._mixes_sizes:
                    continue
                break
            if chosen and self._mixes_sizes and not self._pays(chosen, planned):
                continue
            chosen = grown
            found.append(planned)
        return found

    def _pays(self, cohort: Sequence[PlannedJob], planned: PlannedJob) -> bool:
        """Whether a job should train with a cohort, and not after it."""
        grown = self._seconds(common_values([*cohort, planned]), epochs=1, width=len(cohort) + 1)
        apart = self._seconds(common_values(cohort), epochs=1, width=len(cohort))
        return grown <= apart + self._seconds(planned.values, epochs=1, width=1)

    def whole_plan(self, jobs: Sequence[TrialJob]) -> tuple[list[Cohort], float]:
        """All cohorts of these jobs, and the estimated wall seconds on all workers."""
        pending = Waiting(self.describe(job) for job in jobs)
        cohorts: list[Cohort] = []
        load = [0.0] * self.num_workers
        while (cohort := self.next_cohort(pending, idle=load.count(min(load)))) is not None:
            cohorts.append(cohort)
            load[load.index(min(load))] += cohort.seconds
            pending.take(cohort.jobs)
        return cohorts, max(load)

    def seconds(self, cohort: Sequence[PlannedJob]) -> float:
        """Estimated seconds of a cohort on one worker, from the calibration; rough for users' modules."""
        return self._seconds(common_values(cohort), epochs=max(p.job.to_epoch for p in cohort), width=len(cohort))

    def _seconds(self, values: Mapping[str, ParamValue], *, epochs: int, width: int) -> float:
        if self.spec.loop is not None:  # how long an epoch takes only a rehearsal can say
            return self.facts.calibration.get("epoch_seconds", 1.0) * epochs
        data, calibration = self.facts.data, self.facts.calibration
        num_train = int(data["num_train"])
        steps = -(-num_train // batch_examples(values["batch_size"], num_train=num_train))
        layers = int(values.get("hidden_layers", values.get("conv_layers", 2))) + 1
        layers *= 3 if self.spec.model.kind_in(values) == "resnet" else 1
        overhead = calibration["overhead_seconds"] * (_OPERATIONS_PER_STEP + _OPERATIONS_PER_LAYER * layers) * steps
        examples = 3 * num_train + 2 * int(data["num_dev"])  # forward and backward, then evaluation
        flops = 2.0 * self.multiplications(values) * examples * self.folds
        estimated = epochs * (overhead + width * flops / calibration["flops_per_second"])
        return estimated * calibration.get("measured", 1.0)

    def num_parameters(self, values: Mapping[str, ParamValue]) -> int:
        """About the number of parameters of a trial's network."""
        return int(self._cnn(values, positions=1) if self._is_convolutional(values) else self._dense(values))

    def multiplications(self, values: Mapping[str, ParamValue]) -> int:
        """About the multiplications of one example's forward pass."""
        if not self._is_convolutional(values):
            return self._dense(values)
        shape = self.facts.data["input_shape"]
        return self._cnn(values, positions=int(shape[-1]) * int(shape[-2]) if len(shape) == 3 else 1)

    def num_bytes(self, values: Mapping[str, ParamValue]) -> float:
        """About the memory of a trial: its state, and what its layers give for a batch and in evaluation."""
        num_train = int(self.facts.data["num_train"])
        example = 4.0 * self._outputs(values)
        with_gradients = 2 * batch_examples(values["batch_size"], num_train=num_train)
        evaluated = min(evaluation_rows(example), num_train + int(self.facts.data["num_dev"]))
        layers = _SCRATCH * (with_gradients + evaluated) * example
        return 4.0 * _STATE_COPIES * self.num_parameters(values) + layers

    def _outputs(self, values: Mapping[str, ParamValue]) -> int:
        """About the numbers that all layers give for one example."""
        shape = self.facts.data["input_shape"]
        each = 1 if values.get("norm", "none") == "none" else 3  # a norm keeps what it is given, normalised and scaled
        hidden = each * sum(hidden_widths(values))
        if not self._is_convolutional(values):
            return prod(shape) + hidden
        positions = int(shape[-1]) * int(shape[-2]) if len(shape) == 3 else int(shape[-1])
        total, channels_in, kernel = prod(shape) + hidden, int(shape[0]), int(values.get("kernel_size", 3))
        for block in range(int(values.get("conv_layers", 2))):
            channels = int(values.get("channels", 16)) * 2**block
            total += each * channels * positions + self._windows(channels_in, kernel, positions)
            channels_in = channels
            positions = max(1, positions // 4)
            total += 2 * channels * positions  # the maxima, and where they were
            if self.spec.model.kind_in(values) == "resnet":
                total += (2 * each + 1) * channels * positions + 2 * self._windows(channels, kernel, positions)
        return total

    def _windows(self, channels: int, kernel: int, positions: int) -> int:
        """What a convolution of a built-in network takes for one example beside what it gives."""
        return 0 if self.on_accelerator else by_windows(channels, kernel=kernel, positions=positions)

    def _is_convolutional(self, values: Mapping[str, ParamValue]) -> bool:
        return self.spec.model.kind_in(values) in ("cnn", "resnet", "conv1d")

    def _dense(self, values: Mapping[str, ParamValue]) -> int:
        inputs, outputs = prod(self.facts.data["input_shape"]), int(self.facts.data["num_outputs"])
        hidden = () if self.spec.model.kind_in(values) == "linear" else hidden_widths(values)
        return sum(wide * next_wide for wide, next_wide in pairwise((inputs, *hidden, outputs)))

    def _cnn(self, values: Mapping[str, ParamValue], *, positions: int) -> int:
        shape = self.facts.data["input_shape"]
        channels_in, side = int(shape[0]), int(shape[-1])
        total = 0
        for block in range(int(values.get("conv_layers", 2))):
            channels = int(values.get("channels", 16)) * 2**block
            window = int(values.get("kernel_size", 3)) ** 2
            total += channels_in * channels * window * positions
            channels_in, positions, side = channels, max(1, positions // 4), max(1, side // 2)
            if self.spec.model.kind_in(values) == "resnet":
                total += 2 * channels**2 * window * positions
        if self.spec.model.kind_in(values) == "resnet":
            return total + channels_in * int(self.facts.data["num_outputs"])
        hidden = int(values.get("hidden_units", 64))
        return total + channels_in * side**2 * hidden + hidden * int(self.facts.data["num_outputs"])
