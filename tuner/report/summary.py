"""What a report says in words: the verdict first, then what it rests on. Every format shows these same sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tuner.diagnose.importance import Finding
from tuner.diagnose.resolution import folds_instead
from tuner.records import FailureReason, TrialRecord, TrialState
from tuner.report.advice import advice
from tuner.report.analysis import Analysis
from tuner.report.certainty.tested import answer_of_test, figure_of_test, outdated_test, stored_tests
from tuner.report.code import mixed_code
from tuner.report.facts import data_count, fold_scores, sparsity_in_words, sweep_value
from tuner.report.groups import groups_in_words
from tuner.report.more_data import more_data_in_words
from tuner.report.techniques import answer_in_words, average_on_test, techniques_in_words, threshold_on_test
from tuner.report.verdict import diagnosis_in_words, four_steps_in_words, on_test_and_dev
from tuner.report.words.numbers import (
    count_text,
    difference_text,
    metric_text,
    moment_text,
    number_of,
    objective_text,
    trials_text,
)
from tuner.report.words.phases import phases_in_words
from tuner.report.worth import baselines_in_words, baselines_on_test
from tuner.store.standing import state_of, what_is_left
from tuner.store.study_data import StudyData

_FRONT_SHOWN = 8
"""Members of the Pareto front that are told one by one."""
_FEW_GOOD = 3
"""Fewer trials than this within noise of the best: its neighbourhood is hardly explored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A study's report in words."""

    headline: str
    """The best trial, its dev metric and, where finalists chose it, why."""
    answer: str
    """Which trials predict together, and what that gains; empty where the best trial predicts alone."""
    standing: str
    """Why the search ended, or what is left of the study; empty where that is not known."""
    baselines: tuple[str, ...]
    """Whether a simple model is as good, and what each of them reaches."""
    diagnosis: str
    """Bias, variance, both or neither; empty if that is not known."""
    four_steps: str
    """Which of the course's steps are taken: fit the training, dev and test set, work in the world; or empty."""
    next_step: str
    """The one thing to do next."""
    certainty: tuple[str, ...]
    """How far the ranking can be trusted."""
    advice: tuple[str, ...]
    """What the search says of its space."""
    test: tuple[str, ...]
    """What the test set said, each time it was used."""
    warnings: tuple[str, ...]
    """What may make the figures wrong."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences, the most important first."""
        first = (self.headline, self.answer, self.standing, *self.baselines, self.diagnosis, self.four_steps)
        then = (self.next_step, *self.certainty, *self.test, *self.advice, *self.warnings)
        return tuple(line for line in (*first, *then) if line)


def summarise(analysis: Analysis) -> Summary:
    """Put an analysis into words."""
    step = advice(analysis)
    change = f"{step.key}: {step.change}" if step.key else step.change
    return Summary(
        headline=_headline(analysis),
        answer=answer_in_words(analysis),
        standing=_standing(analysis.study),
        baselines=tuple(baselines_in_words(analysis)),
        diagnosis=diagnosis_in_words(analysis),
        four_steps=four_steps_in_words(analysis),
        next_step=f"Next: {change} ({step.why}).",
        certainty=tuple(_certainty(analysis)),
        advice=tuple(_advice(analysis)),
        test=tuple(_tests(analysis)),
        warnings=tuple(_warnings(analysis)),
    )


def _headline(analysis: Analysis) -> str:
    study, choice = analysis.study, analysis.choice
    if choice is None:
        running = sum(not r.state.final for r in study.records)
        if state_of(study)[0] == "finished":
            return f"No trial was trained to its end, of {len(study.records)}."
        return f"No trial has finished yet ({len(study.records)} begun, {running} under way)."
    best, leader = choice.record, analysis.statistics.best
    if choice.on_fresh_seeds:
        led = ""
        if leader is not None and leader.number != best.number:
            led = f" Trial {leader.number} led the search, with {metric_text(leader.value, metric=study.metric)}."
        return f"Best: trial {best.number}, {choice.why}, {_size(best)}.{led}"
    interval = analysis.statistics.intervals.get(best.number)
    within = ""
    if interval is not None:
        low, high = (metric_text(v, metric=study.metric) for v in (interval.low, interval.high))
        within = f" (95 % interval {low} to {high})"
    value = metric_text(best.value, metric=study.metric)
    return f"Best: trial {best.number} with dev {study.metric} {value}{within}, {_size(best)}."


