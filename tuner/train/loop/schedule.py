"""Learning-rate decay, as a pure function of the position in the training."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tuner.train.settings import Settings

_CYCLE_PEAK = 0.3
"""Share of the steps before the peak of `one_cycle`."""
_CYCLE_START, _CYCLE_END = 1 / 25, 1e-4


def decay_factor(settings: Settings, epoch: int) -> float:
    """What the learning rate is multiplied by in an epoch (counted from 0).

    inverse_time: 1 / (1 + lr_decay * epoch), as in Ng's course. exponential: (1 - lr_decay) ** epoch.
    step: (1 - lr_decay) for each third of the training that has passed.
    cosine: half a cosine from 1 towards 1 - lr_decay, where it would be after the last epoch: a last epoch at a
    rate of zero would be wasted (arXiv 1608.03983, without restarts).
    """
    rate = settings.lr_decay
    match settings.schedule:
        case "inverse_time":
            return 1.0 / (1.0 + rate * epoch)
        case "exponential":
            return max(1.0 - rate, 0.0) ** epoch
        case "step":
            return max(1.0 - rate, 0.0) ** (3 * epoch // max(settings.epochs, 1))
        case "cosine":
            progress = epoch / max(settings.epochs, 1)
            return 1.0 - min(rate, 1.0) * 0.5 * (1.0 - math.cos(math.pi * min(progress, 1.0)))
        case _:
            return 1.0


def learning_rates(settings: Settings, *, epoch: int, steps_per_epoch: int) -> npt.NDArray[np.float64]:
    """The learning rate of each step of an epoch (counted from 0), shape (steps_per_epoch,).

    Decay is by epoch, but `one_cycle` goes by step; during the warm-up the rate rises linearly by step
    (arXiv 1706.02677).
    """
    rate = settings.learning_rate * decay_factor(settings, epoch)
    rates = np.full(steps_per_epoch, rate)
    if settings.schedule == "one_cycle":
        rates *= _one_cycle(epoch * steps_per_epoch + np.arange(steps_per_epoch), settings.epochs * steps_per_epoch)
    warmup_steps = settings.warmup_epochs * steps_per_epoch
    if warmup_steps > 0:
        step = epoch * steps_per_epoch + np.arange(1, steps_per_epoch + 1)
        rates *= np.minimum(step, warmup_steps) / warmup_steps
    return rates


def _one_cycle(step: npt.NDArray[np.int64], num_steps: int) -> npt.NDArray[np.float64]:
    """Half a cosine up from 1 / 25 over the first 30 % of the steps, half a cosine down to 1e-4 (arXiv 1708.07120)."""
    progress = np.minimum(step / max(num_steps - 1, 1), 1.0)
    up = np.minimum(progress / _CYCLE_PEAK, 1.0)
    down = np.maximum(progress - _CYCLE_PEAK, 0.0) / (1.0 - _CYCLE_PEAK)
    rising = _CYCLE_START + (1.0 - _CYCLE_START) * 0.5 * (1.0 - np.cos(np.pi * up))
    falling = _CYCLE_END + (1.0 - _CYCLE_END) * 0.5 * (1.0 + np.cos(np.pi * down))
    return np.where(progress < _CYCLE_PEAK, rising, falling)
