"""What networks of a size can fit shows in the trials, and the epochs, that were not kept from it."""

from __future__ import annotations

import math

from tests.diagnose.curves import curve
from tuner.capacity import train_metric_by_size, train_metric_reached
from tuner.records import Direction, TrialRecord, TrialState


def trial(number: int, best: float, last: float, *, size: int) -> TrialRecord:
    results = [curve(1, lambda _: 0.5, train=lambda _, value=value: value)[0] for value in (best, last)]
    return TrialRecord(
        number=number, params={}, seed=0, state=TrialState.COMPLETE, best=results[0], last=results[1],
        num_parameters=size,
    )  # fmt: skip


TRIALS = [trial(0, 0.7, 0.99, size=100), trial(1, 0.8, 0.6, size=50), trial(2, 0.9, 1.0, size=900)]


def test_the_best_fit_at_the_best_or_the_last_epoch_of_networks_no_larger() -> None:
    assert train_metric_by_size(TRIALS, direction=Direction.MAXIMIZE) == {50: 0.8, 100: 0.99, 900: 1.0}
    assert train_metric_by_size(TRIALS, direction=Direction.MINIMIZE) == {50: 0.6, 100: 0.6, 900: 0.6}
    assert train_metric_reached(TRIALS[0], direction=Direction.MAXIMIZE) == 0.99


def test_without_a_training_metric_nothing_is_known() -> None:
    unknown = trial(0, math.nan, math.nan, size=1)
    assert train_metric_reached(unknown, direction=Direction.MAXIMIZE) is None
    assert train_metric_by_size([unknown], direction=Direction.MAXIMIZE) == {}
