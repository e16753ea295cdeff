"""The trials that a study predicts by, with their weights: the winner, or the best ones, which are averaged."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from tuner.cli.locate import Location
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.records import TrainedTrial, TrialRecord
    from tuner.store.study_data import StudyData


def predicting_trials(
    data: StudyData, record: TrialRecord, location: Location, *, average: int | None, alone: bool
) -> list[TrainedTrial]:
    """What predicts: a trial alone, or the winner and the best of the others, with their weights.

    Args:
        data: The study.
        record: The winner, or the trial that was asked for.
        location: Where its files lie.
        average: How many were asked for; None for what the study answers with.
        alone: Whether something was asked that is of one trial.

    Raises:
        UsageError: so many are not finished, or their weights are not kept.
        TunerError: what is kept of one is not all of its network, or the user's own code keeps it.
    """
    from tuner.report.certainty.answer import final_answer
    from tuner.report.certainty.choice import best_few
    from tuner.store.weights import trained_trial

    if alone or average == 1:
        return [trained_trial(record, location.paths.trial(record.number))]
    if average is None:
        answer = final_answer(data, location.paths)
        found = (record,) if answer is None else answer.trials
    else:
        found = best_few(data, average)
        if len(found) < average:
            raise UsageError(f"--average {average}: {data.name} has {len(found)} finished trials that may be averaged")
    stored = [location.paths.trial(one.number).weights.is_file() for one in found]
    if (kept := len(list(takewhile(bool, stored)))) in range(2 if average else 1, len(found)):
        said = f"--average {average}" if average else f"{data.name} answers by the mean of {len(found)} trials"
        raise UsageError(f"{said}: weights are kept of the {kept} best trials; write --average {kept}")
    return [trained_trial(one, location.paths.trial(one.number)) for one in found]