def _standing(study: StudyData) -> str:
    state, reason = state_of(study)
    if state == "finished":
        return f"The search has ended: {reason}." if reason else ""
    if state == "running" or not reason:
        return ""
    return f"Not finished ({reason}): the next run {what_is_left(study)}."


def _front(analysis: Analysis) -> Iterator[str]:
    front, study = analysis.front, analysis.study
    broken = sum(r.violation > 0 for r in study.records)
    if broken:
        yield f"{broken} of {len(study.records)} trials break a constraint; they rank after those that keep all."
    if front is None:
        return
    names = " and ".join([study.metric, *(o.name for o in front.objectives)])
    members = "; ".join(
        f"trial {m.record.number} ({metric_text(m.record.value, metric=study.metric)}, "
        + ", ".join(objective_text(o.name, m.record.objectives[o.name]) for o in front.objectives)
        + ("; its lead may be luck" if m.is_sure is False else "")
        + ")"
        for m in front.members[:_FRONT_SHOWN]
    )
    more = len(front.members) - _FRONT_SHOWN
    yield f"Pareto front of {names}: {members}{f'; and {more} more' if more > 0 else ''}."
    if front.may_belong:
        yield f"{len(front.may_belong)} more trials may belong to the front: noise can have pushed them off it."


def _certainty(analysis: Analysis) -> Iterator[str]:
    statistics, study = analysis.statistics, analysis.study
    yield from _front(analysis)
    if analysis.choice is not None and (changes := phases_in_words(analysis.choice.record)):
        yield f"The values of trial {analysis.choice.record.number} changed while it trained: {changes}."
    smallest = statistics.smallest
    folds = fold_scores(statistics.best) if statistics.best is not None else ()
    if folds:
        low, high = (metric_text(score, metric=study.metric) for score in (min(folds), max(folds)))
        repeats = data_count(study, "repeats") or 1
        each = f"{len(folds)} folds" if repeats == 1 else f"{len(folds) // repeats} folds, shared out {repeats} times"
        yield (
            f"A score is the mean of {each}; those of the best trial range from {low} to {high}. Intervals take "
            "account of the training examples that folds share (Nadeau and Bengio 2003)"
            f"{'' if repeats == 1 else ', and of an example in all repeats as of one'}."
        )
    if len(statistics.ties) > 1 and smallest is not None:
        how = "" if statistics.basis == "paired" else " (judged without dev predictions, so widely)"
        which = "the best itself" if smallest is statistics.best else f"trial {smallest.number}, {_size(smallest)}"
        finished = number_of(len(statistics.ranked), "finished trial")
        yield (
            f"{len(statistics.ties)} of {finished} cannot be told from the best{how}; "
            f"the smallest network within one standard error of it is {which}."
        )
    elif statistics.best is not None and statistics.basis == "none" and len(statistics.ranked) > 1:
        own = ":" in str(sweep_value(study, "objective", "metric"))  # a function of the user's
        why = f"{study.metric} tells nothing on resamples of the dev set" if own else "there are no dev predictions"
        yield f"How many trials tie with the best is not known: {why}."
    if statistics.rests_on_few is not None:
        few, dev = statistics.rests_on_few
        yield (
            f"{few} of {dev} dev examples make up half of the best trial's loss: the figures rest on these few, and "
            "the intervals are too narrow."
        )
    if statistics.overstatement is not None:
        amount = difference_text(statistics.overstatement, metric=study.metric)
        noise = (
            "noise of the folds; nested cross-validation would take off about as much"
            if folds
            else "noise of the dev set"
        )
        yield (
            f"As the best of {len(statistics.ranked)}, it probably overstates its network by {amount} "
            f"(estimate from the {noise})."
        )
    yield from _finals(analysis)
    if analysis.more_trials is not None:
        yield analysis.more_trials.text(study.metric)
    yield from more_data_in_words(analysis)
    yield from groups_in_words(analysis, part="dev")


def _finals(analysis: Analysis) -> Iterator[str]:
    finals, metric = analysis.finals, analysis.study.metric
    if finals is None:
        return
    winner = finals.winner
    seeds = f"{len(winner.values)} fresh seed{'s' * (len(winner.values) != 1)}"
    spread = "" if finals.seed_sd is None else f" +- {difference_text(finals.seed_sd, metric=metric)} over seeds"
    yield (
        f"Trained again on {seeds}, the finalists' choice is trial {winner.record.number}: "
        f"mean dev {metric} {metric_text(winner.mean, metric=metric)}{spread}."
    )
    amount = difference_text(abs(finals.overstatement), metric=metric)
    direction = "above" if finals.overstatement >= 0 else "below"
    margin = ""
    if finals.overstatement_interval is not None:
        margin = f" (+- {difference_text(finals.overstatement_interval.half_width, metric=metric)})"
    yield f"The search's best score lay {amount}{margin} {direction} what fresh trainings of it reach."


