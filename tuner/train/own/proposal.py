"""What to write under `reports:` for a program whose output holds the metric in words of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from math import gcd

from tuner.spec.known.metrics import METRICS, OF_OTHERS

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
    first, *rest = words = [_SAME.get(part, part) for part in metric.lower().split("_")]
    measured = rest if first == "val" else words
    if not measured:
        return None
    found = _named(lines, ["val", *measured])
    block = _of_lines(lines, found, metric) or _of_a_dev_line(lines, _label(measured), metric=metric)
    if block is not None or first == "val":
        return block
    plain = _named(lines, words)
    return None if any(map(_is_of_training, plain)) else _of_lines(lines, plain, metric)


def others_named(lines: Sequence[str], *, metric: str) -> dict[str, str]:
    """Further metrics that these lines name, of those that could be the objective: for each what reads it."""
    own = {_SAME.get(part, part) for part in metric.lower().split("_")} - {"val"}
    blocks: dict[str, str] = {}
    for measured in (*METRICS, *OF_OTHERS):
        if {_SAME.get(part, part) for part in measured.split("_")} == own:
            continue
        if (block := proposed(lines, metric=f"val_{measured}")) is not None:
            blocks[f"val_{measured}"] = block
        elif measured != "loss" and (block := proposed(lines, metric=measured)) is not None:
            blocks[measured] = block  # a plain loss is that of training
    return blocks


def _label(words: Sequence[str]) -> str:
    return r"[\s_/-]?".join(_PARTS.get(word, re.escape(word)) for word in words)


def _named(lines: Sequence[str], words: Sequence[str]) -> list[re.Match[str]]:
    """The lines that have these words right before a number: the words, what is between, and the number."""
    named = re.compile(rf"(?i)(?<![a-z0-9])({_label(words)})(['\"]?[\s:=|]{{1,3}}['\"]?)({_NUMBER})")
    return [match for line in lines if (match := named.search(line)) is not None]


def _is_of_training(match: re.Match[str]) -> bool:
    return re.search(r"(?i)train", match.string[: match.start()]) is not None


def _of_lines(lines: Sequence[str], found: Sequence[re.Match[str]], metric: str) -> str | None:
    """The block for lines that name the metric right before its value."""
    if not found:
        return None
    return _block(lines, found[0], f"{_literal(found[0][1])}{_literal(found[0][2])}(?P<{metric}>{_VALUE})")


def _of_a_dev_line(lines: Sequence[str], label: str, *, metric: str) -> str | None:
    """The block for lines that begin with the dev set and name the metric later: `valid | epoch 001 | loss 0.5`.

    Only if each epoch has one value there: such lines may be of batches.
    """
    named = re.compile(rf"(?i)\b({_PARTS['val']})\b(?:(?!train).)*?\b({label})(['\"]?[\s:=|]{{1,3}}['\"]?)({_NUMBER})")
    found = [match for line in lines if (match := named.search(line)) is not None]
    if not found or _is_of_batches(found):
        return None
    match = found[0]
    value = f"{_literal(match[2])}{_literal(match[3])}(?P<{metric}>{_VALUE})"
    counter = _COUNTER.search(match.string, match.end(1), match.start(2))
    if counter is None:
        return _block(lines, match, rf"\b{_literal(match[1])}\b.*?\b{value}")
    pattern = rf"\b{_literal(match[1])}\b.*?{_counted(counter, _name(counter))}.*?\b{value}"
    return f"reports: {{pattern: '{pattern}'{_more(counter, _counts(lines, with_text=match[1]))}}}"


def _is_of_batches(found: Sequence[re.Match[str]]) -> bool:
    """Whether lines count something beside the epoch: `Test: [ 10/78] Loss: 0.3`."""
    return any(re.search(r"\d+\s*/\s*\d+\s*\]", match[0]) for match in found)


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
