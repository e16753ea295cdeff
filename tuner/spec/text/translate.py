"""Pydantic's errors in our words: the rule, the value, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuner.records import Json
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.names import STUDY_NAME_RULE, did_you_mean, nearest
from tuner.spec.model import SweepSpec
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath, describe, plain_number

_RULES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda c: "is required",
    "int_type": lambda c: "must be a whole number",
    "float_type": lambda c: "must be a number",
    "finite_number": lambda c: "must be a finite number",
    "bool_type": lambda c: "must be true or false",
    "string_type": lambda c: "must be text",
    "string_too_short": lambda c: "must not be empty",
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: STUDY_NAME_RULE,
    "dict_type": lambda c: "must be a mapping of keys to values",
    "model_type": lambda c: "must be a mapping of keys to values",
    "list_type": lambda c: "must be a list",
    "too_short": lambda c: "must hold at least one value",
    "greater_than": lambda c: f"must be greater than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {plain_number(c['le'])}",
    "literal_error": lambda c: f"must be {_as_in_yaml(c['expected'])}",
}
_SURE = 0.85
"""Likeness above which a key is taken for a slip, even where another block has just this key."""
REQUIRED: Mapping[KeyPath, str] = {
    ("study",): "add `study: NAME`",
    ("data",): "add `data: {source: sklearn/digits}`, or a file of yours",
    ("data", "source"): "write `sklearn/NAME`, a file, or `package.module:function`",
    ("data", "split", "train"): "give the shares of train and dev",
    ("data", "split", "dev"): "give the shares of train and dev",
}


def report_errors(error: ValidationError, findings: Findings) -> None:
    """Add every error of a validation to the findings."""
    for details in error.errors(include_url=False):
        _report(details, findings)


def _report(details: ErrorDetails, findings: Findings) -> None:
    path: KeyPath = tuple(details["loc"])
    value = details["input"]
    match details["type"]:
        case "extra_forbidden":
            _report_unknown_key(path, findings)
        case "missing":
            in_file = findings.path_in_file(path)
            findings.refuse(path, "is required", remedy=REQUIRED.get(in_file, ""), got="")
        case kind if kind in _RULES:
            rule = _rule_of_hyperparameter(path, kind) or _RULES[kind](details.get("ctx", {}))
            got = "" if kind == "too_short" else None
            findings.refuse(path, rule, remedy=_remedy(kind, path, value, details.get("ctx", {})), got=got)
        case "class_weight":
            findings.refuse((*path, details["ctx"]["name"]), details["msg"])
        case kind:  # our own errors say the rule themselves
            got = "" if kind == "setting_twice" or (kind == "objectives" and value == []) else None
            findings.refuse(path, details["msg"], remedy=_remedy(kind, path, value, details.get("ctx", {})), got=got)


def _report_unknown_key(path: KeyPath, findings: Findings) -> None:
    block, key = path[:-1], str(path[-1])
    known = _known_keys(block)
    near = nearest(key, known, cutoff=_SURE)
    if near is None:
        remedy = _right_place(key, block) or did_you_mean(key, known) or f"known keys: {', '.join(known)}"
    else:
        remedy = f'Did you mean "{near}"?'
    where = _show_block(findings.path_in_file(path)[:-1])
    findings.refuse(path, f"is not a key of {where}", remedy=remedy, at_key=True)


def _right_place(key: str, block: KeyPath) -> str:
    """Where a key that is none of this block belongs, if it is one of another."""
    hyperparameter = key if key in HYPERPARAMETERS else nearest(key, HYPERPARAMETERS, cutoff=_SURE)
    if hyperparameter is not None and block == ():
        fixed = "model" if HYPERPARAMETERS[hyperparameter].of_model else "training"
        return f"write `{hyperparameter}:` under `space:` to search it, or under `{fixed}:` to fix it"
    if hyperparameter is not None and HYPERPARAMETERS[hyperparameter].of_model:
        return f"write `{hyperparameter}:` under `model:`"
    home = next((home for home in _HOMES if home != block and key in _known_keys(home)), None)
    return f"write it under `{'.'.join(home)}:`" if home else ""


_HOMES: tuple[tuple[str, ...], ...] = (
    ("training",),
    ("search",),
    ("data",),
    ("objective",),
    ("finalists",),
    ("limits",),
    ("resources",),
    ("training", "early_stopping"),
    ("search", "stop"),
)


def _known_keys(block: KeyPath) -> list[str]:
    """The keys that a block of the sweep file may have, in the order of its model."""
    model: type[BaseModel] = SweepSpec
    for part in block:
        field = model.model_fields.get(str(part))
        if field is None:
            continue  # the name of a dimension, a list index, a form of a union
        model = _model_in(field.annotation) or model
    return [name for name, field in model.model_fields.items() if not field.exclude]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The block that a field holds: itself, or inside Optional, Annotated, a union or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def _show_block(block: KeyPath) -> str:
    if not block:
        return "a sweep file"
    return "a hyperparameter" if block[0] == "space" else f"`{'.'.join(str(part) for part in block)}`"


def _rule_of_hyperparameter(path: KeyPath, kind: str) -> str | None:
    """A known number's whole domain, rather than the one end that was passed."""
    known = HYPERPARAMETERS.get(str(path[-1])) if path[:-1] == ("training",) else None
    if known is None or known.bounds is None or not kind.startswith(("greater", "less")):
        return None
    return f"must be {known.bounds}"


