"""Whether a figure of the test set is what the dev set promised, and what it means where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tuner.diagnose.intervals import Interval
from tuner.records import Json
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text, metric_text
from tuner.store.study_data import StudyData


def against_dev(
    study: StudyData, test: Mapping[str, Json], *, dev_value: float, dev_interval: Interval, luck: float
) -> str:
    """A test figure beside the dev metric of the same trial, in one sentence without a full stop.

    Args:
        study: The study.
        test: The evaluation.
        dev_value: The trial's dev metric, as it was ranked.
        dev_interval: Its 95 % interval.
        luck: By how much the dev metric is taken to be too good, since it is the best of many.

    Returns:
        Nothing where the evaluation holds no figures.
    """
    value, interval = test.get("value"), test.get("interval")
    if not isinstance(value, int | float) or not isinstance(interval, list) or len(interval) != 2:
        return ""
    sign, metric = study.direction.sign, study.metric
    honest = dev_value - sign * luck
    behind = sign * (honest - value)
    noise = math.hypot(dev_interval.half_width, (interval[1] - interval[0]) / 2)
    low, high = (metric_text(v - sign * luck, metric=metric) for v in (dev_interval.low, dev_interval.high))
    taken_off = ", its luck taken off" if luck > 0 else ""
    dev = f"{metric_text(honest, metric=metric)}{taken_off} (95 % interval {low} to {high})"
    if not abs(behind) > noise:
        return f"That is what the dev set promised: {dev}"
    by = difference_text(abs(behind), metric=metric)
    if behind < 0:
        return f"That is better by {by} than the dev set promised, {dev}: the test examples are easier ones"
    return f"That is worse by {by} than the dev set promised, {dev}: {_why(study)}"


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
