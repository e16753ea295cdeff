"""Whether a network was worth it: the simple models beside it, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.certainty.baselines import Baseline, failed_baselines
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text, metric_text
from tuner.store.study_data import StudyData


def baselines_in_words(analysis: Analysis) -> Iterator[str]:
    """The verdict first, then all of them."""
    study, best, found = analysis.study, analysis.best, analysis.baselines
    if verdict := baseline_verdict(analysis):
        yield verdict
    if found and (best is not None):
        each = [f"{one.name} {metric_text(one.value, metric=study.metric)}{_within(one, study)}" for one in found]
        yield f"Baselines on the same dev examples: {', '.join(each)}."
    for name, why in failed_baselines(study).items():
        yield f"The baseline {name} could not be trained: {why}."


def _within(one: Baseline, study: StudyData) -> str:
    """A baseline's interval, and that it has seen a part of the training examples, in brackets."""
    num_train = data_count(study, "num_train") or 0
    said = []
    if one.interval is not None:
        said.append(" to ".join(metric_text(v, metric=study.metric) for v in (one.interval.low, one.interval.high)))
    if 0 < one.examples < num_train:
        said.append(f"of {one.examples:,} of {num_train:,} training examples")
    return f" ({'; '.join(said)})" if said else ""


def baseline_verdict(analysis: Analysis) -> str:
    """Whether a network was worth it, in a sentence; empty where that is not known."""
    study, best = analysis.study, analysis.best
    compared = [one for one in analysis.baselines if one.lead is not None]
    if best is None or not compared:
        return ""
    named = {standing: [one for one in compared if one.standing == standing] for standing in ("better", "as good")}
    rivals = named["better"] or named["as good"]
    by_lead = min(compared, key=lambda one: one.lead or 0.0)
    one = rivals[0] if rivals and not named["better"] else by_lead
    own, networks = (metric_text(value, metric=study.metric) for value in (one.value, best.value))
    figures = f"dev {study.metric} {own} against {networks}"
    if not rivals:
        return (
            f"No simple model is as good as the best trial: {one.name} comes nearest, {figures}{_lead(one, analysis)}."
        )
    also = [other.name for other in rivals if other is not one]
    so_too = f" So {'is' if len(also) == 1 else 'are'} {' and '.join(also)}." if also else ""
    than = "better than" if named["better"] else "as good as"
    noise = "" if named["better"] else ", within noise"
    return f"{one.name.capitalize()} is {than} the best trial{noise}: {figures}{_lead(one, analysis)}.{so_too}"


def _lead(one: Baseline, analysis: Analysis) -> str:
    """By how much the best trial is ahead of a baseline or behind it, with its interval."""
    metric = analysis.study.metric
    assert one.lead is not None
    assert one.lead_interval is not None
    low, high = one.lead_interval.low, one.lead_interval.high
    if one.lead < 0:
        low, high = -high, -low
    ends = f"{difference_text(low, metric=metric).removesuffix(' points')} to {difference_text(high, metric=metric)}"
    luck = f"; {difference_text(analysis.luck, metric=metric)} of luck taken off" if analysis.luck > 0 else ""
    less, more = ("less", "more") if analysis.study.direction is Direction.MAXIMIZE else ("more", "less")
    amount = f"{difference_text(abs(one.lead), metric=metric)} {less if one.lead >= 0 else more}"
    return f", {amount} (95 % interval {ends}{luck})"
