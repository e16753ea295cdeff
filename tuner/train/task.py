"""What is the same for every trial of a sweep: data on the device, loss, metric, and the way to train."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.data.dataset import Split, TrainingData
from tuner.data.stored import is_streamed
from tuner.errors import DataError
from tuner.models.build import Maker, build_module, check_inputs, network_of, parameter_shapes, transfer_for
from tuner.models.ensemble import fold_seed, parted_weights
from tuner.models.generators import seed_generators
from tuner.models.unpacked import load_trained
from tuner.records import DataInfo, Direction, EpochResult, Part, TrialJob
from tuner.spec.defaults import fixed_values
from tuner.spec.known.metrics import METRICS, num_train_measured
from tuner.spec.model import SweepSpec
from tuner.spec.own_code import code_files
from tuner.train.batch.class_weights import resolve_class_weights
from tuner.train.batch.order import epoch_order
from tuner.train.batch.part import examples_of, order_of_part
from tuner.train.device.ahead import Ahead
from tuner.train.device.gpus import allow_tf32
from tuner.train.measure.evaluated import inputs_side_by_side, train_sample
from tuner.train.measure.metrics import Evaluation, Scores, check_measured, resolve_loss, resolve_metric
from tuner.train.measure.portions import EVALUATION_ROWS
from tuner.train.measure.predictions import predictions_of
from tuner.train.measure.resampled import resampled
from tuner.train.program import Member, Problem, Program, copied_chunks
from tuner.train.programs.folded import FoldedProgram, FoldScores, fold_orders
from tuner.train.programs.user_parts import UserEvaluation, load_user_parts, try_parts
from tuner.train.rows.penalties import PENALTIES, penalties
from tuner.train.settings import Settings, resolve_settings
from tuner.train.ways import Ways

log = logging.getLogger(__name__)

EXPLODED = 1e4
"""A loss so many times that of a network that has learnt nothing ends a trial."""
_TRIED = 8
"""Examples that functions of the user's are tried on at the start."""


