"""Whether more training examples would help: the learning curve, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.diagnose.more_data import MoreData
from tuner.report.analysis import Analysis
from tuner.report.certainty.learning_curve import LearningCurve
from tuner.report.facts import data_count
from tuner.report.words.numbers import difference_text, number_of

_ROUNDING = 1e-9


def more_data_in_words(analysis: Analysis) -> Iterator[str]:
    """The answer, and what stands in its way."""
    found = analysis.learning_curve
    if found is None:
        return
    yield _answer(found, analysis)
    if found.num_failed:
        yield f"{number_of(found.num_failed, 'training')} on a part of the training examples failed."
    best = analysis.best
    if best is not None and best.number != found.trial:
        yield f"The learning curve is trial {found.trial}'s; the best is now trial {best.number}."


def _answer(found: LearningCurve, analysis: Analysis) -> str:
    if found.gain is None:
        return (
            "Whether more data would help cannot be told: no seed has finished on two parts of the training examples."
        )
    study = analysis.study
    fewer, more = found.points[-2].examples, found.points[-1].examples
    amount = difference_text(abs(found.gain), metric=study.metric)
    change = f"{amount} {'better' if found.gain > 0 else 'worse'}" if abs(found.gain) > _ROUNDING else "the same"
    brought = f"with {more:,} training examples in place of {fewer:,} dev {study.metric} is {change}"
    if found.gain_interval is None:
        return f"Whether more data would help cannot be told from one seed: {brought}."
    low, high = (
        difference_text(end, metric=study.metric) for end in (found.gain_interval.low, found.gain_interval.high)
    )
    brought += f" (95 % interval of the gain {low.removesuffix(' points')} to {high})"
    match found.answer:
        case MoreData.HELPS:
            return (
                f"More data would probably help: {brought}. As many again seldom bring more than the last did, and "
                "often less."
            )
        case MoreData.HARDLY:
            return f"More data of this kind would hardly help: {brought}, which is less than a tenth of the dev error."
        case MoreData.CANNOT_TELL:
            larger = "more examples" if data_count(study, "folds") else "a larger dev set"
            remedy = f"{larger} would tell" if found.dev_set_is_the_limit else "more seeds may tell"
            return f"Whether more data would help cannot be told: {brought}; {remedy}."