def _remedy(kind: str, path: KeyPath, value: Json, context: Mapping[str, Any]) -> str:
    if kind == "literal_error":
        is_switch = "True" in _expected(context) and isinstance(value, str)
        return (_truth(str(value)) if is_switch else "") or did_you_mean(str(value), _expected(context))
    if kind in ("dict_type", "model_type"):
        return _block_remedy(path, value)
    if kind == "list_type" and isinstance(value, dict):
        return "write [{...}]"
    if kind in ("less_than", "less_than_equal") and isinstance(value, int | float) and 2 <= value <= 100:
        is_share = context.get("lt", context.get("le")) == 1 and path[-1] not in ("momentum", "beta1", "beta2")
        return f"write {value / 100:g} for {value:g} %" if is_share else ""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "put it in quotes"
    if kind == "bool_type" and isinstance(value, str):
        return _truth(value)
    if kind in ("int_type", "float_type", "number", "batch_size"):
        return _number_remedy(kind, value)
    return ""


def _block_remedy(path: KeyPath, value: Json) -> str:
    match path:
        case ("data",) if isinstance(value, str):
            return f"write {{source: {describe(value)}}}"
        case ("model",):
            return "write `model: NAME`, or a mapping with `kind: NAME` and its settings"
        case ("space",):
            return "write `NAME: {low: ..., high: ...}` for each hyperparameter"
        case ("space", _):
            return (
                "give {low: ..., high: ...}, {choices: [...]}, or {} for the standard range of a known hyperparameter"
            )
        case ("training", "early_stopping") if isinstance(value, int) and value > 0:
            return f"write {{patience: {int(value)}}}"
        case _:
            return ""


def _expected(context: Mapping[str, Any]) -> list[str]:
    return [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]


def _as_in_yaml(expected: str) -> str:
    return expected.replace("'", "`").replace("True", "true").replace("False", "false")


def _truth(text: str) -> str:
    words = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
    meant = words.get(text.lower(), text.lower())
    return f"write {meant}" if meant in ("true", "false") else ""


def _number_remedy(kind: str, value: Json) -> str:
    """What to write for a number that is written as something else."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"write {int(value)}"
    if not isinstance(value, str):
        return ""
    text = value.strip().replace("_", "")
    if text.endswith("%") and (number := _as_number(text[:-1])) is not None:
        return f"write {number / 100:g}"
    number = _as_number(text)
    if number is None and "," in text:
        number = _as_number(text.replace(",", "."))
    if number is None:
        return ""
    return "remove the quotes" if text == value and "," not in value else f"write {number:g}"


def _as_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
