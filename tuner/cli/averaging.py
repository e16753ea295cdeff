"""The best trials of a study, whose predictions are averaged."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from tuner.cli.locate import Location
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.records import TrainedTrial, TrialRecord
    from tuner.store.study_data import StudyData


def averaged_trials(data: StudyData, count: int, location: Location) -> list[TrainedTrial]:
    """The winner and the best of the others, so many in all, with their weights.

    Raises:
        UsageError: so many are not finished, or their weights are not kept.
        TunerError: what is kept of one is not all of its network, or the user's own code keeps it.
    """
    from tuner.report.certainty.choice import best_few

    found = best_few(data, count)
    if len(found) < count:
        raise UsageError(f"--average {count}: {data.name} has {len(found)} finished trials that may be averaged")
    stored = [location.paths.trial(record.number).weights.is_file() for record in found]
    if (kept := len(list(takewhile(bool, stored)))) in range(2, count):
        raise UsageError(f"--average {count}: weights are kept of the {kept} best trials; write --average {kept}")
    return [trained_trial(record, location) for record in found]


def trained_trial(record: TrialRecord, location: Location) -> TrainedTrial:
    """A trial with its weights, where they are all of its network.

    Raises:
        TunerError: they are not, or are not stored.
    """
    from tuner.records import TrainedTrial
    from tuner.store.weights import weights_of

    weights = weights_of(record, location.paths.trial(record.number))
    return TrainedTrial(trial=record.number, params=dict(record.params), weights=weights, seed=record.seed or 0)
