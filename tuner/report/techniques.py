"""What techniques have done on the dev set, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.diagnose.intervals import Interval
from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.certainty.average import AverageGain
from tuner.report.certainty.monte_carlo import gain_interval
from tuner.report.certainty.threshold import ThresholdGain, threshold_as_tested
from tuner.report.facts import sweep_value
from tuner.report.words.numbers import difference_text, duration_text, metric_text, number_of, trials_text
from tuner.store.study_data import StudyData

_SWITCHED = {
    "augment": "Augmentation (augment)",
    "mixup": "Mixup (mixup)",
    "label_smoothing": "Label smoothing (label_smoothing)",
    "input_dropout": "Dropout of inputs (input_dropout)",
    "weight_noise": "Noise on weights (weight_noise)",
}
"""What is off at 0, by its name, with what it is called."""
_MOST_NAMED = 3
"""More hyperparameters than these are counted."""


def techniques_in_words(analysis: Analysis) -> Iterator[str]:
    """What each technique that was asked for gains, and what it costs; and what an average of trials would."""
    if (found := analysis.average_gain) is not None and len(analysis.answering) == 1:
        yield f"Average: {_average(found, analysis.study)}; to predict by it: --average {len(found.trials)}."
    if (said := _threshold(analysis)) is not None:
        yield said
    if (said := _passes(analysis)) is not None:
        yield said
    for name, what in _SWITCHED.items():
        if (said := _with_and_without(name, what, analysis)) is not None:
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


def answer_in_words(analysis: Analysis) -> str:
    """Which trials predict together, and what that gains; empty where the best trial predicts alone."""
    answer = analysis.answer
    if answer is None or not answer.is_average:
        return ""
    is_asked = sweep_value(analysis.study, "answer") == "average"
    why = "as `answer: average` asks" if is_asked else "no worse than the best trial on dev"
    alone = f"`predict`, `test` and `best --export` go by it, {why}; by trial {answer.numbers[0]} alone: --average 1."
    if answer.gain is None:
        return f"Answer: the mean of the predictions of {_numbers(answer.numbers)}, whose gain is not known. {alone}"
    return f"Answer: {_average(answer.gain, analysis.study)}. {alone}"


def _threshold(analysis: Analysis) -> str | None:
    """From which probability on the second class is best answered, where that seems better than from one half on."""
    found, study = analysis.threshold_gain, analysis.study
    if found is None or found.chosen_apart <= 0:
        return None
    value, usual = (metric_text(v, metric=found.metric) for v in (found.value, found.usual))
    judged = _judged(found.chosen_apart, found.gain, study, metric=found.metric).removeprefix(",")
    return (
        f"Decision threshold: {_answered_from(found, study)}, dev {found.metric} is {value}, against {usual} from 0.5 "
        f"on, but these examples chose it. Where half of them choose and the other half score, it has{judged}; to "
        f"predict by it: --threshold {found.threshold:.2g}."
    )


def threshold_on_test(analysis: Analysis) -> Iterator[str]:
    """What the threshold that dev chose has on the test set; nothing where dev asks for none but one half."""
    chosen, study = analysis.threshold_gain, analysis.study
    found = threshold_as_tested(study, analysis.paths, chosen)
    if chosen is None or chosen.chosen_apart <= 0 or found is None:
        return
    value, usual = (metric_text(v, metric=found.metric) for v in (found.value, found.usual))
    yield (
        f"On the test set: {_answered_from(found, study)}, as dev chose, {found.metric} is {value}, against {usual} "
        f"from 0.5 on{_judged(found.gain.middle, found.gain, study, metric=found.metric)}."
    )


def _answered_from(found: ThresholdGain, study: StudyData) -> str:
    names: Sequence[str] = (study.facts.get("data") or {}).get("class_names") or ()
    name = names[1] if len(names) == 2 else "the second class"
    return f"with {name} answered from a probability of {found.threshold:.2g} on"


def _average(found: AverageGain, study: StudyData) -> str:
    """What the mean of the best trials' predictions gains over the winner's alone."""
    value, usual = (metric_text(v, metric=study.metric) for v in (found.value, found.usual))
    said = (
        f"the mean of the predictions of {_numbers(found.trials)} has dev {study.metric} {value} against {usual} of "
        f"trial {found.trials[0]} alone"
    )
    if found.chosen_apart is None:
        gain = study.direction.sign * (found.value - found.usual)
        return f"{said}{_judged(gain, found.gain, study)}, on the examples that chose them"
    half = found.gain.half_width
    honest = Interval(found.chosen_apart - half, found.chosen_apart + half)
    return (
        f"{said}, but these examples chose the trials. Where half of them choose and the other half score, the average "
        f"of {len(found.trials)} has{_judged(found.chosen_apart, honest, study).removeprefix(',')}"
    )


def average_on_test(analysis: Analysis) -> Iterator[str]:
    """What an average had on the test set when that was opened last; nothing where none was asked."""
    found, study = analysis.tested_average, analysis.study
    if found is None:
        return
    value, usual = (metric_text(v, metric=study.metric) for v in (found.value, found.usual))
    gain = study.direction.sign * (found.value - found.usual)
    yield (
        f"On the test set: the mean of the predictions of {_numbers(found.trials)} has {study.metric} {value} against "
        f"{usual} of trial {found.trials[0]} alone{_judged(gain, found.gain, study)}. To choose between the two by "
        "this makes the test set a dev set."
    )


def _numbers(trials: Sequence[int]) -> str:
    return trials_text(trials).removeprefix("the mean of ")


def _with_and_without(name: str, what: str, analysis: Analysis) -> str | None:
    """What the best trial with a technique has over the best one without; None where it was not asked for."""
    study, ranked = analysis.study, analysis.statistics.ranked
    fixed = sweep_value(study, "training", name)
    if name not in analysis.space.names:
        if not isinstance(fixed, int | float) or fixed <= 0 or not ranked:
            return None
        return f"{what}: what it gains cannot be told, since every trial has it, at {fixed:g}; search it from 0 on."
    having = [record for record in ranked if name in record.params]
    with_it, without = ([r for r in having if (float(r.params[name]) > 0) is kind] for kind in (True, False))
    if not with_it or not without:
        if not having:
            return None
        every = "every finished trial has it" if with_it else "no finished trial has it"
        return f"{what}: what it gains cannot be told, since {every}."
    on, off = with_it[0], without[0]
    first, second = (metric_text(r.value, metric=study.metric) for r in (on, off))
    gain = study.direction.sign * ((on.value or 0.0) - (off.value or 0.0))
    others = [n for n in analysis.space.names if n != name and on.params.get(n) != off.params.get(n)]
    judged = _judged(gain, gain_interval(study, analysis.paths, on, off), study, others=others)
    return (
        f"{what}: the best of {number_of(len(with_it), 'trial')} with it, trial {on.number}, has dev {study.metric} "
        f"{first}, and the best of {len(without)} without, trial {off.number}, {second}{judged}."
    )


def _judged(
    gain: float, interval: Interval | None, study: StudyData, *, metric: str = "", others: Sequence[str] = ()
) -> str:
    """By how much something is better, how sure that is, and what it comes to; `others` may have done it as well.

    It is told by the study's metric, or by another one of which more is better.
    """
    if interval is None:
        return ", which cannot be told from chance without dev predictions"
    figures = (abs(gain), interval.low, interval.high)
    amount, low, high = (difference_text(v, metric=metric or study.metric) for v in figures)
    is_larger_better = bool(metric) or study.direction is Direction.MAXIMIZE
    better, worse = ("more", "less") if is_larger_better else ("less", "more")
    said = f", {amount} {better if gain >= 0 else worse} (95 % interval of the gain "
    said += f"{low.removesuffix(' points')} to {high})"
    if interval.low <= 0 <= interval.high:
        return f"{said}: whether it gains cannot be told"
    if not others:
        return f"{said}: it {'gains' if interval.low > 0 else 'loses'}"
    which = ", ".join(others) if len(others) <= _MOST_NAMED else f"{len(others)} other hyperparameters"
    return f"{said}: more than chance, which need not be its doing, since they differ in {which} too"
