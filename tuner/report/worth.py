"""Whether a network was worth it: the simple models beside it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.certainty.baselines import Baseline, failed_baselines
from tuner.report.certainty.tested import answer_of_test, figure_of_test, stored_tests
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text, metric_text, trials_text
from tuner.store.study_data import StudyData


def baselines_in_words(analysis: Analysis) -> Iterator[str]:
    """The verdict first, then all of them."""
    if verdict := baseline_verdict(analysis):
        yield verdict
    if analysis.baselines and analysis.best is not None:
        yield f"Baselines on the same dev examples: {_each(analysis.baselines, analysis.study)}."
    for name, why in failed_baselines(analysis.study).items():
        yield f"The baseline {name} could not be trained: {why}."


def baselines_on_test(analysis: Analysis) -> Iterator[str]:
    """The same of the test set, when that was opened last."""
    found, tests = analysis.tested_baselines, stored_tests(analysis.study)
    if not found:
        return
    of, own = trials_text(answer_of_test(tests[-1])), figure_of_test(tests[-1]).get("value")
    if verdict := _verdict(found, analysis.study, of=of, part="test", networks=own, luck=0.0):
        yield f"On the test set: {verdict}"
    yield f"Baselines on the same test examples: {_each(found, analysis.study)}."


def baseline_verdict(analysis: Analysis) -> str:
    """Whether a network was worth it, in a sentence; empty where that is not known."""
    answer = analysis.answer
    if answer is None:
        return ""
    of = "the mean of the best trials" if answer.is_average else "the best trial"
    luck = analysis.luck_of_answer
    return _verdict(analysis.baselines, analysis.study, of=of, part="dev", networks=answer.value, luck=luck)


def _each(found: Sequence[Baseline], study: StudyData) -> str:
    return ", ".join(f"{one.name} {metric_text(one.value, metric=study.metric)}{_within(one, study)}" for one in found)


def _within(one: Baseline, study: StudyData) -> str:
    """A baseline's interval, and that it has seen a part of the training examples, in brackets."""
    num_train = data_count(study, "num_train") or 0
    said = []
    if one.interval is not None:
        said.append(" to ".join(metric_text(v, metric=study.metric) for v in (one.interval.low, one.interval.high)))
    if 0 < one.examples < num_train:
        said.append(f"fitted to {one.examples:,} of {num_train:,} training examples")
    return f" ({'; '.join(said)})" if said else ""


def _verdict(
    found: Sequence[Baseline], study: StudyData, *, of: str, part: str, networks: float | None, luck: float
) -> str:
    compared = [one for one in found if one.lead is not None]
    if not compared:
        return ""
    better = [one for one in compared if one.standing == "better"]
    rivals = better or [one for one in compared if one.standing == "as good"]
    one = rivals[0] if rivals and not better else min(compared, key=lambda one: one.lead or 0.0)
    own, other = (metric_text(value, metric=study.metric) for value in (one.value, networks))
    figures = f"{part} {study.metric} {own} against {other}{_lead(one, study, luck)}"
    if not rivals:
        return f"No simple model is as good as {of}: {one.name} comes nearest, {figures}."
    also = [rival.name for rival in rivals if rival is not one]
    so_too = f" So {'is' if len(also) == 1 else 'are'} {' and '.join(also)}." if also else ""
    if better:
        return f"{one.name.capitalize()} is better than {of}: {figures}.{so_too}"
    return f"{one.name.capitalize()} is as good as {of}, within noise: {figures}.{so_too}"


def _lead(one: Baseline, study: StudyData, luck: float) -> str:
    """By how much a baseline is behind the network or ahead of it, with its interval."""
    assert one.lead is not None
    assert one.lead_interval is not None
    low, high = one.lead_interval.low, one.lead_interval.high
    if one.lead < 0:
        low, high = -high, -low
    first, last, amount = (difference_text(value, metric=study.metric) for value in (low, high, abs(one.lead)))
    taken_off = f" when {difference_text(luck, metric=study.metric)} of luck are taken off" if luck > 0 else ""
    less, more = ("less", "more") if study.direction is Direction.MAXIMIZE else ("more", "less")
    ends = f"{first.removesuffix(' points')} to {last}"
    return f", {amount} {less if one.lead >= 0 else more}{taken_off} (95 % interval {ends})"
