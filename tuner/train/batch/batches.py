"""What is done to a batch before a step: augmentation, mixup, dropout of inputs, soft and weighted labels.

Training examples only.

All ways to train but Lightning's hand their batches through here. Every draw is keyed by the trial's seed and by
epoch and example, or by the step and the place in the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tuner.models.keyed import dropout_field, dropout_threshold, key, step_keys
from tuner.train.batch.augment import MAX_NOISE, NUM_COLUMNS, draw_rows, transform
from tuner.train.device.ahead import Ahead
from tuner.train.device.gpus import sent
from tuner.train.program import EpochPlan, Member, Problem

_NOISE, _SHARE, _DROP = "augment noise", "mixup", "input dropout"


class BatchChanges:
    """The changes for K trials, which agree in what is switched on (`programs.fusion`) and may differ in how much."""

    def __init__(self, members: Sequence[Member], problem: Problem) -> None:
        """Prepare the changes; labels are smoothed, and classes weighted, for cross entropy only."""
        train, of_classes = problem.train, problem.loss == "cross_entropy"
        settings = [m.settings for m in members]
        self.settings = settings
        self.num_outputs = problem.num_outputs
        self._seeds = [m.seed for m in members]
        self._shape = tuple(train.inputs.shape[1:])
        self._num_features = math.prod(self._shape)
        self._num_train = len(train)
        self._device = problem.device
        first = settings[0]
        self._kinds = first.augmentation
        self._augments = first.augmentation.strength > 0
        self._mixes = first.mixup > 0
        self._drops = first.input_dropout > 0
        self._smooths = first.label_smoothing > 0 and of_classes
        self.weighted = of_classes and bool(first.class_weights)
        """Whether labels are scaled by the weights of their classes."""
        self.active = self._augments or self._mixes or self._drops or self._smooths or self.weighted
        """Whether there is anything to do."""
        self.soft_labels = of_classes and (self._mixes or self._smooths or self.weighted)
        """Whether classes must be given as a probability for each."""
        self._weights_C = torch.tensor(first.class_weights).to(self._device)
        self._threshold_K1 = self._column([dropout_threshold(s.input_dropout) for s in settings], torch.int32)
        self._scale_K1 = self._column([1.0 / (1.0 - s.input_dropout) for s in settings])
        # Uniform noise: of this half-width for a standard deviation, by the int32 that it is drawn as.
        self._noise_K1 = self._column([MAX_NOISE * s.augmentation.strength * math.sqrt(3) / 2**31 for s in settings])
        self._smoothing_K11 = self._column([s.label_smoothing for s in settings]).unsqueeze(2)
        self._own_K1 = (torch.arange(len(members), device=self._device) * self._num_train).unsqueeze(1)
        self._first_K1 = self._own_K1.clone()
        """Of each trial's rows, that of the first example which indices count from."""
        self._counts_from = 0
        self._ahead = Ahead()
        self._rows = torch.zeros(0, NUM_COLUMNS, device=self._device)
        """What happens to each training example of each trial in the epoch under way; it stays where it is."""

    def _column(self, values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.tensor(values, dtype=dtype).unsqueeze(1).to(self._device)

    def apply(self, x: Tensor, y: Tensor, indices_KB: Tensor, drawn: Mapping[str, Tensor]) -> None:
        """Change the batches of one step in place, without a look at the host.

        Args:
            x: Inputs of all trials, shape (K * B, ...), flattened with padding behind the features or not.
            y: Targets, shape (K * B, ...); a float for each class where `soft_labels`.
            indices_KB: Of the examples.
            drawn: The step's rows of the epoch's tables (`begin`).
        """
        num_trials, size = indices_KB.shape
        features = x.view(len(x), -1)[:, : self._num_features]
        if self._augments:
            features.copy_(self._augmented(features, indices_KB, drawn))
        by_trial = features.view(num_trials, size, -1)
        if self._smooths:
            labels = y.view(num_trials, size, -1)[:, :, : self.num_outputs]
            labels.mul_(1.0 - self._smoothing_K11).add_(self._smoothing_K11 / self.num_outputs)
        if self._mixes:
            share = drawn[_SHARE].view(-1, 1, 1)
            for tensor in (by_trial, y.view(num_trials, size, -1)):
                # The order of the examples is random, so that the one before is a random partner.
                others = tensor.roll(1, dims=1)
                tensor.mul_(share).add_(others.mul_(1.0 - share))
        if self.weighted:
            y.view(len(y), -1)[:, : self.num_outputs].mul_(self._weights_C)
        if self._drops:
            field = dropout_field(size * self._num_features, self._device)
            kept = (field * drawn[_DROP].unsqueeze(1) >= self._threshold_K1) * self._scale_K1
            by_trial.mul_(kept.view(num_trials, size, -1))

    def count_from(self, example: int) -> None:
        """The indices of the examples of a batch count from this one on."""
        if self._augments and example != self._counts_from:
            torch.add(self._own_K1, example, out=self._first_K1)
            self._counts_from = example

    def _augmented(self, features: Tensor, indices_KB: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
        images = features.reshape(-1, *self._shape)
        rows = self._rows.index_select(0, (indices_KB + self._first_K1).reshape(-1))
        images = transform(images, rows, self._kinds)
        if self._kinds.noise:
            field = dropout_field(images.numel() // len(indices_KB), self._device)
            noise = (field * drawn[_NOISE].unsqueeze(1)).float() * self._noise_K1
            images = images + noise.view(images.shape)
        return images.flatten(1)

    def begin(self, plan: EpochPlan) -> dict[str, Tensor]:
        """Draw an epoch's numbers; those that differ from step to step by name, on the host, (steps, K)."""
        steps = len(plan.step_SK)
        epochs = [int(first) // steps for first in plan.step_SK[0]]
        found: dict[str, Tensor] = {}
        if self._augments:
            aspect = self._shape[1] / self._shape[2]
            if not len(self._rows):
                size = len(self.settings) * self._num_train
                self._rows = torch.zeros(size, NUM_COLUMNS, device=self._device)
            own = torch.split(self._rows, self._num_train)
            trials = [(s.augmentation, seed) for s, seed in zip(self.settings, self._seeds, strict=True)]
            for target, trial, epoch in zip(own, trials, epochs, strict=True):
                rows = self._ahead.take(draw_rows, *trial, epoch, self._num_train, aspect)
                target.copy_(sent(rows, self._device))
            if self._device.type == "cuda":
                following = zip(trials, epochs, strict=True)
                self._ahead.begin(draw_rows, [(*trial, e + 1, self._num_train, aspect) for trial, e in following])
            if self._kinds.noise:
                found[_NOISE] = self._keys(plan, "augment noise")
        if self._mixes:
            shares = [
                np.random.Generator(np.random.Philox(key(seed, "mixup", epoch))).beta(s.mixup, s.mixup, size=steps)
                for s, seed, epoch in zip(self.settings, self._seeds, epochs, strict=True)
            ]
            found[_SHARE] = torch.from_numpy(np.stack(shares, axis=1).astype(np.float32))
        if self._drops:
            found[_DROP] = self._keys(plan, "input dropout")
        return found

    def _keys(self, plan: EpochPlan, purpose: str) -> Tensor:
        return torch.from_numpy(step_keys(self._seeds, purpose, plan.step_SK))
