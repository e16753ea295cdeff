"""All that a report says of a study, worked out once from its records and files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from tuner.capacity import train_metric_by_size
from tuner.diagnose.bounds import BoundFinding, bounds_worth_moving, winners_on_bounds
from tuner.diagnose.curves import Flag, curve_flags
from tuner.diagnose.error_parts import ErrorParts, error_parts
from tuner.diagnose.feasibility import Feasibility, feasibility
from tuner.diagnose.guess import guess_error
from tuner.diagnose.importance import Importance, importances
from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.ranking import num_winners, trials_apart
from tuner.records import EpochResult, Json, TrialRecord
from tuner.report.certainty.answer import Answer, answer_by, gain_of_best
from tuner.report.certainty.average import AverageGain, average_as_tested, mean_predictions
from tuner.report.certainty.baselines import Answering, Baseline, baselines_of, best_reached, tested_baselines
from tuner.report.certainty.choice import Choice, final_choice
from tuner.report.certainty.dev_scores import load_array
from tuner.report.certainty.finalists import Finals, finals
from tuner.report.certainty.front import Front, front_of, study_objectives
from tuner.report.certainty.groups import GroupScores, group_scores
from tuner.report.certainty.guess import guess_margins
from tuner.report.certainty.learning_curve import LearningCurve, learning_curve
from tuner.report.certainty.mistakes import PARTS, Mistakes, mistakes_on
from tuner.report.certainty.monte_carlo import PassesGain, passes_gain
from tuner.report.certainty.more_trials import BestOfK, best_of_k
from tuner.report.certainty.statistics import StudyStatistics, study_statistics
from tuner.report.certainty.threshold import ThresholdGain, threshold_gain
from tuner.report.curves import read_curves
from tuner.report.facts import data_count, full_epochs, num_measured, target_error
from tuner.report.space import study_space
from tuner.report.tables.cost import Cost, cost_of
from tuner.report.tables.leaderboard import TrialNote, leaderboard
from tuner.spec.known.metrics import SHARES
from tuner.spec.objectives import Objective
from tuner.spec.space import Space
from tuner.store.study_data import StudyData

_CURVES_READ = 60
"""Curves of so many of the best trials are read for their flags."""


@dataclass(frozen=True)
class Analysis:
    """A study with everything that its report says; each part is worked out when it is asked for."""

    study: StudyData
    paths: StudyPaths | None
    """Where curves and dev predictions lie; None where there are no files."""

    @cached_property
    def space(self) -> Space:
        return study_space(self.study)

    @cached_property
    def statistics(self) -> StudyStatistics:
        return study_statistics(self.study, self.paths)

    @cached_property
    def choice(self) -> Choice | None:
        """The best trial and why it is that."""
        return final_choice(self.study)

    @property
    def best(self) -> TrialRecord | None:
        """The final choice; without finalists, the first in rank."""
        return None if self.choice is None else self.choice.record

    @cached_property
    def finals(self) -> Finals | None:
        return finals(self.study)

    @property
    def objectives(self) -> Sequence[Objective]:
        """Those of the sweep file after the metric."""
        return study_objectives(self.study)

    @cached_property
    def front(self) -> Front | None:
        """The Pareto front of a study of several objectives."""
        return front_of(self.study, self.statistics.ranked, self.statistics.scores)

    @cached_property
    def apart(self) -> Sequence[TrialRecord]:
        """Trials that are not ranked."""
        return trials_apart(self.study.records, direction=self.study.direction)

    @cached_property
    def curves(self) -> Mapping[int, tuple[EpochResult, ...]]:
        """Curves of the best trials over their epochs, by number."""
        return read_curves(self.statistics.ranked[:_CURVES_READ], paths=self.paths)

    @cached_property
    def flags(self) -> Mapping[int, tuple[Flag, ...]]:
        """What stands out in each trial, by number."""
        return {r.number: flags for r in self.study.records if (flags := self._flags(r))}

    @cached_property
    def parts(self) -> Mapping[int, ErrorParts]:
        """Bias and variance of each trial, by number."""
        found = {r.number: self._parts(r) for r in self.study.records}
        return {number: parts for number, parts in found.items() if parts is not None}

    @cached_property
    def luck(self) -> float:
        """By how much the best dev metric is taken to be too good: from fresh seeds, else from the dev set's noise."""
        if self.finals is not None and self.best is not None:
            for finalist in self.finals.finalists:
                if finalist.record.number == self.best.number:
                    return max(0.0, self.study.direction.sign * (finalist.search_value - finalist.mean))
        return self.statistics.overstatement or 0.0

    @property
    def answering(self) -> tuple[int, ...]:
        """The numbers of the trials that predict; none before one has finished."""
        return () if self.answer is None else self.answer.numbers

    @property
    def luck_of_answer(self) -> float:
        """The same of what the study answers with: an average is as much better as examples apart have shown."""
        gain = self.answer.gain if self.answer is not None and self.answer.is_average else None
        if gain is None or gain.chosen_apart is None:
            return self.luck
        measured = self.study.direction.sign * (gain.value - gain.usual)
        return max(0.0, measured + self.luck - gain.chosen_apart)

    @cached_property
    def best_parts(self) -> ErrorParts | None:
        """Bias and variance of the best trial, its luck taken off: what the study's verdict rests on."""
        if self.best is None or self.best.best is None:
            return None
        seen = self.best.best.dev_metric
        honest = replace(self.best.best, dev_metric=seen - self.study.direction.sign * self.luck)
        interval = self.statistics.intervals.get(self.best.number)
        if interval is not None:  # the luck is an estimate: that there was none stays possible
            shifted = interval.shifted(-self.study.direction.sign * self.luck)
            interval = Interval(min(shifted.low, seen), max(shifted.high, seen))
        return self._error_parts(honest, interval, record=self.best)

    @cached_property
    def baselines(self) -> tuple[Baseline, ...]:
        """Simple models on the same dev examples, the simplest first."""
        return baselines_of(self.study, self.paths, self._answering, luck=self.luck_of_answer)

    @property
    def _answering(self) -> Answering | None:
        """What the study answers with on the dev set; the best trial where an average is not known there."""
        answer, best = self.answer, self.best
        if self.paths is None or answer is None or best is None:
            return None
        if answer.is_average and answer.value is not None:
            mean = mean_predictions(self.paths, answer.numbers)
            return None if mean is None else Answering(answer.value, mean)
        return None if best.value is None else Answering(best.value, self.paths.trial(best.number).predictions)

    @cached_property
    def passes_gain(self) -> PassesGain | None:
        """What Monte Carlo dropout makes of the best trial."""
        return passes_gain(self.study, self.paths, self.best)

    @cached_property
    def average_gain(self) -> AverageGain | None:
        """What the mean of the best trials' predictions gains over the best trial alone."""
        return gain_of_best(self.study, self.paths)

    @cached_property
    def threshold_gain(self) -> ThresholdGain | None:
        """What another decision threshold than one half gains, of two classes."""
        return threshold_gain(self.study, self.paths, self.answering)

    @cached_property
    def answer(self) -> Answer | None:
        """What predicts: the best trial, or the mean of the best ones."""
        return answer_by(self.study, lambda: self.average_gain)

    @cached_property
    def tested_average(self) -> AverageGain | None:
        """The same on the test examples, if an average was asked for when these were opened last."""
        return average_as_tested(self.study, self.paths)

    @cached_property
    def tested_baselines(self) -> tuple[Baseline, ...]:
        """The same on the test examples, once these were opened."""
        return tested_baselines(self.study, self.paths)

    @cached_property
    def mistakes(self) -> tuple[Mistakes, ...]:
        """What the best trial gets wrong on the dev set, and on the test set what the one that was tested does."""
        found = (mistakes_on(part, self.study, self.paths, self.best) for part in PARTS)
        return tuple(one for one in found if one is not None)

    @cached_property
    def groups(self) -> tuple[GroupScores, ...]:
        """The scores of groups on the same parts, where the sweep file asks for them."""
        assert self.paths is not None or not self.mistakes
        of_parts = (group_scores(one, self.paths, metric=self.study.metric) for one in self.mistakes if self.paths)
        return tuple(one for one in of_parts if one is not None)

    @cached_property
    def importances(self) -> tuple[Importance, ...]:
        return importances(self.study.records, space=self.space, direction=self.study.direction)

    @cached_property
    def bounds(self) -> tuple[BoundFinding, ...]:
        """Of which more can be said than that chance put the winners there."""
        ranked, ties = self.statistics.ranked, self.statistics.ties
        found = winners_on_bounds([r.params for r in ranked[: num_winners(len(ranked))]], space=self.space)
        return tuple(
            bounds_worth_moving(found, importances=self.importances, num_finished=len(ranked), num_ties=len(ties))
        )

    @cached_property
    def feasibility(self) -> Feasibility:
        return feasibility(self.study.records)

    @cached_property
    def more_trials(self) -> BestOfK | None:
        return best_of_k(self.study.records, direction=self.study.direction, noise=self.statistics.noise_sd)

    @cached_property
    def learning_curve(self) -> LearningCurve | None:
        """The winner's dev metric by the number of training examples; None before that was asked."""
        return learning_curve(self.study, self.paths, best=self.best)

    @property
    def more(self) -> Mapping[str, Json]:
        """What a program reads beside the trials: what predicts, baselines and the learning curve, as far as known."""
        found: dict[str, Json] = {}
        if self.answer is not None:
            found["answer"] = {"trials": list(self.answer.numbers), "value": self.answer.value}
        if self.baselines:
            found["baselines"] = [one.to_json() for one in self.baselines]
        if self.learning_curve is not None:
            found["learning_curve"] = self.learning_curve.to_json()
        return found

    @cached_property
    def cost(self) -> Cost:
        return cost_of(self.study.records, finalists=self.study.finalists, full_epochs=full_epochs(self.study))

    @cached_property
    def kept(self) -> frozenset[str]:
        """Hyperparameters of the space that every trial had at the same value."""
        names = {name for record in self.study.records for name in record.params}
        return frozenset(d.name for d in self.space if not d.fixed and d.name in names) - self.moved

    @cached_property
    def moved(self) -> frozenset[str]:
        """Hyperparameters of the space that trials had at several values."""
        return self.space.moved(r.params for r in self.study.records)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The leaderboard with all its columns."""
        return leaderboard(self.study, notes=self.notes)

    @cached_property
    def notes(self) -> Mapping[int, TrialNote]:
        """What the statistics say of each trial, by number."""
        return {r.number: self._note(r) for r in self.study.records}

    def _note(self, record: TrialRecord) -> TrialNote:
        interval = self.statistics.intervals.get(record.number)
        parts = self.parts.get(record.number)
        return TrialNote(
            ci_low=interval.low if interval else None,
            ci_high=interval.high if interval else None,
            tie=record.number in self.statistics.ties,
            verdict=parts.verdict.value if parts else "",
            flags=[flag.kind.value for flag in self.flags.get(record.number, ())],
            front=self._front_mark(record),
        )

    def _front_mark(self, record: TrialRecord) -> str:
        if self.front is None:
            return ""
        if record.number in self.front.numbers:
            return "yes"
        return "maybe" if record in self.front.may_belong else ""

    def _flags(self, record: TrialRecord) -> tuple[Flag, ...]:
        return curve_flags(
            self.curves.get(record.number, ()),
            direction=self.study.direction,
            facts=record.facts,
            noise_sd=self._dev_noise(record),
            reason=record.reason if record.state.final else "",
        )

    def _dev_noise(self, record: TrialRecord) -> float | None:
        """Standard deviation of the trial's dev metric over dev sets of this size."""
        count = data_count(self.study, "num_dev")
        if self.study.metric in SHARES and count is not None and record.value is not None:
            return math.sqrt(max(record.value * (1 - record.value), 1 / count) / count)
        interval = self.statistics.intervals.get(record.number)
        return interval.half_width / 1.96 if interval else None

    def _parts(self, record: TrialRecord) -> ErrorParts | None:
        if record.best is None:
            return None
        interval = self.statistics.intervals.get(record.number)
        return self._error_parts(record.best, interval, record=record)

    def _error_parts(self, result: EpochResult, interval: Interval | None, *, record: TrialRecord) -> ErrorParts | None:
        on_train_dev, num_train_dev = record.train_dev_metric, data_count(self.study, "num_train_dev")
        return error_parts(
            result,
            metric=self.study.metric,
            num_train=num_measured(self.study),
            num_dev=data_count(self.study, "num_dev"),
            target_error=target_error(self.study),
            dev_interval=interval,
            fitted=self._fitted.get(record.num_parameters),
            guess_error=self._guess_error,
            guess_margin=self._guess_margins.get(record.number),
            reached=best_reached(self.baselines, direction=self.study.direction),
            train_dev=None if on_train_dev is None or num_train_dev is None else (on_train_dev, num_train_dev),
        )

    @cached_property
    def _fitted(self) -> Mapping[int, float]:
        return train_metric_by_size(self.study.records, direction=self.study.direction)

    @cached_property
    def _guess_error(self) -> float | None:
        targets = None if self.paths is None else load_array(self.paths.dev_targets)
        return None if targets is None else guess_error(self.study.metric, targets)

    @cached_property
    def _guess_margins(self) -> Mapping[int, float]:
        targets = None if self.paths is None else load_array(self.paths.dev_targets)
        scores = self.statistics.scores
        return {} if targets is None or scores is None else guess_margins(scores, targets)
