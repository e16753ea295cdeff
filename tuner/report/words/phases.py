"""How a trial's values changed while it trained, in words."""

from __future__ import annotations

from collections.abc import Iterator

from tuner.records import TrialRecord, phases_as_fact
from tuner.report.words.numbers import value_text

_MOST_TOLD = 6
"""Values of one hyperparameter that are told one by one."""


def phase_lines(record: TrialRecord) -> Iterator[str]:
    """A line for each part of a training with values of its own: from which epoch on, who trained it, what changed."""
    for part in phases_as_fact(record.phases):
        if part["values"]:
            values = ", ".join(f"{name} {value_text(value)}" for name, value in part["values"].items())
            whose = "" if part["trial"] == record.number else f", as trial {part['trial']}"
            yield f"from epoch {part['from_epoch'] + 1}{whose}: {values}"


def phases_in_words(record: TrialRecord) -> str:
    """The values that changed, each with when it did; empty where none did."""
    parts = phases_as_fact(record.phases)
    changed = dict.fromkeys(name for part in parts[1:] for name in part["values"])
    return "; ".join(
        _values_in_words(name, [(p["from_epoch"], p["values"][name]) for p in parts if name in p["values"]])
        for name in changed
    )


def _values_in_words(name: str, found: list[tuple[int, float]]) -> str:
    (_, first), *later = found
    if len(found) <= _MOST_TOLD:
        return ", ".join([f"{name} {value_text(first)}", *(f"{value_text(v)} from epoch {e + 1}" for e, v in later)])
    low, high = (value_text(end(value for _, value in found)) for end in (min, max))
    return f"{name} {value_text(first)} to {value_text(found[-1][1])} in {len(later)} steps, between {low} and {high}"
