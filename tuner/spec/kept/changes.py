"""What changed between the sweep file that a study was run with and the one that is to continue it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tuner.records import Json, ParamValue
from tuner.spec.defaults import build_space, fixed_values, settings_for
from tuner.spec.kept.snapshot import sweep_from_snapshot
from tuner.spec.model import SweepSpec
from tuner.spec.space import Dimension, Space
from tuner.spec.values import Part

_HARMLESS = frozenset({"fuse", "target_error", "report_by"})
"""Keys of `data`, `training` and `objective` that change what is said of trials or how fast they train, and not their
results."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two sweep files."""

    line: str
    """`space.momentum: was 0.5 to 0.99, is 0.8 to 0.99`."""
    breaks: bool
    """Whether trials from before and after it cannot be compared, so that one study must not hold both."""


def diff_sweeps(snapshot: Json, spec: SweepSpec) -> list[Change]:
    """All differences in what two sweep files mean: a value that is written out and equals its default is none.

    Args:
        snapshot: `spec.model_dump(mode="json")` of the earlier one.
        spec: The one of now.
    """
    try:
        old = sweep_from_snapshot(snapshot)
    except ValueError:
        return [Change("the study was made by another version of tuner, with other keys in its sweep file", True)]
    return [
        *_part_changes("data", old.data, spec.data, breaks=lambda key: key not in _HARMLESS),
        *_value_changes("model", old.model.kind, spec.model.kind, breaks=True),
        *_value_changes("command", old.command, spec.command, breaks=True),
        *_value_changes("trainer", old.trainer, spec.trainer, breaks=True),
        *_value_changes("model.init_from", old.model.init_from, spec.model.init_from, breaks=True),
        *_value_changes("model.new_layers", old.model.new_layers, spec.model.new_layers, breaks=True),
        *_part_changes("objective", old.objective, spec.objective, breaks=lambda key: key not in _HARMLESS),
        *_value_changes("constraints", _bounds(old), _bounds(spec), breaks=True),
        *diff_spaces(build_space(old), build_space(spec)),
        *_setting_changes(old, spec),
        *_training_changes(old, spec),
        *_part_changes("search", old.search, spec.search, breaks=lambda _: False),
        *_value_changes("finalists", _dump(old.finalists), _dump(spec.finalists), breaks=False),
        *_value_changes("baselines", old.baselines, spec.baselines, breaks=False),
        *_value_changes("answer", old.answer, spec.answer, breaks=False),
        *_part_changes("limits", old.limits, spec.limits, breaks=lambda _: False),
        *_value_changes("resources", _dump(old.resources), _dump(spec.resources), breaks=False),
    ]


def _bounds(spec: SweepSpec) -> Json:
    return [c.model_dump(exclude_none=True) for c in spec.constraints]


def diff_spaces(old: Space, new: Space) -> list[Change]:
    """The differences of two search spaces; one that only grew breaks nothing."""
    names = dict.fromkeys((*old.names, *new.names))
    return [change for name in names for change in _dimension_changes(name, old, new)]


def _dimension_changes(name: str, old: Space, new: Space) -> Iterator[Change]:
    path = f"space.{name}"
    if name not in new.names:
        yield Change(f"{path}: was searched, is not any more", True)
        return
    if name not in old.names:
        yield Change(f"{path}: was not searched, is now", True)
        return
    before, after = old[name], new[name]
    if _values(before) != _values(after):
        yield Change(f"{path}: was {_values(before)}, is {_values(after)}", not _includes(after, before))
    yield from _value_changes(f"{path}.when", _conditions(before), _conditions(after), breaks=True)
    yield from _value_changes(f"{path}.tier", before.tier, after.tier, breaks=False)
    yield from _value_changes(f"{path}.default", before.default, after.default, breaks=False)


def _includes(new: Dimension, old: Dimension) -> bool:
    """Whether every value of the old dimension is one of the new, on the same scale."""
    if (old.kind, old.scale) != (new.kind, new.scale):
        return False
    if new.kind == "categorical":
        kept = [c for c in new.choices if old.contains(c)]
        return kept == list(old.choices)
    if not new.low <= old.low <= old.high <= new.high:
        return False
    if new.kind == "float" and new.step is None:
        return True
    if old.num_values is None:
        return False
    last = old.low + (old.num_values - 1) * (old.step or 1)
    points = (old.low, last, old.low + (old.step or 1))
    return all(_is_whole((p - new.low) / (new.step or 1)) for p in points if p <= last)


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


def _values(dimension: Dimension) -> str:
    if dimension.kind == "categorical":
        return f"[{', '.join(_show(c) for c in dimension.choices)}]"
    scale = {"linear": "", "log": ", log", "log1m": ", log(1 - value)"}[dimension.scale]
    step = f", step {dimension.step:g}" if dimension.step is not None else ""
    whole = " (whole numbers)" if dimension.kind == "int" else ""
    return f"{dimension.low:g} to {dimension.high:g}{whole}{scale}{step}"


def _conditions(dimension: Dimension) -> dict[str, list[ParamValue]]:
    return {name: list(values) for name, values in dimension.when.items()}


def _setting_changes(old: SweepSpec, new: SweepSpec) -> Iterator[Change]:
    """Hyperparameters that are fixed, at another value; what only follows from another optimiser is not listed."""
    searched = {*build_space(old).names, *build_space(new).names}
    before, after = settings_for(old, {}), settings_for(new, {})
    for name in dict.fromkeys((*fixed_values(old), *fixed_values(new))):
        if name not in searched:
            block = "training" if name in type(new.training).model_fields else "model"
            yield from _value_changes(f"{block}.{name}", before.get(name), after.get(name), breaks=True)


def _training_changes(old: SweepSpec, new: SweepSpec) -> list[Change]:
    """The keys of `training` that are no hyperparameters."""
    changes = _part_changes("training", old.training, new.training, breaks=lambda key: key not in _HARMLESS)
    return [c for c in changes if c.line.partition(":")[0].removeprefix("training.") not in settings_for(new, {})]


def _part_changes(path: str, old: Part, new: Part, *, breaks: Callable[[str], bool]) -> list[Change]:
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return [
        change
        for key in before
        for change in _value_changes(f"{path}.{key}", before[key], after[key], breaks=breaks(key))
    ]


def _value_changes(path: str, old: Json, new: Json, *, breaks: bool) -> Iterator[Change]:
    if old != new:
        yield Change(f"{path}: was {_show(old)}, is {_show(new)}", breaks)


def _dump(part: Part | None) -> Json:
    return part.model_dump(mode="json") if part is not None else None


def _show(value: Json) -> str:
    match value:
        case None:
            return "left out"
        case bool():
            return str(value).lower()
        case dict():
            inner = ", ".join(f"{key}: {_show(v)}" for key, v in value.items() if v is not None)
            return f"{{{inner}}}"
        case list():
            return f"[{', '.join(_show(v) for v in value)}]"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
