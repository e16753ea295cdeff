"""How certain the ranking is: an interval for each trial, the trials tied with the best, and the winner's luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuner.diagnose.intervals import Interval, cross_validated_interval, wilson_interval
from tuner.diagnose.noise import standard_error
from tuner.paths import StudyPaths
from tuner.ranking import rank_trials
from tuner.records import TrialRecord
from tuner.report.certainty.dev_scores import DevScores, load_dev_scores
from tuner.report.certainty.overstatement import expected_overstatement, fold_noise, own_noise
from tuner.report.certainty.ties import largest_of, tie_group, unpaired_tie_group
from tuner.report.certainty.weighted import Array
from tuner.report.facts import data_count, fold_scores
from tuner.spec.known.metrics import SHARES
from tuner.store.study_data import StudyData

_MOST_BY_FOLD = 30
"""Trials whose scores by fold are looked at."""
_HEAVY_TAIL = 0.06
"""When so small a share of the dev examples makes up half of the loss, intervals cover 80 to 90 % in simulation."""
_Basis = Literal["paired", "unpaired", "none"]
"""Whether ties rest on dev predictions, on the size of the dev set alone, or are unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStatistics:
    """What the noise of the dev set lets one say about a study's finished trials."""

    ranked: tuple[TrialRecord, ...]
    """Finished trials, best first."""
    intervals: Mapping[int, Interval]
    """Of each trial's dev metric, by trial number, as far as it is known."""
    ties: frozenset[int]
    """Trials that cannot be told from the best, itself included; empty if that is not known."""
    basis: _Basis
    smallest: TrialRecord | None
    """The smallest, then cheapest, network among the ties that lie within one standard error of the best."""
    overstatement: float | None
    """By how much the best dev metric is expected to exceed that network's true one (never negative)."""
    noise_sd: float | None
    """Standard deviation of the luck that one of the best trials does not share with the others."""
    scores: DevScores | None = None
    """The dev metrics of the best trials on other dev sets; None without their dev predictions."""
    rests_on_few: tuple[int, int] | None = None
    """(few, all) dev examples, where so few make up half of the best trial's squared error or loss that its interval
    is too narrow."""

    @property
    def best(self) -> TrialRecord | None:
        return self.ranked[0] if self.ranked else None


def study_statistics(study: StudyData, paths: StudyPaths | None) -> StudyStatistics:
    """Weigh a study's ranking.

    Args:
        study: The study.
        paths: Where its trials' dev predictions lie; None if there are none.
    """
    ranked = rank_trials(study.records, direction=study.direction)
    scores = load_dev_scores(ranked, metric=study.metric, paths=paths) if paths is not None and ranked else None
    num_dev = scores.num_examples if scores else data_count(study, "num_dev")
    ties, basis = _ties(study, ranked, scores, num_dev)
    tied = [r for r in ranked if r.number in ties]
    sign = study.direction.sign
    overstatement = noise = None
    if scores is not None and len(scores.trials) > 1:
        values = sign * np.array([r.value for r in ranked], dtype=np.float64)
        by_fold = fold_noise(_fold_scores(tied or ranked), repeats=data_count(study, "repeats") or 1)
        overstatement = max(0.0, expected_overstatement(values, sign * scores.samples, least_noise=by_fold))
        noise = own_noise(sign * scores.values, sign * scores.samples)
    return StudyStatistics(
        ranked=tuple(ranked),
        intervals=_with_folds(study, _intervals(study, scores, num_dev)),
        ties=ties,
        basis=basis,
        smallest=_smallest(tied, scores, num_dev, study),
        overstatement=overstatement,
        noise_sd=noise,
        scores=scores,
        rests_on_few=_few(scores),
    )


def _fold_scores(tied: Sequence[TrialRecord]) -> Array:
    """Those of the trials that tie with the best, shape (trials, folds); empty without folds."""
    found = [scores for record in tied[:_MOST_BY_FOLD] if (scores := fold_scores(record))]
    alike = [scores for scores in found if len(scores) == len(found[0])]
    return np.array(alike, dtype=np.float64) if alike else np.empty((0, 0))


def _few(scores: DevScores | None) -> tuple[int, int] | None:
    """Normal residuals have half of their squares in an eighth of the examples; far fewer mean heavy tails."""
    if scores is None or not scores.half_of_loss or scores.half_of_loss > _HEAVY_TAIL * scores.num_examples:
        return None
    return scores.half_of_loss, scores.num_examples


