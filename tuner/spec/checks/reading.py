"""What a value is read as, said where a reader of the file may take it for something else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tuner.records import ParamValue
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.model import DimensionSpec, SweepSpec
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath, show_value

_COUNT = re.compile(
    r"(n|num|k)_.*|(n|k)|.*[^su]s|.*(layers?|depth|units?|width|size|count|steps?|degree|order|rank|dims?|lags?|window|"
    r"patience|epochs?|kernel|channels?|heads?|blocks?|stages?|every|warmup|length|level|seed)s?(_.*)?",
    re.IGNORECASE,
)
"""Names of what is counted, so that whole numbers are what anyone expects."""
FEW = 10
"""A range of whole numbers that is wider holds enough of them to be meant."""
_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("yes", "on", "y"), "write true for the switch"),
    **dict.fromkeys(("no", "off", "n"), "write false for the switch"),
    **dict.fromkeys(("inf", "+inf", "-inf", "nan", "infinity"), "write a number"),
}
_NUMBER_LIKE = re.compile(r"[-+]?[0-9][0-9_]*([.,][0-9_]*)?([eE][-+]?[0-9]+)?\s*%?")


def check_readings(spec: SweepSpec, findings: Findings) -> None:
    """Say what is read as something else than it may seem."""
    for name, part in (spec.space or {}).items():
        if findings.is_unusable(("space", name)):
            continue
        known = HYPERPARAMETERS.get(name)
        if part.choices is not None:
            _check_choices(("space", name, "choices"), part.choices, known, findings)
        elif known is None:
            _check_own_range(name, part, findings)
        else:
            _check_known_range(name, part, known, findings, is_own_code=spec.loop is not None)
    for name, value in spec.model.settings.items():
        if name not in HYPERPARAMETERS:
            _check_word(("model", "settings", name), value, findings)


def _check_own_range(name: str, part: DimensionSpec, findings: Findings) -> None:
    """Whole numbers or not follows from how the ends are written."""
    if part.low is None or part.high is None or part.type is not None or part.step is not None:
        return
    low, high = part.low, part.high
    if isinstance(low, int) and isinstance(high, int):
        if low < high <= low + FEW and (low <= 0 or not _COUNT.fullmatch(name)):
            values = f"the {high - low + 1} whole numbers from {low} to {high}"
            remedy = f"write low: {low}.0 for all numbers between, or type: int to have no such note"
            findings.warn(("space", name), f"is read as {values}", remedy=remedy, at_key=True)
        return
    ends = {key: findings.written(("space", name, key)) for key in ("low", "high")}
    powers = [key for key, text in ends.items() if "e" in text.lower() and "." not in text]
    if float(low).is_integer() and float(high).is_integer() and powers and "." not in "".join(ends.values()):
        rule = f"is read as all numbers from {low:g} to {high:g}, since {powers[0]} is written {ends[powers[0]]}"
        remedy = "add type: int for whole numbers, or type: float to have no such note"
        findings.warn(("space", name), rule, remedy=remedy, at_key=True)


def _check_known_range(
    name: str, part: DimensionSpec, known: Hyperparameter, findings: Findings, *, is_own_code: bool
) -> None:
    """Kind and scale follow from the name."""
    low, high = part.low, part.high
    if part.step is not None and part.log is None and known.scale != "linear":
        rule = f"is drawn on the {_SCALES[known.scale]} of {name}, so that its steps are not equally likely"
        remedy = "add log: false for equal chances, or log: true to have no such note"
        findings.warn(("space", name, "step"), rule, remedy=remedy)
    is_narrow = known.kind == "float" and low is not None and high is not None and high <= 10 * low
    if is_own_code and part.log is None and (known.scale == "log1m" or (known.scale == "log" and is_narrow)):
        rule = f"is drawn on a {_SCALES[known.scale]}, as {name} is by its name"
        remedy = "add log: false for a linear one, or log: true to have no such note"
        findings.warn(("space", name), rule, remedy=remedy, at_key=True)
    whole = isinstance(low, int) and isinstance(high, int) and high >= low + 2
    if known.kind == "float" and whole and _COUNT.fullmatch(name) and part.step is None and part.type is None:
        rule = f"is read as all numbers from {low} to {high}, which {name} is by its name"
        remedy = "add step: 1 for whole ones, or type: float to have no such note"
        findings.warn(("space", name), rule, remedy=remedy, at_key=True)


_SCALES = {"log": "logarithmic scale", "log1m": "scale of log(1 - value)"}


def _check_choices(path: KeyPath, choices: list[ParamValue], known: Hyperparameter | None, findings: Findings) -> None:
    """Numbers in ascending order have neighbours, all else is a set of words; words may look like something else."""
    numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if known is None:
        for index, choice in enumerate(choices):
            _check_word((*path, index), choice, findings)
    is_mixed = known is None and len({_kind(c) for c in choices}) > 1
    if is_mixed:
        kinds = " and ".join(sorted({_kind(c) for c in choices}))
        rule = f"mix {kinds}, and are read as categories without an order"
        findings.warn(path, rule, remedy="write all of them alike, if they are of one kind", got="")
    elif len(numbers) == len(choices) > 2 and list(choices) != sorted(numbers):
        rule = "are read as categories without an order, as they do not ascend"
        ascending = ", ".join(show_value(n) for n in sorted(numbers))
        findings.warn(path, rule, remedy=f"write [{ascending}] for numbers of which neighbours are alike", got="")
    elif known is None and numbers and any(isinstance(n, float) for n in numbers):
        written = [findings.written((*path, i)) for i in range(len(choices))]
        power = next((t for t in written if "e" in t.lower() and "." not in t and "-" not in t), None)
        if power is not None and all(float(n).is_integer() for n in numbers):
            rule = f"are read as numbers with fractions, since one is written {power}"
            findings.warn(path, rule, remedy=f"write {float(power):.0f} for a whole number", got="")


def _kind(value: ParamValue) -> str:
    if isinstance(value, bool):
        return "switches"
    return "text" if isinstance(value, str) else "numbers"


def _check_word(path: KeyPath, value: ParamValue, findings: Findings) -> None:
    """Text without quotes that other formats, and older YAML, read as a switch, a number or nothing."""
    if not isinstance(value, str) or findings.written(path) != value:
        return
    remedy = _WORDS.get(value.lower())
    if value == "None":
        remedy = "leave it out for nothing"
    elif remedy is None and _NUMBER_LIKE.fullmatch(value):
        plain = value.replace("_", "").rstrip("% ")
        remedy = "write it with a point, without other signs" if "," in plain else f"write {plain} for the number"
    if remedy is not None:
        findings.warn(path, "is read as text", remedy=f'{remedy}, or "{value}" in quotes for the text')
