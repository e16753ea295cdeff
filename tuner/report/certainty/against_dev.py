"""Whether a figure of the test set is what the dev set promised, and what it means where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.diagnose.intervals import Interval
from tuner.records import Json
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text, metric_text
from tuner.store.study_data import StudyData


@dataclass(frozen=True, slots=True)
class AgainstDev:
    """A test figure beside the dev metric of the same trial."""

    is_worse: bool
    """By more than noise."""
    text: str
    """One sentence without a full stop."""


def against_dev(
    study: StudyData, test: Mapping[str, Json], *, dev_value: float, dev_interval: Interval, luck: float
) -> AgainstDev | None:
    """Hold a test figure against the dev metric of the same trial.

    Args:
        study: The study.
        test: The evaluation.
        dev_value: The trial's dev metric, as it was ranked.
        dev_interval: Its 95 % interval.
        luck: By how much the dev metric is taken to be too good, since it is the best of many.

    Returns:
        None where the evaluation holds no figures.
    """
    value, interval = test.get("value"), test.get("interval")
    if not isinstance(value, int | float) or not isinstance(interval, list) or len(interval) != 2:
        return None
    sign, metric = study.direction.sign, study.metric
    honest = dev_value - sign * luck
    behind = sign * (honest - value)
    noise = math.hypot(dev_interval.half_width, (interval[1] - interval[0]) / 2)
    low, high = (metric_text(v - sign * luck, metric=metric) for v in (dev_interval.low, dev_interval.high))
    taken_off = ", its luck taken off" if luck > 0 else ""
    dev = f"{metric_text(honest, metric=metric)}{taken_off} (95 % interval {low} to {high})"
    if not abs(behind) > noise:
        return AgainstDev(False, f"That is what the dev set promised: {dev}")
    by = difference_text(abs(behind), metric=metric)
    if behind < 0:
        easier = f"That is better by {by} than the dev set promised, {dev}: the test examples are easier ones"
        return AgainstDev(False, easier)
    return AgainstDev(True, f"That is worse by {by} than the dev set promised, {dev}: {_why(study)}")


def _why(study: StudyData) -> str:
    notes = (study.facts.get("data") or {}).get("notes") or ()
    if any(str(note).startswith("a classifier tells test from") for note in notes):
        return "the test set is of another distribution, as its inputs show, too; choose on dev examples like these"
    num_dev = data_count(study, "num_dev")
    dev = f"the {num_dev} dev examples" if num_dev else "the dev examples"
    return (
        f"the test set is of another distribution than the dev set, or the search has fitted {dev}; choose on more dev "
        "examples, and on such as those that the network is for"
    )