def _smallest(
    tied: Sequence[TrialRecord], scores: DevScores | None, num_dev: int | None, study: StudyData
) -> TrialRecord | None:
    """The one-standard-error rule: of the networks about as good as the best, the smallest."""
    if not tied:
        return None
    best = tied[0]
    errors = _lead_errors(scores) if scores is not None and scores.trials[0] == best.number else {}
    usual = float(np.median(list(errors.values()))) if errors else 0.0
    if not errors and study.metric == "accuracy" and num_dev is not None and best.value is not None:
        usual = math.sqrt(2) * standard_error(study.metric, best.value, num_examples=num_dev)
    near = [r for r in tied if abs((r.value or 0.0) - (best.value or 0.0)) <= errors.get(r.number, usual)]
    return min([best, *near], key=lambda r: (r.num_parameters, r.seconds, r.number))


def _lead_errors(scores: DevScores) -> dict[int, float]:
    """Standard error of the best trial's lead over each other one."""
    errors = (scores.samples[:, [0]] - scores.samples).std(axis=0)
    return dict(zip(scores.trials[1:], errors[1:].tolist(), strict=True))


def _intervals(study: StudyData, scores: DevScores | None, num_dev: int | None) -> dict[int, Interval]:
    """From predictions where they are; else from the dev set's size, or as wide as those of the other trials."""
    known = {} if scores is None else {t: scores.interval(i) for i, t in enumerate(scores.trials)}
    half_width = float(np.median([i.half_width for i in known.values()])) if known else None
    for record in study.records:
        value = record.value
        if record.number in known or value is None or not math.isfinite(value):
            continue
        if study.metric == "accuracy" and num_dev is not None:
            known[record.number] = wilson_interval(value, num_dev)
        elif half_width is not None:
            known[record.number] = attainable(study, Interval(value - half_width, value + half_width))
    return known


def _with_folds(study: StudyData, intervals: dict[int, Interval]) -> dict[int, Interval]:
    """Intervals that hold what the dev examples leave open, and what the training examples do, where folds show it."""
    folds, num_train, num_dev = (data_count(study, name) for name in ("folds", "num_train", "num_dev"))
    repeats = data_count(study, "repeats") or 1
    if folds is None or num_train is None or num_dev is None:
        return intervals
    found = dict(intervals)
    for record in study.records:
        scores = fold_scores(record)
        if len(scores) > 1:
            of_folds = cross_validated_interval(scores, num_train=num_train, num_dev=num_dev * repeats // folds)
            own = found.get(record.number, of_folds)
            both = Interval(min(own.low, of_folds.low), max(own.high, of_folds.high))
            found[record.number] = attainable(study, both)
    return found


def attainable(study: StudyData, interval: Interval) -> Interval:
    """The part of an interval that the metric can reach."""
    least, most = (0.0, 1.0) if study.metric in SHARES else (-math.inf, math.inf)
    return Interval(max(least, interval.low), min(most, interval.high))


def _ties(
    study: StudyData, ranked: Sequence[TrialRecord], scores: DevScores | None, num_dev: int | None
) -> tuple[frozenset[int], _Basis]:
    if not ranked:
        return frozenset(), "none"
    sign = study.direction.sign
    values = sign * np.array([r.value for r in ranked], dtype=np.float64)
    if scores is not None and scores.trials[0] == ranked[0].number:
        return _paired_ties(ranked, values, scores, sign), "paired"
    if study.metric == "accuracy" and num_dev is not None:
        shares = np.clip(values, 0.0, 1.0)  # of a damaged study they may be none
        sd = np.sqrt(np.maximum(shares * (1 - shares), 1 / num_dev) / num_dev)
        group = unpaired_tie_group(values, sd)
        return frozenset(r.number for r, tied in zip(ranked, group, strict=True) if tied), "unpaired"
    return frozenset(), "none"


def _paired_ties(ranked: Sequence[TrialRecord], values: Array, scores: DevScores, sign: float) -> frozenset[int]:
    group = tie_group(sign * scores.values, sign * scores.samples)
    tied = {t for t, may_be_best in zip(scores.trials, group, strict=True) if may_be_best}
    # Trials too far down to have been compared by their predictions, or without any: by the usual noise of a lead.
    compared = set(scores.trials)
    noise = math.sqrt(2) * own_noise(sign * scores.values, sign * scores.samples)
    lead = largest_of(len(ranked) - 1) * noise
    tied |= {
        r.number for r, v in zip(ranked, values, strict=True) if r.number not in compared and values[0] - v <= lead
    }
    return frozenset(tied)
