"""Learning curves to diagnose."""

from __future__ import annotations

from collections.abc import Callable

from tuner.records import EpochResult


def curve(
    epochs: int,
    dev: Callable[[int], float],
    *,
    train: Callable[[int], float] | None = None,
    dev_loss: Callable[[int], float] | None = None,
    train_loss: Callable[[int], float] | None = None,
) -> list[EpochResult]:
    """A curve whose values are functions of the epoch, from 1."""
    return [
        EpochResult(
            epoch=e,
            train_loss=(train_loss or (lambda e: 1.0 / e))(e),
            dev_loss=(dev_loss or (lambda e: 1.0 / e))(e),
            train_metric=(train or dev)(e),
            dev_metric=dev(e),
            learning_rate=0.1,
            seconds=0.1 * e,
        )
        for e in range(1, epochs + 1)
    ]