def _advice(analysis: Analysis) -> Iterator[str]:
    if analysis.best is not None and (zeros := sparsity_in_words(analysis.best)) is not None:
        yield zeros
    yield from techniques_in_words(analysis)
    if analysis.statistics.basis == "paired" and 0 < len(analysis.statistics.ties) < _FEW_GOOD:
        yield "Fewer than three trials are within noise of the best: its neighbourhood is hardly explored."
    for bound in analysis.bounds:
        yield f"{bound.text}. A value to try beyond it: {bound.suggestion}."
    found = analysis.feasibility
    if found.diverged:
        limit = found.learning_rate_bound
        above = "" if limit is None else f"; above a learning rate of {limit:.2g} nearly all did"
        yield f"{found.diverged} of {number_of(found.trials, 'trial')} diverged ({found.share:.0%}){above}."
    if found.failed:
        otherwise = " otherwise" if found.diverged else ""
        yield f"{found.failed} of {number_of(found.trials, 'trial')} failed{otherwise}{_reasons(analysis)}."
    names: dict[Finding, list[str]] = {}
    for importance in analysis.importances:
        names.setdefault(importance.finding, []).append(importance.name)
    if Finding.MATTERS in names:
        yield f"What matters: {', '.join(names[Finding.MATTERS])}."
        if "batch_size" in names[Finding.MATTERS]:
            yield "Batch sizes were compared at equal epochs, so smaller ones had more steps."
    if Finding.DOES_NOT_MATTER in names:
        yield f"What does not matter here: {', '.join(names[Finding.DOES_NOT_MATTER])}."
    if Finding.CANNOT_TELL in names:
        count = analysis.importances[0].num_trials
        yield f"Cannot tell from {number_of(count, 'trial')}: {', '.join(names[Finding.CANNOT_TELL])}."
    if analysis.kept and len(analysis.study.records) > 1:
        yield f"Never moved by the search: {', '.join(n for n in analysis.space.names if n in analysis.kept)}."


def _reasons(analysis: Analysis) -> str:
    """The reason that most of them share, in brackets."""
    words = Counter(
        r.reason.partition(":")[0]
        for r in analysis.study.records
        if r.state is TrialState.FAILED and r.reason and not r.reason.startswith(FailureReason.DIVERGED)
    )
    return f", mostly: {words.most_common(1)[0][0]}" if words else ""


def _tests(analysis: Analysis) -> Iterator[str]:
    tests = stored_tests(analysis.study)
    for number, test in enumerate(tests, start=1):
        figure = figure_of_test(test)
        value, interval = metric_text(figure.get("value"), metric=analysis.study.metric), figure.get("interval")
        within = ""
        if isinstance(interval, list) and len(interval) == 2:
            low, high = (metric_text(v, metric=analysis.study.metric) for v in interval)
            within = f" (95 % interval {low} to {high})"
        which = f"Test set, use {number}" if len(tests) > 1 else "Test set"
        moment = moment_text(test.get("at", ""))
        yield f"{which}: {analysis.study.metric} {value}{within}, {trials_text(answer_of_test(test))}, {moment}."
        if said := on_test_and_dev(analysis, test):
            yield f"{said.text}."
    if len(tests) > 1:
        yield f"The test set was used {len(tests)} times: only the first figure is unbiased."
    yield from average_on_test(analysis)
    yield from threshold_on_test(analysis)
    yield from baselines_on_test(analysis)
    yield from groups_in_words(analysis, part="test")
    if outdated := outdated_test(analysis.study, analysis.answering):
        yield f"{outdated[0].upper()}{outdated[1:]}."


def _warnings(analysis: Analysis) -> Iterator[str]:
    data = analysis.study.facts.get("data")
    if isinstance(data, Mapping):
        if columns := data.get("columns"):
            yield f"The {columns}."
        yield from (str(note) for note in data.get("notes") or ())
        sweep = analysis.study.facts.get("sweep")
        if isinstance(sweep, Mapping) and (proposal := folds_instead(analysis.study.metric, data, sweep)):
            yield f"{proposal[0].upper()}{proposal[1:]}."
    if mixed := mixed_code(analysis.study):
        yield mixed


def _size(record: TrialRecord) -> str:
    return f"{count_text(record.num_parameters)} parameters" if record.num_parameters else "size not known"
