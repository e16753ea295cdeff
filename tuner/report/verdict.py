"""What the best trial's error consists of, and which of Ng's four steps are taken, in words."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.diagnose.error_parts import ErrorParts, Verdict
from tuner.diagnose.intervals import Interval
from tuner.records import Json
from tuner.report.analysis import Analysis
from tuner.report.certainty.against_dev import AgainstDev, against_dev
from tuner.report.certainty.tested import answer_of_test, current_test, figure_of_test
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text

_WITHIN_NOISE = "cannot be told from noise"


def diagnosis_in_words(analysis: Analysis) -> str:
    """The verdict and what stands out in the best trial; empty if there is none, or its errors are not known."""
    best = analysis.best
    parts = analysis.best_parts
    if best is None or parts is None:
        return ""
    said = _verdict_text(parts, luck=analysis.luck)
    flags = analysis.flags.get(best.number, ())
    return f"{said}{''.join(f' The best trial: {flag.text}.' for flag in flags)}"


def _verdict_text(parts: ErrorParts, *, luck: float) -> str:
    train, dev, target = parts.text(parts.train_error), parts.text(parts.dev_error), parts.text(parts.target_error)
    taken_off = f" ({difference_text(luck, metric=parts.metric)} of luck taken off)" if luck > 0 else ""
    reached = f"train {train}"
    if parts.own_train_error > parts.train_error:
        own = parts.text(parts.own_train_error)
        reached += f", which networks of this size reach; its own is {own} at its best epoch"
    bias = f"bias {parts.text(parts.bias)} ({reached}; target {target})"
    variance = f"variance {parts.text(parts.variance)} (dev {dev} against train {train})"
    mismatch = ""
    if parts.train_dev_error is not None:
        train_dev = parts.text(parts.train_dev_error)
        variance = f"variance {parts.text(parts.variance)} (held-out train {train_dev} against train {train})"
        apart = f"(dev {dev} against held-out train {train_dev})"
        mismatch = f"mismatch of train and dev {parts.text(parts.mismatch)} {apart}"
        variance = variance if parts.verdict is Verdict.MISMATCH else f"{variance}; {mismatch}"
    if parts.reached_error is not None:
        bias = (
            f"bias at least {parts.text(parts.train_error - parts.reached_error)} ({reached}; {parts.reached_by} shows "
            f"that {parts.text(parts.reached_error)} is possible on the dev set)"
        )
    elif not parts.target_given:
        bias = f"bias at most {parts.text(parts.bias)} ({reached}; how much of it is noise only a target_error tells)"
    match parts.verdict:
        case Verdict.AT_TARGET if not parts.target_given:
            return f"The dev error is {dev}{taken_off}: this dev set shows nothing more to gain (train {train})."
        case Verdict.AT_TARGET:
            reached = "is no worse than" if parts.dev_error <= parts.target_error else "all but reaches"
            return f"The dev error {dev}{taken_off} {reached} the target {target}."
        case Verdict.MISMATCH:
            return f"Mostly a {mismatch}{taken_off}; {variance}; {bias}."
        case Verdict.BIAS:
            return f"Mostly bias: {bias}; {variance}{taken_off}."
        case Verdict.VARIANCE:
            return f"Mostly variance: {variance}{taken_off}; {bias}."
        case Verdict.BOTH:
            return f"Bias and variance: {bias}; {variance}{taken_off}."
        case Verdict.BIAS_OR_NOISE:
            return f"Mostly bias, or noise that no network can fit: {bias}; {variance}{taken_off}."
        case Verdict.NO_BETTER_THAN_A_GUESS:
            guess = parts.text(parts.guess_error or 0.0)
            return (
                f"Bias and variance cannot be told: the dev error {dev}{taken_off} is no better than the {guess} of "
                f"one answer for all examples, within its interval (train {train})."
            )
        case _:
            return f"Neither bias nor variance stands out from the noise: {bias}; {variance}{taken_off}."


def four_steps_in_words(analysis: Analysis) -> str:
    """How far the best trial has come by Ng's four steps, in their order; empty where its errors are not known."""
    parts = analysis.best_parts
    if parts is None:
        return ""
    steps = {
        "fit the training set": _fits_train(parts),
        "fit the dev set": _fits_dev(parts),
        "fit the test set": _fits_test(analysis),
        "work in the world": "no figure here tells",
    }
    return f"The four steps: {'; '.join(f'{step}: {said}' for step, said in steps.items())}."


def _fits_train(parts: ErrorParts) -> str:
    if parts.verdict is Verdict.AT_TARGET:
        return "yes"
    if parts.verdict is Verdict.NO_BETTER_THAN_A_GUESS:
        return "not known"
    if (said := _told(parts, parts.bias, parts.bias_interval)) != "no":
        return said
    if parts.target_given or parts.reached_error is not None:
        return "no (bias)"
    return "not known without a target_error (bias or noise)"


def _fits_dev(parts: ErrorParts) -> str:
    if parts.verdict is Verdict.AT_TARGET:
        return "yes"
    if parts.verdict is Verdict.NO_BETTER_THAN_A_GUESS:
        return "no (no better than a guess)"
    variance = _told(parts, parts.variance, parts.variance_interval)
    mismatch = _told(parts, parts.mismatch, parts.mismatch_interval)
    causes = [name for name, said in (("variance", variance), ("mismatch", mismatch)) if said == "no"]
    if causes:
        return f"no ({' and '.join(causes)})"
    return "yes" if (variance, mismatch) == ("yes", "yes") else _WITHIN_NOISE


def _told(parts: ErrorParts, part: float, interval: Interval) -> str:
    """Whether a part of the error is too small to act on: yes, no, or not to be told from noise."""
    if part < parts.material:
        return "yes"
    return "no" if interval.low > 0 else _WITHIN_NOISE


def _fits_test(analysis: Analysis) -> str:
    test = current_test(analysis.study, analysis.answering)
    if test is None:
        none = not data_count(analysis.study, "num_test")
        return "there is no test set" if none else "not looked at (tuner test, once all is chosen)"
    if set(answer_of_test(test)) != set(analysis.answering):
        return "another trial was tested"
    found = on_test_and_dev(analysis, test)
    if found is None:
        return "not known"
    return "no (worse than the dev set promised)" if found.is_worse else "yes"


def on_test_and_dev(analysis: Analysis, test: Mapping[str, Json]) -> AgainstDev | None:
    """Whether a test figure is what the dev set promised of the same trials; None where that cannot be said."""
    record = next((r for r in analysis.study.records if r.number == test.get("trial")), None)
    interval = None if record is None else analysis.statistics.intervals.get(record.number)
    if record is None or record.value is None or interval is None:
        return None
    if len(answer_of_test(test)) > 1:
        answer = analysis.answer
        if answer is None or answer.value is None or set(answer.numbers) != set(answer_of_test(test)):
            return None
        # Of an average the interval is taken to be as wide as that of the best trial.
        shifted, luck = interval.shifted(answer.value - record.value), analysis.luck_of_answer
        figure = figure_of_test(test)
        return against_dev(analysis.study, figure, dev_value=answer.value, dev_interval=shifted, luck=luck)
    is_best = analysis.best is not None and record.number == analysis.best.number
    luck = analysis.luck if is_best else 0.0
    return against_dev(analysis.study, test, dev_value=record.value, dev_interval=interval, luck=luck)
