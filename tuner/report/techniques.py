"""What techniques have done on the dev set, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.diagnose.intervals import Interval
from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.words.numbers import difference_text, duration_text, metric_text
from tuner.store.study_data import StudyData


def techniques_in_words(analysis: Analysis) -> Iterator[str]:
    """What each technique that was asked for gains, and what it costs."""
    if (said := _passes(analysis)) is not None:
        yield said


def _passes(analysis: Analysis) -> str | None:
    found, study = analysis.passes_gain, analysis.study
    if found is None:
        return None
    value, usual = (metric_text(v, metric=study.metric) for v in (found.value, found.usual))
    gain = study.direction.sign * (found.value - found.usual)
    loss, usual_loss = (metric_text(v, metric="loss") for v in (found.loss, found.usual_loss))
    more = "" if study.metric == "loss" else f"; loss {loss} against {usual_loss}"
    return (
        f"Monte Carlo dropout: the mean of {found.passes} passes of trial {found.trial} with dropout on has dev "
        f"{study.metric} {value} against {usual} without{_judged(gain, found.gain, study)}{more}. It takes "
        f"{duration_text(found.seconds)} for the dev set, and one pass {duration_text(found.seconds_once)}."
    )


def _judged(gain: float, interval: Interval | None, study: StudyData) -> str:
    """By how much something is better, how sure that is, and what it comes to."""
    if interval is None:
        return ", which cannot be told from chance without dev predictions"
    amount, low, high = (difference_text(v, metric=study.metric) for v in (abs(gain), interval.low, interval.high))
    better, worse = ("more", "less") if study.direction is Direction.MAXIMIZE else ("less", "more")
    said = f", {amount} {better if gain >= 0 else worse} (95 % interval of the gain "
    said += f"{low.removesuffix(' points')} to {high})"
    if interval.low > 0:
        return f"{said}: it gains"
    return f"{said}: it loses" if interval.high < 0 else f"{said}: whether it gains cannot be told"
