"""Simple models beside the winner: by how much it leads them, on the same dev examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.error_parts import Reached
from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.records import Direction, Json
from tuner.report.certainty.dev_scores import DevScores, dev_examples, load_array, scores_of
from tuner.report.certainty.tested import answer_of_test, figure_of_test, stored_tests
from tuner.report.certainty.weighted import Array
from tuner.spec.known.baselines import BASELINES
from tuner.store.facts import BASELINES_KEY
from tuner.store.study_data import StudyData

_BEST = -1
"""What stands for the best trial, or the average, among the baselines' numbers."""
Standing = Literal["better", "as good", "worse", "not known"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A simple model on the dev set."""

    name: str
    value: float
    """Its dev metric."""
    interval: Interval | None = None
    """What other dev sets of this size would make of it; None if that is not known."""
    lead: float | None = None
    """By how much the best trial is better, its luck taken off; negative where it is worse."""
    lead_interval: Interval | None = None
    standing: Standing = "not known"
    """As compared with the best trial."""
    examples: int = 0
    """Training examples that it was fitted to."""
    seconds: float = 0.0
    """Of a processor."""

    def to_json(self) -> dict[str, Json]:
        def ends(interval: Interval | None) -> Json:
            return None if interval is None else [interval.low, interval.high]

        return {
            "name": self.name, "dev": self.value, "interval": ends(self.interval), "standing": self.standing,
            "lead_of_best": self.lead, "lead_interval": ends(self.lead_interval), "examples": self.examples,
            "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """What baselines are compared with: the best trial, or an average of the best ones."""

    value: float
    """Its metric."""
    predictions: Path | Array
    """Of the same examples, or where these lie."""


def _stored(study: StudyData) -> dict[str, Mapping[str, Json]]:
    """What the study remembers of its baselines, the simplest first; of other data nothing."""
    found, data = study.facts.get(BASELINES_KEY) or {}, study.facts.get("data") or {}
    known = [name for name in BASELINES if name in found and found[name].get("sha256") == data.get("sha256")]
    return {name: found[name] for name in known}


def failed_baselines(study: StudyData) -> dict[str, str]:
    """Why some could not be trained, by their names."""
    return {name: str(facts["failed"]) for name, facts in _stored(study).items() if "failed" in facts}


def baselines_of(
    study: StudyData, paths: StudyPaths | None, own: Answering | None, *, luck: float
) -> tuple[Baseline, ...]:
    """The baselines of a study, the simplest first.

    Args:
        study: The study.
        paths: Where dev predictions lie; None if there are none.
        own: What they are compared with; None if there is nothing.
        luck: By how much its dev metric is taken to be too good.
    """
    known = {name: facts for name, facts in _stored(study).items() if "value" in facts}
    place = None if paths is None else paths.baseline
    targets = None if paths is None else load_array(paths.dev_targets)
    examples = None if paths is None or targets is None else dev_examples(paths, targets)
    return _beside(study, known, own, place, targets, luck=luck, examples=examples)


def tested_baselines(study: StudyData, paths: StudyPaths | None) -> tuple[Baseline, ...]:
    """The same on the test examples, as they were opened last; nothing before, or if no baseline was asked."""
    tests = stored_tests(study)
    if not tests or paths is None:
        return ()
    found = tests[-1].get("baselines") or {}
    known: dict[str, Mapping[str, Json]] = {name: found[name] for name in BASELINES if "value" in found.get(name, {})}
    name = "predictions" if len(answer_of_test(tests[-1])) == 1 else "average"
    own = Answering(figure_of_test(tests[-1])["value"], paths.tested(name))
    return _beside(study, known, own, paths.tested, load_array(paths.tested("targets")), luck=0.0)


def best_reached(baselines: Sequence[Baseline], *, direction: Direction) -> Reached | None:
    """What the best baseline shows to be possible."""
    known = [Reached(one.name, one.value, one.interval) for one in baselines if one.interval is not None]
    return max(known, key=lambda one: direction.sign * one.value, default=None)


def _beside(
    study: StudyData, known: Mapping[str, Mapping[str, Json]], own: Answering | None,
    place: Callable[[str], Path] | None, targets: NDArray[np.generic] | None, *, luck: float,
    examples: NDArray[np.generic] | None = None,
) -> tuple[Baseline, ...]:  # fmt: skip
    """Baselines with their intervals and the winner's leads, as far as predictions are there.

    Args:
        study: The study.
        known: The `value` of each, and what else is remembered.
        own: What they are compared with.
        place: Where those of a baseline lie.
        targets: What was to be predicted.
        luck: By how much the winner's metric is taken to be too good.
        examples: Which example each of the targets is of, where folds are repeated.
    """
    plain = [
        Baseline(
            name=name, value=facts["value"], examples=facts.get("examples", 0), seconds=facts.get("seconds", 0.0)
        )
        for name, facts in known.items()
    ]  # fmt: skip
    if not plain or place is None or targets is None or len(targets) < 2:
        return tuple(plain)
    candidates: list[tuple[int, float, Path | Array]] = [
        (number, one.value, place(one.name)) for number, one in enumerate(plain)
    ]
    if own is not None:
        candidates.insert(0, (_BEST, own.value, own.predictions))
    scores = scores_of(candidates, metric=study.metric, targets=targets, examples=examples)
    if scores is None:
        return tuple(plain)
    return tuple(
        _compared(one, number, scores, sign=study.direction.sign, luck=luck) for number, one in enumerate(plain)
    )


def _compared(one: Baseline, number: int, scores: DevScores, *, sign: float, luck: float) -> Baseline:
    """A baseline with its interval, and with what the best trial leads it by, as far as their predictions are there."""
    if number not in scores.trials:
        return one
    own = scores.trials.index(number)
    one = replace(one, interval=scores.interval(own))
    if _BEST not in scores.trials:
        return one
    best = scores.trials.index(_BEST)
    half = scores.half_width(best, own)
    measured = sign * float(scores.values[best] - scores.values[own])
    lead = measured - luck
    standing: Standing = "worse" if lead - half > 0 else "as good"
    if measured + half < 0:  # the luck is an estimate: it makes no baseline better than a winner that it has not beaten
        standing = "better"
    return replace(one, lead=lead, lead_interval=Interval(lead - half, lead + half), standing=standing)