class Scored(NamedTuple):
    """What an evaluation measured of one trial."""

    train_loss: float
    dev_loss: float
    train_metric: float
    dev_metric: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What an evaluation measured, one value for each trial."""

    train_loss: list[float]
    dev_loss: list[float]
    train_metric: list[float]
    dev_metric: list[float]
    dev_outputs: Tensor
    """(K, dev examples, outputs); valid until the next evaluation."""

    def of(self, row: int) -> Scored:
        return Scored(self.train_loss[row], self.dev_loss[row], self.train_metric[row], self.dev_metric[row])


class Task:
    """A sweep's training task on one device."""

    def __init__(
        self, spec: SweepSpec, data: TrainingData, device: torch.device, *, device_name: str | None = None
    ) -> None:
        self.spec = spec
        self.info = data.info
        self.device = device
        self.device_name = device_name or str(device)
        """What it is called among all that train: a worker may see its own alone."""
        self.folds = tuple(fold.to(device) for fold in data.folds)
        """Of cross-validation; empty if there is one dev set."""
        train_dev = None if data.train_dev is None else data.train_dev.to(device)
        self.data = TrainingData(data.train.to(device), data.dev.to(device), data.info, self.folds, train_dev)
        self._fold_examples = [fold.train.cpu() for fold in data.folds]
        """Those that each fold trains on, on the host."""
        self.num_train = min((len(fold.train) for fold in self.folds), default=len(data.train))
        """Examples of an epoch."""
        self.metric = resolve_metric(spec.objective, task=data.info.task)
        check_measured(spec, task=data.info.task)
        self.direction: Direction = self.metric.direction
        self.problem = Problem(
            train=self.data.train,
            loss=resolve_loss(spec.training, task=data.info.task),
            num_outputs=data.info.num_outputs,
            device=device,
            half=spec.training.precision == "bf16" and device.type == "cuda",
        )
        self.parts = load_user_parts(spec)
        first = Split(self.data.train.inputs[:_TRIED], self.data.train.targets[:_TRIED])
        try_parts(self.parts, torch.zeros(len(first), data.info.num_outputs, device=device) + 0.01, first.targets)
        check_inputs(spec, data.info)
        _check_techniques(spec, data.info)
        self.class_weights = resolve_class_weights(spec.training, data)
        if spec.training.precision != "float32" and device.type != "cuda":
            precision = spec.training.precision
            log.warning("training.precision: %s has no effect on %s; training in float32", precision, device)
        if device.type == "cuda":
            allow_tf32(spec.training.precision == "tf32")
        self._untrained_loss = _untrained_loss(data)
        self.streams = is_streamed(data.train.inputs)
        """Whether inputs stay on disk."""
        sample = train_sample(self.data)
        self._num_dev = len(self.data.dev)
        self.score_dev = self.scorer(self.data.dev.targets)
        if self.metric.name == "mape" and np.isnan(self.score_dev(self.data.dev.targets.unsqueeze(0)).metric[0]):
            raise DataError("objective.metric: mape is a share of the target, and all dev targets are 0; choose mae")
        self._score_train = self.scorer(self.data.train.targets[sample])
        self._fold_scores = FoldScores(self.folds, self.data.train.targets, self.scorer) if self.folds else None
        self._sample = self.data.train.inputs[sample] if self.streams else None
        # With folds every network is evaluated on the whole pool, of which each is scored on its own examples.
        self.evaluated = self.data.train.inputs if self.folds else self.data.dev.inputs
        """What is evaluated beside `_sample`."""
        if not self.folds and not self.streams:
            self.evaluated = inputs_side_by_side(self.data.dev.inputs, self.data.train.inputs, sample)
            dev = self.evaluated[: self._num_dev]  # which need not be there twice
            self.data = replace(self.data, dev=replace(self.data.dev, inputs=dev))
        self.ahead = Ahead()
        self._said: set[str] = set()
        self._parts: dict[Part, list[Tensor]] = {}
        """The examples of parts of the training examples, once they were asked for."""
        self.ways = Ways(spec, self.data, self.parts, self.problem)

    @cached_property
    def code(self) -> Mapping[str, str]:
        """SHA-256 of each file of the user's code, by path, as it was loaded."""
        return code_files(self.spec)

    def scorer(self, targets: Tensor) -> Callable[[Tensor], Scores]:
        """What scores outputs for examples with these targets."""
        metric = METRICS["loss"] if self.parts.metric is not None else self.metric
        std, mean = self.info.target_std, self.info.target_mean
        usual = Evaluation(targets, loss=self.problem.loss, metric=metric, target_std=std, target_mean=mean)
        if self.parts.metric is None and self.parts.loss is None:
            return usual
        return UserEvaluation(self.parts, usual, targets)

    def batch_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch, the user's own or tuner's."""
        return self.parts.mean_loss(outputs, targets, loss=self.problem.loss)

    def member(self, job: TrialJob, *, epoch: int = 0) -> Member:
        """The trial of a job, with the values that it goes on with after so many epochs."""
        params = job.params_after(epoch)
        settings = resolve_settings(self.spec, params, num_train=self.num_train, class_weights=self.class_weights)
        folds = tuple(self._member(settings, fold_seed(job.seed, fold)) for fold in range(len(self.folds)))
        return replace(self._member(settings, job.seed), folds=folds)

    def _member(self, settings: Settings, seed: int) -> Member:
        network = network_of(self.spec, settings.model, self.info)
        if by_layer := [penalty for penalty in PENALTIES if penalty in settings.by_layer]:
            shapes = parameter_shapes(self.spec, settings.model, self.info, network)
            for penalty in by_layer:
                penalties(settings, penalty, shapes)  # refused here, where no trial has begun
        return Member(
            seed,
            settings,
            network,
            Maker(partial(build_module, self.spec, settings.model, self.info, seed=seed)),
            pretrained=self.spec.model.init_from is not None,
            transfer=transfer_for(self.spec, settings.model, self.info, network),
        )

    def orders(self, seed: int, epoch: int, batch_size: int, part: Part | None = None) -> list[Tensor]:
        """The order in which the networks of a trial visit the training examples in an epoch: one, or one a fold."""
        part = None if part is None or part.share >= 1 else part
        if self.folds:
            train = self._fold_examples if part is None else self._examples_of(part)
            return fold_orders(seed, epoch, train, self.num_train)
        inputs = self.data.train.inputs
        if part is None:
            return [epoch_order(inputs, seed=seed, epoch=epoch, batch_size=batch_size)]
        (chosen,) = self._examples_of(part)
        return [order_of_part(chosen, inputs, seed=seed, epoch=epoch, batch_size=batch_size)]

    def _examples_of(self, part: Part) -> list[Tensor]:
        """Those that a part of the training examples holds, on the host; for each fold of its own."""
        if part not in self._parts:
            targets = self.data.train.targets.cpu()
            self._parts[part] = (
                [own[examples_of(part, targets[own])] for own in self._fold_examples]
                if self.folds
                else [examples_of(part, targets)]
            )
        return self._parts[part]

    def program(self, members: Sequence[Member]) -> Program:
        """The way to train these members, which share a fusion key.

        Raises:
            TunerError: see `train.ways`.
        """
        if not self.folds:
            return self.ways.program(members)
        return FoldedProgram(self.ways.program([own for m in members for own in m.folds]), folds=len(self.folds))

    def found_out(self, program: Program, row: int) -> bool:
        """Whether a trial was fused before it was found that it must not be."""
        return self.ways.structures.was_found_out(program.reason(row))

    def num_parameters(self, member: Member) -> int:
        """Trainable and frozen parameters of the member's network."""
        if member.network is not None:
            return member.network.num_parameters
        if isinstance(member.make_module, Maker):
            return member.make_module.num_parameters
        return sum(p.numel() for p in member.make_module().parameters())

    def evaluate(self, program: Program) -> Measured:
        """Losses and metrics of every trial, dropout off, on the dev set and on a fixed sample of the training set."""
        if self._sample is not None:
            of_dev = program.outputs(self.data.dev.inputs).clone()
            outputs = torch.cat([of_dev, program.outputs(self._sample)], dim=1)
        else:
            outputs = program.outputs(self.evaluated)
        return self._measure(outputs)

    def measure_epochs(self, outputs_EKNC: Tensor) -> list[Measured]:
        """The same from each epoch's outputs for `evaluated`."""
        found, num_trials = self._measure(outputs_EKNC.flatten(0, 1)), outputs_EKNC.shape[1]
        return [
            Measured(
                train_loss=found.train_loss[first : first + num_trials],
                dev_loss=found.dev_loss[first : first + num_trials],
                train_metric=found.train_metric[first : first + num_trials],
                dev_metric=found.dev_metric[first : first + num_trials],
                dev_outputs=found.dev_outputs[first : first + num_trials],
            )
            for first in range(0, len(outputs_EKNC) * num_trials, num_trials)
        ]

    def _measure(self, outputs: Tensor) -> Measured:
        if self._fold_scores is not None:
            on_dev, on_train, dev = self._fold_scores.measure(outputs)
        else:
            dev, train = outputs[:, : self._num_dev], outputs[:, self._num_dev :]
            on_dev, on_train = self.score_dev(dev), self._score_train(train)
        return Measured(
            train_loss=on_train.loss.tolist(),
            dev_loss=on_dev.loss.tolist(),
            train_metric=on_train.metric.tolist(),
            dev_metric=on_dev.metric.tolist(),
            dev_outputs=dev,
        )

    @property
    def num_evaluated(self) -> int:
        """Examples that `evaluate` takes a network's outputs of."""
        return len(self.evaluated) + (0 if self._sample is None else len(self._sample))

    def evaluate_some(self, program: Program, count: int) -> None:
        """Take the outputs of some of these examples, as `evaluate` does, to see how long that takes."""
        program.outputs(self.evaluated[:count])

    def signals(self, program: Program) -> dict[str, dict[str, list[float]]]:
        """What a network's inside says of its training, by fact, layer and trial: gradient norms and dead units.

        Dead units are counted over the first of the examples that are evaluated.
        """
        found = {
            "gradient_norms": program.gradient_norms(),
            "dead_units": program.dead_units(self.evaluated[:EVALUATION_ROWS]),
        }
        return {fact: {layer: t.tolist() for layer, t in layers.items()} for fact, layers in found.items() if layers}

    def say_once(self, warning: str) -> None:
        """Log what is true of all trials, once."""
        if warning not in self._said:
            log.warning("%s", warning)
            self._said.add(warning)

    def divergence(self, result: EpochResult) -> str | None:
        """What is wrong with a result that says the training diverged, or None."""
        for name, loss in (("training", result.train_loss), ("dev", result.dev_loss)):
            if not math.isfinite(loss):
                return f"the {name} loss became {loss}"
            if self.parts.loss is None and loss > EXPLODED * self._untrained_loss:
                return f"the {name} loss exploded to {loss:.3g}"
        return None

    @torch.no_grad()
    def dev_outputs(self, member: Member, weights: Mapping[str, Tensor]) -> Tensor:
        """Outputs on the dev set of the member's module with these weights, shape (dev examples, outputs)."""
        if not self.folds:  # all that a trial is scored on, so that a module which draws draws the same
            return self._outputs(member, weights, self.evaluated)[: self._num_dev]
        parts = zip(member.folds, parted_weights(weights, folds=len(self.folds)), self.folds, strict=True)
        return torch.cat([self._outputs(own, w, self.data.train.inputs[fold.dev]) for own, w, fold in parts])

    @torch.no_grad()
    def train_dev_metric(self, member: Member, weights: Mapping[str, Tensor]) -> float | None:
        """The metric of the member's module with these weights on the train-dev part; None where there is none.

        With folds the mean of the networks, each on those held out of its own training examples.
        """
        if self.folds:
            inputs, targets = self.data.train.inputs, self.data.train.targets
            held_out = [fold.train_dev for fold in self.folds if fold.train_dev is not None]
            parts = [(inputs[own], targets[own]) for own in held_out]
        else:
            part = self.data.train_dev
            parts = [] if part is None else [(part.inputs, part.targets)]
        return self._mean_metric(member, weights, parts) if parts else None

    @torch.no_grad()
    def part_metric(self, member: Member, weights: Mapping[str, Tensor], part: Part) -> float:
        """The metric of the member's module with these weights on the part of the training examples that it has seen.

        As that of all training examples, it is measured on about as many as there are dev examples.
        """
        networks, inputs, targets = len(member.folds) or 1, self.data.train.inputs, self.data.train.targets
        measured = [
            chosen[: num_train_measured(len(chosen), self._num_dev // networks)].to(self.device)
            for chosen in self._examples_of(part)
        ]
        return self._mean_metric(member, weights, [(inputs[some], targets[some]) for some in measured])

    def _mean_metric(
        self, member: Member, weights: Mapping[str, Tensor], parts: Sequence[tuple[Tensor, Tensor]]
    ) -> float:
        """Over the networks of a trial, one or one a fold, each on the inputs and targets of its own part."""
        networks = member.folds or (member,)
        own = parted_weights(weights, folds=len(networks)) if member.folds else [weights]
        found = []
        for network, state, (inputs, targets) in zip(networks, own, parts, strict=True):
            outputs = self._outputs(network, state, inputs)
            found.append(float(self.scorer(targets)(outputs.unsqueeze(0)).metric[0]))
        return sum(found) / len(found)

    def _outputs(self, member: Member, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        module = member.make_module().to(self.device)
        load_trained(module, weights)
        module.eval()
        seed_generators(member.seed, "evaluation", device=self.device)
        found = torch.cat([module(chunk) for chunk in copied_chunks(inputs)])
        return found.view(len(inputs), self.info.num_outputs)

    def dev_scores(self, outputs: Tensor) -> list[Scores]:
        """What a trial with these dev outputs scores, of one trial: one entry, or one for each fold."""
        if self._fold_scores is not None:
            return self._fold_scores.of_dev_outputs(outputs)
        return [self.score_dev(outputs.unsqueeze(0))]

    def resampled_metric(self, outputs: Tensor) -> NDArray[np.float64] | None:
        """A metric of the user's on resamples of the dev set; None for tuner's own, which reports can resample."""
        if self.parts.metric is None or self.folds:
            return None
        return resampled(self.parts.metric_of, outputs.detach().float(), self.data.dev.targets)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs as a reader wants them: probabilities of the classes or labels, or targets in their own units."""
        mean, std = (torch.tensor(v, device=outputs.device) for v in (self.info.target_mean, self.info.target_std))
        return predictions_of(outputs, task=self.info.task, mean=mean, std=std)


def _check_techniques(spec: SweepSpec, info: DataInfo) -> None:
    """Refuse techniques that these data are not for.

    Raises:
        DataError: one of them is fixed or searched.
    """
    used = {name for name, value in fixed_values(spec).items() if value} | (spec.space or {}).keys()
    if "augment" in used and len(info.input_shape) != 3:
        raise DataError(
            f"augment is for images of shape (channels, height, width); the examples are of shape {info.input_shape}: "
            "remove it, or use image data"
        )
    if "label_smoothing" in used and info.task != "classification":
        raise DataError(f"label_smoothing is for classification, and these data are for {info.task}: remove it")


def _untrained_loss(data: TrainingData) -> float:
    """About the loss of a network that has learnt nothing; at least 1."""
    if data.info.task != "regression":
        return max(1.0, math.log(max(data.info.num_outputs, 2)))
    return max(1.0, float(data.train.targets.double().square().mean()))  # which may be in units of their own
