"""What must hold of a dimension that is given as choices."""

from __future__ import annotations

from tuner.records import ParamValue
from tuner.spec.by_layer import by_name, numbers_in
from tuner.spec.known.knowledge import HIGHEST_FLOAT, Hyperparameter
from tuner.spec.known.names import did_you_mean
from tuner.spec.model import DimensionSpec
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath, plain_number, show_value


def check_choices(path: KeyPath, part: DimensionSpec, known: Hyperparameter | None, findings: Findings) -> None:
    """Check `choices`, or that a hyperparameter that is a word or a switch has nothing else."""
    for key in ("low", "high", "step", "log", "type"):
        if getattr(part, key) is None:
            continue
        if part.choices is None:
            assert known is not None
            remedy = f"write choices: [{', '.join(show_value(c) for c in known.allowed)}]"
            findings.error((*path, key), f"is not for {known.name}, which is no number", remedy=remedy, at_key=True)
        else:
            findings.error((*path, key), "goes with a range, not with choices", remedy="remove one", at_key=True)
    seen: list[ParamValue] = []
    for index, choice in enumerate(part.choices or ()):
        if choice in seen:
            findings.error((*path, "choices", index), "is among the choices already", remedy="remove it")
        elif known is not None:
            check_value((*path, "choices", index), choice, known, findings)
        seen.append(choice)


def check_value(
    path: KeyPath, value: ParamValue, known: Hyperparameter, findings: Findings, *, got: str | None = None
) -> None:
    """Check one value of a known hyperparameter against all that it can be; `got` of a part of what is written."""
    if any(value == a and type(value) is type(a) for a in known.allowed):
        return
    if isinstance(value, str) and known.by_layer is not None and numbers_in(value):
        if by_name(value) and known.by_layer == "list":
            findings.error(path, "must be a number, or a list with one for each layer")
        for part in dict.fromkeys(numbers_in(value)):
            check_value(path, part, known, findings, got=plain_number(part))
        return
    if known.kind == "categorical" or isinstance(value, str):
        words = [show_value(a) for a in known.allowed]
        rule = f"must be one of {', '.join(words)}" if words else "must be a number"
        if known.kind != "categorical" and words:
            number = "a whole number" if known.kind == "int" else "a number"
            rule = f"must be {', '.join([number, *words[:-1]])} or {words[-1]}"
        findings.error(path, rule, remedy=did_you_mean(show_value(value), words))
        return
    if isinstance(value, bool):
        findings.error(path, "must be a number", got=got)
    elif known.kind == "int" and not float(value).is_integer():
        findings.error(path, "must be a whole number", remedy=f"write {round(value)}", got=got)
    elif known.bounds is not None and not known.bounds.hold(value):
        if known.bounds.reason and value > known.bounds.high:
            findings.error(
                path, f"must be at most {plain_number(known.bounds.high)}", remedy=known.bounds.reason, got=got
            )
        else:
            findings.error(path, f"must be {known.bounds}", remedy=_share_remedy(value, known), got=got)
    elif value > HIGHEST_FLOAT:
        findings.error(path, f"must be at most {HIGHEST_FLOAT:g}", remedy="training is in float32", got=got)
    elif known.name == "kernel_size" and value % 2 == 0:
        findings.error(path, "must be odd", remedy=f"write {int(value) + 1}", got=got)


def _share_remedy(value: float, known: Hyperparameter) -> str:
    """A share that was written in percent."""
    return f"write {value / 100:g} for {value:g} %" if known.name == "dropout" and 2 <= value <= 100 else ""
