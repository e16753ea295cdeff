"""Where the winner is worst, by the columns that the sweep file names: in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.report.analysis import Analysis
from tuner.report.certainty.groups import FEWEST, GroupScore, GroupScores
from tuner.report.words.numbers import metric_text


def groups_in_words(analysis: Analysis, *, part: str) -> Iterator[str]:
    """A sentence for each column."""
    for found in analysis.groups:
        if found.mistakes.part == part:
            for by in dict.fromkeys(one.by for one in found.groups):
                yield _of_column(by, [one for one in found.groups if one.by == by], found)


def _of_column(by: str, groups: list[GroupScore], found: GroupScores) -> str:
    few = sum(one.value is None for one in groups)
    small = f"; {few} with under {FEWEST} examples, or without one of the classes, cannot be judged" if few else ""
    what = f"{found.mistakes.part} {found.metric}"
    if worse := [one for one in groups if one.is_worse]:
        named = ", ".join(_told(one, found.metric) for one in worse)
        return f"By {by}, {what} is worse than elsewhere, by more than chance, in {named}{small}."
    if few == len(groups):
        return f"By {by}, no group has {FEWEST} {found.mistakes.part} examples: none can be judged."
    return f"By {by}, {what} is nowhere worse than elsewhere by more than chance{small}."


def _told(one: GroupScore, metric: str) -> str:
    assert one.interval is not None
    value, low, high = (metric_text(v, metric=metric) for v in (one.value, one.interval.low, one.interval.high))
    return f'"{one.group}" ({value}, 95 % interval {low} to {high}, {one.examples:,} examples)'
