"""What a report's one advice rests on, gathered from all that it knows of a study."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.capacity import train_metric_reached
from tuner.diagnose.error_parts import Verdict, error_of
from tuner.diagnose.evidence import Evidence, Step
from tuner.diagnose.next_step import next_step
from tuner.diagnose.resolution import folds_instead
from tuner.records import Json
from tuner.report.analysis import Analysis
from tuner.report.certainty.tested import outdated_test, stored_tests
from tuner.report.facts import data_count, sweep_value
from tuner.spec.known.metrics import METRICS
from tuner.store.standing import state_of
from tuner.store.study_data import StudyData

_FEWEST_OF_A_SIZE = 3
"""Finished trials with large networks, and as many with small ones: fewer tell nothing of what a size can fit."""
_BETTER_FIT = 0.05
"""Of the train error: what a network of twice the size must take off for a still larger one to be worth a try."""


def advice(analysis: Analysis) -> Step:
    """The one thing to change in the sweep file next."""
    study, best, data = analysis.study, analysis.best, _data(analysis.study)
    is_outdated = bool(outdated_test(study, analysis.answering))
    return next_step(
        Evidence(
            best=best.params if best else None,
            parts=analysis.best_parts,
            flags=analysis.flags.get(best.number, ()) if best else (),
            bounds=analysis.bounds,
            importances=analysis.importances,
            feasibility=analysis.feasibility,
            space=analysis.space,
            kept=analysis.kept,
            training=sweep_value(study, "training") or {},
            strategy=sweep_value(study, "search", "strategy") or "",
            images=len(data.get("input_shape") or ()) == 3,
            told_apart=data.get("train_dev_auroc") is not None,
            telling=tuple(data.get("telling_columns") or ()),
            size_is_enough=_size_is_enough(analysis),
            folds=_folds_instead(analysis, data),
            average=_average_that_gains(analysis),
            num_ties=len(analysis.statistics.ties),
            model=_model(analysis),
            norm=sweep_value(study, "model", "norm"),
            confirmed=analysis.finals is not None,
            own_code=any(sweep_value(study, key) is not None for key in ("command", "trainer")),
            testable=data_count(study, "num_test") is not None,
            ended=state_of(study)[0] == "finished",
            tested=bool(stored_tests(study)) and not is_outdated,
            other_tested=is_outdated,
        )
    )


def _data(study: StudyData) -> Mapping[str, Json]:
    data = study.facts.get("data")
    return data if isinstance(data, Mapping) else {}


def _size_is_enough(analysis: Analysis) -> bool:
    study, direction = analysis.study, analysis.study.direction
    if study.metric not in METRICS:
        return False
    reached = [(r.num_parameters, train_metric_reached(r, direction=direction)) for r in analysis.statistics.ranked]
    most = max((size for size, _ in reached), default=0)
    found = [(size > most / 2, error_of(study.metric, value)) for size, value in reached if value is not None]
    small, large = ([error for is_large, error in found if is_large is wanted] for wanted in (False, True))
    return min(len(small), len(large)) >= _FEWEST_OF_A_SIZE and min(large) > (1 - _BETTER_FIT) * min(small)


def _folds_instead(analysis: Analysis, data: Mapping[str, Json]) -> str:
    sweep, parts = analysis.study.facts.get("sweep"), analysis.best_parts
    if not data or not isinstance(sweep, Mapping):
        return ""
    is_untold = parts is not None and parts.verdict is Verdict.NO_BETTER_THAN_A_GUESS and parts.seems_better
    return folds_instead(analysis.study.metric, data, sweep, is_untold=is_untold)


def _average_that_gains(analysis: Analysis) -> int:
    found = analysis.average_gain
    if analysis.answer is not None and analysis.answer.is_average:  # what predicts is the average
        return 0
    if found is None or found.chosen_apart is None or found.chosen_apart <= found.gain.half_width:
        return 0
    return len(found.trials)


def _model(analysis: Analysis) -> str:
    kind = sweep_value(analysis.study, "model", "kind")
    if analysis.best is not None and sweep_value(analysis.study, "model", "choices"):
        kind = analysis.best.params.get("model", kind)
    return kind if isinstance(kind, str) else ""
