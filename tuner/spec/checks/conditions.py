"""What must hold of `when:`, and of start configurations: what refers from one dimension to others."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import ParamValue
from tuner.spec.checks.space import rule_of
from tuner.spec.defaults import fixed_values, models_with
from tuner.spec.known.names import did_you_mean
from tuner.spec.known.networks import MODEL
from tuner.spec.model import DimensionSpec, SweepSpec
from tuner.spec.space import Dimension, Space
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath, show_value


def check_conditions(spec: SweepSpec, sound: Mapping[str, Dimension], findings: Findings) -> None:
    """Check that each `when` names searched parameters and values that they can have, without going in circles."""
    given = spec.space or {}
    for name, part in given.items():
        for other, wanted in part.when.items():
            path: KeyPath = ("space", name, "when", other)
            if wanted == []:
                rule = "lists no value, so that it never holds"
                findings.error(path, rule, remedy=f"list values of {other}, or remove the condition", got="")
            elif other == name:
                findings.error(path, "cannot depend on itself", remedy="remove it", at_key=True)
            elif other == MODEL and spec.model.choices:
                _check_models(path, name, wanted, spec, findings)
            elif other not in given:
                _report_unsearched(path, other, spec, findings)
            elif other in sound:
                _check_values(path, wanted, sound[other], findings)
    for circle in _circles({name: [w for w in part.when if w != name] for name, part in given.items()}):
        rule = f"goes in a circle: {' -> '.join((*circle, circle[0]))}"
        findings.error(("space", circle[0], "when"), rule, remedy="remove one `when`", at_key=True)
    _check_together(given, findings)


def _check_models(
    path: KeyPath, name: str, wanted: ParamValue | list[ParamValue], spec: SweepSpec, findings: Findings
) -> None:
    """A condition on the model names some of those that have the hyperparameter."""
    having = models_with(name, spec)
    for index, kind in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        at = (*path, index) if isinstance(wanted, list) else path
        if kind not in spec.model.kinds:
            rule = f"must be one of the models {', '.join(spec.model.kinds)}"
            findings.error(at, rule, remedy=did_you_mean(str(kind), spec.model.kinds))
        elif kind not in having:
            findings.error(at, f"has no {name}", remedy=f"name {' or '.join(having)}" if having else "remove it")


def _check_together(given: Mapping[str, DimensionSpec], findings: Findings) -> None:
    """Check that the conditions of a dimension and of those that it depends on can hold at once."""
    for name in given:
        allowed: dict[str, list[ParamValue]] = {}
        for ancestor in _with_ancestors(name, given):
            for other, wanted in given[ancestor].when.items():
                values = wanted if isinstance(wanted, list) else [wanted]
                allowed[other] = [value for value in allowed.get(other, values) if value in values]
        never = next((other for other, values in allowed.items() if not values), None)
        if never is not None and all(wanted != [] for part in given.values() for wanted in part.when.values()):
            rule = f"never holds: what it depends on asks for another {never}"
            findings.error(("space", name, "when"), rule, remedy="remove one of the conditions", at_key=True)


def _with_ancestors(name: str, given: Mapping[str, DimensionSpec]) -> list[str]:
    """A dimension and all that its conditions name, directly or not."""
    found = [name]
    for one in found:
        found += [other for other in given[one].when if other in given and other not in found]
    return found


def _report_unsearched(path: KeyPath, other: str, spec: SweepSpec, findings: Findings) -> None:
    near = did_you_mean(other, spec.space or ())
    fixed = fixed_values(spec)
    if not near and other in fixed:
        rule = f"is not searched but fixed at {show_value(fixed[other])}"
        findings.error(path, rule, remedy=f"add {other} to `space:`, or remove the condition", at_key=True)
        return
    findings.error(path, "is not searched", remedy=near or "name a parameter of `space:`", at_key=True)


def _check_values(path: KeyPath, wanted: ParamValue | list[ParamValue], other: Dimension, findings: Findings) -> None:
    if other.num_values is None:
        rule = f"cannot be a condition: {other.name} is a continuum, which no single value is ever drawn from"
        findings.error(path, rule, remedy=f"give {other.name} choices or a step", at_key=True)
        return
    for index, value in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        if not other.contains(value):
            at = (*path, index) if isinstance(wanted, list) else path
            near = did_you_mean(str(value), [str(c) for c in other.choices])
            findings.error(at, rule_of(other), remedy=near)


def _circles(needs: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """Each circle of dependencies, once."""
    found: list[tuple[str, ...]] = []
    for start in needs:
        trail = [start]
        # Only the first condition of each is followed from here; circles over others start elsewhere.
        while (following := next((n for n in needs.get(trail[-1], []) if n in needs), None)) is not None:
            if following in trail:
                circle = trail[trail.index(following) :]
                if not any(set(circle) == set(f) for f in found):
                    found.append(tuple(circle))
                break
            trail.append(following)
    return found


def check_starts(spec: SweepSpec, sound: Mapping[str, Dimension], searched: Space | None, findings: Findings) -> None:
    """Check the configurations of `search.start`.

    Args:
        spec: The sweep file.
        sound: The dimensions that can be checked against.
        searched: The whole space; None where a part of it is unsound.
        findings: What is found joins these.
    """
    names = list(searched.names) if searched else list(spec.space or sound)
    for index, start in enumerate(spec.search.start):
        path: KeyPath = ("search", "start", index)
        for name, value in start.items():
            if name not in names:
                remedy = did_you_mean(name, names) or "remove it, or add it to `space:`"
                findings.error((*path, name), "is not searched", remedy=remedy, at_key=True)
            elif name in sound and not sound[name].contains(value):
                findings.error((*path, name), rule_of(sound[name]))
            elif searched and name not in searched.complete(start):
                findings.warn(
                    (*path, name), "does not apply here: its `when` does not hold", remedy="remove it", at_key=True
                )
        if start in spec.search.start[:index]:
            findings.warn(path, "is listed already and is tried once", remedy="remove it", got="")
    if len(spec.search.start) > spec.search.trials:
        rule = f"lists {len(spec.search.start)} configurations, more than search.trials ({spec.search.trials})"
        findings.warn(("search", "start"), rule, remedy="raise trials", at_key=True)
