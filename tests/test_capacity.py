"""What networks of a size can fit shows in the trials, and the epochs, that were not kept from it."""

from __future__ import annotations

import math

from tests.diagnose.curves import curve
from tuner.capacity import train_metric_reached
from tuner.records import Direction, TrialRecord, TrialState


def trial(number: int, best: float, last: float, *, size: int) -> TrialRecord:
    results = [curve(1, lambda _: 0.5, train=lambda _, value=value: value)[0] for value in (best, last)]
    return TrialRecord(
        number=number, params={}, seed=0, state=TrialState.COMPLETE, best=results[0], last=results[1],
        num_parameters=size,
    )  # fmt: skip


TRIALS = [trial(0, 0.7, 0.99, size=100), trial(1, 0.8, 0.6, size=50), trial(2, 0.9, 1.0, size=900)]


def test_the_best_fit_at_the_best_or_the_last_epoch_of_networks_no_larger() -> None:
    reached = {size: train_metric_reached(TRIALS, direction=Direction.MAXIMIZE, most_parameters=size)
               for size in (50, 100, 900, None)}  # fmt: skip
    assert reached == {50: 0.8, 100: 0.99, 900: 1.0, None: 1.0}
    assert train_metric_reached(TRIALS, direction=Direction.MINIMIZE, most_parameters=100) == 0.6


def test_without_a_training_metric_nothing_is_known() -> None:
    assert train_metric_reached([], direction=Direction.MAXIMIZE) is None
    assert train_metric_reached([trial(0, math.nan, math.nan, size=1)], direction=Direction.MAXIMIZE) is None
