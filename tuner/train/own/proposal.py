"""What to write under `reports:` for a program whose output holds the metric in words of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_VALUE = r"[-+.\w]+"
"""In a pattern: also `nan` and `inf`, of which a trial has diverged."""
_COUNTER = re.compile(r"(?i)\b(epoch|step|iter(?:ation)?)\b(['\"]?[\s:=#\[(]{0,3}['\"]?0*)(\d+)")
_PARTS = {"val": "(?:val|valid|validation|dev|eval|test)", "acc": "acc(?:uracy)?"}
"""Words that programs have for the same."""
_SAME = {
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "test"), "val"),
    **dict.fromkeys(("acc", "accuracy"), "acc"),
}
_MOST_SHOWN = 3


def lines_with_numbers(lines: Sequence[str]) -> list[str]:
    """One line of each kind that holds a number, the first of it; kinds that come most often come first."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        if re.search(_NUMBER, line):
            kinds.setdefault(re.sub(_NUMBER, "0", line.strip()), []).append(line.strip())
    return [found[0] for found in sorted(kinds.values(), key=len, reverse=True)][:_MOST_SHOWN]


def proposed(lines: Sequence[str], *, metric: str) -> str | None:
    """A `reports:` block, in one line, that reads the metric from these lines; None if none of them seems to name it.

    Args:
        lines: What the program printed.
        metric: The objective's.
    """
    for label in _labels(metric):
        named = re.compile(rf"(?i)({label})(['\"]?[\s:=|]{{1,3}}['\"]?)({_NUMBER})")
        found = [match for line in lines if (match := named.search(line)) is not None]
        if found:
            first = found[0]
            value = f"{_literal(first[1])}{_literal(first[2])}(?P<{metric}>{_VALUE})"
            return _block(lines, first, value)
    return _of_a_dev_line(lines, metric=metric)


def _of_a_dev_line(lines: Sequence[str], *, metric: str) -> str | None:
    """The block for lines that begin with the dev set and name the metric later: `valid | epoch 001 | loss 0.5`.

    Only if each epoch has one value there: such lines may be of batches.
    """
    first, *rest = (_SAME.get(part, part) for part in metric.lower().split("_"))
    if first != "val" or not rest:
        return None
    label = r"[\s_/-]?".join(_PARTS.get(part, re.escape(part)) for part in rest)
    named = re.compile(rf"(?i)\b({_PARTS['val']})\b(?:(?!train).)*?\b({label})(['\"]?[\s:=|]{{1,3}}['\"]?)({_NUMBER})")
    found = [match for line in lines if (match := named.search(line)) is not None]
    if not found:
        return None
    match = found[0]
    value = f"{_literal(match[2])}{_literal(match[3])}(?P<{metric}>{_VALUE})"
    counter = _COUNTER.search(match.string, match.end(1), match.start(2))
    if counter is None:
        block = _block(lines, match, rf"\b{_literal(match[1])}\b.*?\b{value}")
    else:
        pattern = rf"\b{_literal(match[1])}\b.*?{_counted(counter, _name(counter))}.*?\b{value}"
        block = f"reports: {{pattern: '{pattern}'{_more(counter, _counts(lines, with_text=match[1]))}}}"
    return None if _is_of_batches(found) else block


def _is_of_batches(found: Sequence[re.Match[str]]) -> bool:
    """Whether lines count something beside the epoch: `Test: [ 10/78] Loss: 0.3`."""
    return any(re.search(r"\d+\s*/\s*\d+\s*\]", match[0]) for match in found)


def _labels(metric: str) -> Iterator[str]:
    """What the metric may be called in a line, the most telling first."""
    parts = [_SAME.get(part, part) for part in metric.lower().split("_")]
    yield r"[\s_/-]?".join(_PARTS.get(part, re.escape(part)) for part in parts)
    if parts[0] != "val":
        yield r"[\s_/-]?".join(_PARTS.get(part, re.escape(part)) for part in ("val", *parts))


def _block(lines: Sequence[str], first: re.Match[str], value: str) -> str:
    """The pattern, or the two, with how many steps are an epoch."""
    line = first.string
    counter = _COUNTER.search(line)
    if counter is not None:
        name, counts = _name(counter), _counts(lines, with_text=first[1])
        before, behind = _counted(counter, name), value
        if counter.start() > first.start():
            before, behind = behind, before
        pattern = f"'{before}.*?{behind}'"
    else:
        above = next((m for text in lines[: lines.index(line)] if (m := _COUNTER.search(text))), None)
        if above is None:
            return f"reports: {{pattern: '{value}'}}"
        name, counts = _name(above), _counts(lines, with_text=above[1])
        pattern = f"['{_counted(above, name)}', '{value}']"
    return f"reports: {{pattern: {pattern}{_more(counter or above, counts)}}}"


def _more(counter: re.Match[str] | None, counts: Sequence[int]) -> str:
    """What must be said of a counter besides its place."""
    if counter is not None and _name(counter) == "step":
        every = gcd(*(after - before for before, after in pairwise(counts)))
        return f", every: {every}" if every > 1 else ""
    return ", first: 0" if counts and counts[0] == 0 else ""


def _name(counter: re.Match[str]) -> str:
    return "epoch" if counter[1].lower() == "epoch" else "step"


def _counted(counter: re.Match[str], name: str) -> str:
    return rf"{_literal(counter[1])}{_literal(counter[2].rstrip('0'))}(?P<{name}>\d+)"


def _counts(lines: Sequence[str], *, with_text: str) -> list[int]:
    """The counters of all lines that hold this text, each once."""
    found = [int(match[3]) for line in lines if with_text in line and (match := _COUNTER.search(line))]
    return list(dict.fromkeys(found))


def _literal(text: str) -> str:
    """A text as a pattern in single quotes of YAML, whatever white space it has."""
    return re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(text)).replace("'", "''").replace("\\-", "-")
