"""What a study answers with: its final choice alone, or the mean of the best trials' predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tuner.paths import StudyPaths
from tuner.ranking import KEEP_WEIGHTS, rank_trials
from tuner.records import TrialRecord
from tuner.report.certainty.average import AverageGain, average_gain
from tuner.report.certainty.choice import best_few, final_choice
from tuner.report.facts import sweep_value
from tuner.store.study_data import StudyData

_AVERAGED = "tabular"
"""The model whose trials are averaged where the sweep file does not say otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What predicts, is tested and is exported where a command does not name it."""

    trials: tuple[TrialRecord, ...]
    """The final choice alone, or it and the others whose predictions are averaged with its own."""
    gain: AverageGain | None = None
    """Of an average over the final choice on the dev set, where that is known."""

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(record.number for record in self.trials)

    @property
    def is_average(self) -> bool:
        return len(self.trials) > 1

    @property
    def value(self) -> float | None:
        """The dev metric, for which it was chosen; None of an average where that is not known."""
        if self.is_average:
            return None if self.gain is None else self.gain.value
        return self.trials[0].value


def final_answer(study: StudyData, paths: StudyPaths | None) -> Answer | None:
    """What a study answers with, as `answer:` of its sweep file says; None while no trial has finished."""
    return answer_by(study, lambda: gain_of_best(study, paths))


def answer_by(study: StudyData, gain_of: Callable[[], AverageGain | None]) -> Answer | None:
    """The same, by what an average gains, which is asked where it decides."""
    choice = final_choice(study)
    if choice is None:
        return None
    alone, asked = Answer(trials=(choice.record,)), _asked(study)
    few = best_few(study, KEEP_WEIGHTS)
    if asked == "winner" or len(few) < 2:
        return alone
    gain = gain_of()
    if asked == "auto" and (gain is None or not gain.is_chosen):
        return alone
    return Answer(trials=few if gain is None else few[: len(gain.trials)], gain=gain)


def gain_of_best(study: StudyData, paths: StudyPaths | None) -> AverageGain | None:
    """What the mean of the best trials' predictions gains on the dev set over the final choice alone."""
    ranked = rank_trials(study.records, direction=study.direction)
    return average_gain(study, paths, best_few(study, KEEP_WEIGHTS), ranked)


def _asked(study: StudyData) -> str:
    """`answer:` of the sweep file; `auto` stands only where an average may be better, and breaks no bound."""
    asked = sweep_value(study, "answer") or "auto"
    if asked != "auto":
        return str(asked)
    is_one_figure = not sweep_value(study, "constraints") and not sweep_value(study, "objective", "others")
    is_table = sweep_value(study, "model", "kind") == _AVERAGED and not sweep_value(study, "model", "choices")
    return "auto" if is_table and is_one_figure else "winner"
