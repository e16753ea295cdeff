"""Averages of a trial's weights over its training, which are evaluated and kept in place of the weights themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tuner.train.program import EpochPlan
from tuner.train.settings import Settings

_EMA_WARM_UP = 10
"""Steps after which the average still forgets as fast as if its decay were one half."""


def new_shares(settings: Settings, step_S: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The share of the present weights in the average, for each step of one epoch.

    ema: after each step, 1 - ema_decay, and more in the first steps, whose weights are far from those to come
    (arXiv 1703.01780). swa: the mean over the ends of the epochs from swa_start on (arXiv 1803.05407); before that the
    average is what the last epoch ended with.
    """
    if settings.averaging == "ema":
        return 1.0 - np.minimum(settings.ema_decay, step_S / (step_S + _EMA_WARM_UP))
    epoch = int(step_S[0]) // len(step_S)
    behind = epoch - int(settings.swa_start * settings.epochs)
    shares = np.zeros(len(step_S))
    shares[-1] = 1.0 / (max(behind, 0) + 1)
    return shares


class WeightAverage:
    """The averages of K trials; their parameters and the running statistics of their norms alike."""

    def __init__(self, settings: Sequence[Settings], live: Callable[[], Mapping[str, Tensor]]) -> None:
        """Begin with the present values.

        Args:
            settings: Of the trials; all of them average in the same way, or none does.
            live: Gives what is averaged, by name: tensors of shape (K, ...), as they are at the time.
        """
        self.active = settings[0].averaging != "none"
        """Whether there is anything to do."""
        self._settings = settings
        self._live = live
        started = live() if self.active else {}
        self.tensors = {n: t.detach().clone() for n, t in started.items() if t.is_floating_point() or t.is_complex()}
        """The averages by name; part of the trials' state."""
        self.takes_each_step = settings[0].averaging == "ema"
        """Whether the weights after each step count, and not only those after some."""
        self._due_S: npt.NDArray[np.bool_] = np.zeros(0, dtype=bool)

    def take(self, settings: Sequence[Settings]) -> bool:
        """Go on with the values of other trials; False if they average otherwise."""
        if any(s.averaging != self._settings[0].averaging for s in settings):
            return False
        self._settings = settings
        return True

    def shares(self, plan: EpochPlan) -> Tensor:
        """Begin an epoch; each trial's share of the present weights after each of its steps, float32, (steps, K)."""
        columns = zip(self._settings, plan.step_SK.T, strict=True)
        shares_SK = np.stack([new_shares(s, steps) for s, steps in columns], axis=1).astype(np.float32)
        self._due_S = np.asarray((shares_SK > 0.0).any(axis=1))
        return torch.from_numpy(shares_SK)

    def is_due(self, number: int) -> bool:
        """Whether the weights after this step of the epoch count."""
        return bool(self._due_S[number])

    @torch.no_grad()
    def update(self, share_K: Tensor) -> None:
        """Take in the present weights, at each trial's share."""
        live = self._live()
        for name, average in self.tensors.items():
            share = share_K.to(average.device).view(-1, *[1] * (average.dim() - 1))
            # As a sum of products, which is the new value itself at a share of 1.
            average.mul_(1.0 - share).add_(live[name] * share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the averages are where the weights are."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        if not self.tensors:
            return
        live = self._live()
        for name, average in self.tensors.items():
            kept = live[name].clone()
            live[name].copy_(average)
            average.copy_(kept)


def average_of_module(settings: Settings, module: nn.Module) -> WeightAverage:
    """The average of one trial's plain module."""

    def live() -> dict[str, Tensor]:
        # Detached, and sharing memory with the module, which may by now hold other tensors than at its start.
        return {name: t.unsqueeze(0) for name, t in module.state_dict().items() if isinstance(t, Tensor)}

    return WeightAverage([settings], live)
