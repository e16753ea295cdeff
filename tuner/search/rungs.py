"""The epochs at which trials are looked at, and stopped, paused or sent on."""

from __future__ import annotations

REDUCTION_FACTOR = 3
"""Of the trials at a rung, ASHA and Hyperband let one in so many go on (arXiv 1810.05934)."""
_MEDIAN_CHECKS = 10
_PRIORITY_FRACTIONS = (0.115, 1 / 3)
"""Where the priority strategy pauses trials, as shares of a full training: measured best at 6 and 17 of 52 epochs."""


def rungs_of(pruner: str, *, epochs: int) -> tuple[int, ...]:
    """The epochs at which this pruner looks at a trial, ascending; the last is the full training."""
    match pruner:
        case "none":
            return (epochs,)
        case "median":
            return _ascending([round(epochs * k / _MEDIAN_CHECKS) for k in range(1, _MEDIAN_CHECKS)], epochs)
        case "asha":
            return _ladder(asha_first_rung(epochs), epochs)
        case "hyperband":
            return _ladder(1, epochs)
        case _:  # by its path: it looks where the median is looked at
            return rungs_of("median", epochs=epochs)


def asha_first_rung(epochs: int) -> int:
    """ASHA's first look: three reductions before the full training."""
    return max(1, round(epochs / 13))


def priority_rungs(epochs: int) -> tuple[int, ...]:
    """The priority strategy's two rungs and the full training (fewer where the training is short)."""
    return _ascending([round(epochs * fraction) for fraction in _PRIORITY_FRACTIONS], epochs)


def next_rung(rungs: tuple[int, ...], *, after: int) -> int:
    """The first rung above an epoch; the last one if there is none."""
    return next((rung for rung in rungs if rung > after), rungs[-1])


def _ladder(first: int, epochs: int) -> tuple[int, ...]:
    steps = []
    while first < epochs:
        steps.append(first)
        first *= REDUCTION_FACTOR
    return _ascending(steps, epochs)


def _ascending(steps: list[int], epochs: int) -> tuple[int, ...]:
    return (*sorted({step for step in steps if 1 <= step < epochs}), epochs)
