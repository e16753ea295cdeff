"""What a curve over epochs and the network's own signals say went wrong, or could go better, in one trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tuner.records import Direction, EpochResult, Json

_FIRST_PART = 0.1
"""A best epoch within this first part of the training came too early: the training is too long, or too fast."""
_LAST_PART = 0.25
"""A best epoch within this last part, on a curve that still rises: train longer."""
_OVERFIT_RISE = 0.1
"""The dev loss has risen by this share above its lowest while the training loss fell."""
_JITTER = 2.0
"""Epoch-to-epoch changes this many times larger than the dev set's noise explains."""
_DEAD_SHARE = 0.5
"""More than this share of a layer's units never fire."""
_VANISHING_RATIO = 1e-3
"""Gradient of the first layer against that of the last."""
_EXPLODING_NORM = 1e2
_MIN_EPOCHS = 5
"""Shorter curves say nothing of their shape."""


class FlagKind(StrEnum):
    """What a flag is about."""

    OVERFITTING = "overfitting"
    STILL_IMPROVING = "still improving"
    BEST_EARLY = "best early"
    SATURATED_EARLY = "saturated early"
    LATE_VARIANCE = "late variance"
    DIVERGED = "diverged"
    DEAD_UNITS = "dead units"
    VANISHING_GRADIENTS = "vanishing gradients"
    EXPLODING_GRADIENTS = "exploding gradients"


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing that stands out."""

    kind: FlagKind
    text: str
    """In words, with the figure that it rests on."""


def curve_flags(
    curve: Sequence[EpochResult],
    *,
    direction: Direction,
    facts: Mapping[str, Json] | None = None,
    noise_sd: float | None = None,
    reason: str = "",
) -> tuple[Flag, ...]:
    """The flags of one trial.

    Args:
        curve: Its finished epochs, in order.
        direction: Of the dev metric.
        facts: The record's facts: `gradient_norms` and `dead_units`, each by layer, first layer first.
        noise_sd: Standard deviation of the dev metric from the size of the dev set.
        reason: Why the trial ended; one that diverged says so.
    """
    curve = [result for result in curve if result.epoch]  # epoch 0 was measured before training
    flags = [*_signal_flags(facts or {})]
    if reason.startswith("diverged"):
        flags.insert(0, Flag(FlagKind.DIVERGED, reason))
    elif len(curve) >= _MIN_EPOCHS and all(map(_finite, curve)):
        flags = [*_shape_flags(curve, direction, noise_sd or 0.0), *flags]
    return tuple(flags)


def _shape_flags(curve: Sequence[EpochResult], direction: Direction, noise_sd: float) -> list[Flag]:
    overfitting, jitter = _overfitting(curve), _late_variance(curve, noise_sd)
    return [flag for flag in (overfitting, _length(curve, direction, noise_sd), jitter) if flag is not None]


def _overfitting(curve: Sequence[EpochResult]) -> Flag | None:
    lowest = min(range(len(curve)), key=lambda i: curve[i].dev_loss)
    after = curve[lowest + 1 :]
    if len(after) < 2:
        return None
    # Two epochs in the middle of what follows must agree, so that one bad epoch is not taken for a trend.
    end = sorted(e.dev_loss for e in after[-3:])[len(after[-3:]) // 2]
    risen = end > (1 + _OVERFIT_RISE) * curve[lowest].dev_loss + 1e-9
    if not risen or after[-1].train_loss > curve[lowest].train_loss:
        return None
    rise = end / curve[lowest].dev_loss - 1 if curve[lowest].dev_loss > 0 else math.inf
    text = f"overfitting from epoch {curve[lowest].epoch}: the dev loss rose by {rise:.0%} while the training loss fell"
    return Flag(FlagKind.OVERFITTING, text)


def _length(curve: Sequence[EpochResult], direction: Direction, noise_sd: float) -> Flag | None:
    """Whether the training was too short or too long; at most one of the three holds."""
    epochs = len(curve)
    best = _best_index(curve, direction)
    place = (best + 1) / epochs
    if place <= _FIRST_PART:
        text = f"best epoch {curve[best].epoch} of {epochs}, in the first {_FIRST_PART:.0%}"
        return Flag(FlagKind.BEST_EARLY, text)
    start = min(epochs - 2, math.floor((1 - _LAST_PART) * epochs))
    if place > 1 - _LAST_PART:
        before = _best_value(curve[:start], direction)
        gain = _gain(before, curve[best].dev_metric, direction)
        total = _gain(curve[0].dev_metric, curve[best].dev_metric, direction)
        if gain > max(noise_sd, 0.01 * total) and _mean_rises(curve[start:], direction):
            text = f"still improving at the end: {gain:.3g} better in the last {_LAST_PART:.0%} of {epochs} epochs"
            return Flag(FlagKind.STILL_IMPROVING, text)
    quarter = max(2, round(_LAST_PART * epochs))
    left = _gain(_best_value(curve[:quarter], direction), curve[best].dev_metric, direction)
    if epochs >= 2 * _MIN_EPOCHS and noise_sd > 0 and left <= 0.5 * noise_sd:
        text = f"saturated by epoch {curve[quarter - 1].epoch} of {epochs}: only {left:.2g} was gained after it"
        return Flag(FlagKind.SATURATED_EARLY, text)
    return None


def _late_variance(curve: Sequence[EpochResult], noise_sd: float) -> Flag | None:
    third = [e.dev_metric for e in curve[-max(4, len(curve) // 3) :]]
    # Changes from one epoch to the next, less their mean: a steady rise is no jitter.
    steps = [b - a for a, b in itertools.pairwise(third)]
    mean = sum(steps) / len(steps)
    jitter = math.sqrt(sum((s - mean) ** 2 for s in steps) / len(steps) / 2)
    if noise_sd <= 0 or jitter <= _JITTER * noise_sd:
        return None
    text = f"the dev metric jumps by {jitter:.2g} from epoch to epoch at the end; the dev set's noise is {noise_sd:.2g}"
    return Flag(FlagKind.LATE_VARIANCE, text)


def _signal_flags(facts: Mapping[str, Json]) -> list[Flag]:
    flags = []
    dead = _by_layer(facts.get("dead_units"))
    worst = max(dead, key=lambda layer: dead[layer], default=None)
    if worst is not None and dead[worst] > _DEAD_SHARE:
        flags.append(Flag(FlagKind.DEAD_UNITS, f"{dead[worst]:.0%} of the units of {worst} never fire"))
    norms = _by_layer(facts.get("gradient_norms"))
    if len(norms) < 2:
        return flags
    (first, first_norm), *_, (last, last_norm) = norms.items()
    if last_norm > 0 and first_norm < _VANISHING_RATIO * last_norm:
        text = f"the gradient of {first} is {first_norm / last_norm:.0e} of that of {last}"
        flags.append(Flag(FlagKind.VANISHING_GRADIENTS, text))
    largest = max(norms, key=lambda layer: norms[layer])
    if norms[largest] > _EXPLODING_NORM:
        flags.append(Flag(FlagKind.EXPLODING_GRADIENTS, f"the gradient of {largest} has norm {norms[largest]:.3g}"))
    return flags


def _by_layer(fact: Json) -> dict[str, float]:
    if not isinstance(fact, Mapping):
        return {}
    return {str(layer): float(v) for layer, v in fact.items() if isinstance(v, int | float) and math.isfinite(float(v))}


def _finite(result: EpochResult) -> bool:
    return all(map(math.isfinite, (result.dev_metric, result.dev_loss, result.train_loss)))


def _gain(before: float, after: float, direction: Direction) -> float:
    return direction.sign * (after - before)


def _best_index(curve: Sequence[EpochResult], direction: Direction) -> int:
    return max(range(len(curve)), key=lambda i: (direction.sign * curve[i].dev_metric, -i))


def _best_value(curve: Sequence[EpochResult], direction: Direction) -> float:
    return curve[_best_index(curve, direction)].dev_metric


def _mean_rises(curve: Sequence[EpochResult], direction: Direction) -> bool:
    middle = len(curve) // 2
    first, second = curve[:middle], curve[middle:]
    mean_first = sum(e.dev_metric for e in first) / len(first)
    mean_second = sum(e.dev_metric for e in second) / len(second)
    return _gain(mean_first, mean_second, direction) > 0
