"""From a document to a checked sweep: every error and warning, also where some of its values cannot be used."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pydantic import ValidationError

from tuner.records import Json
from tuner.spec.checks.blocks import (
    check_data,
    check_model,
    check_objective,
    check_training,
    check_transfer,
)
from tuner.spec.checks.conditions import check_conditions, check_starts
from tuner.spec.checks.layers import check_layers
from tuner.spec.checks.loop import check_loop
from tuner.spec.checks.objectives import check_trade_offs
from tuner.spec.checks.population import check_changes, check_population
from tuner.spec.checks.reading import check_readings
from tuner.spec.checks.resources import check_resources
from tuner.spec.checks.search import check_search
from tuner.spec.checks.space import check_dimensions
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.spec.text.document import Document
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath
from tuner.spec.text.translate import report_errors

_MAX_REPAIRS = 20
_PLACEHOLDERS: Mapping[KeyPath, Json] = {
    ("study",): "unnamed",
    ("data", "source"): "unnamed",
}


def check_document(document: Document, findings: Findings) -> SweepSpec | None:
    """Check all of a sweep file; the sweep, or None where there were errors."""
    if not isinstance(document.value, dict):
        rule = "is empty" if document.value is None else "must be a mapping of keys to values"
        findings.refuse((), rule, remedy="`tuner init` writes one to start from")
        return None
    values = copy.deepcopy(document.value)
    if "root" in values:
        del values["root"]
        findings.refuse(("root",), "is not a key of a sweep file", remedy="remove it", at_key=True)
    spec = _validate(values, findings)
    if spec is not None:
        check_sweep(spec, findings)
    return spec if findings.num_errors == 0 else None


def check_sweep(spec: SweepSpec, findings: Findings) -> None:
    """Check what the types of single values cannot say."""
    check_data(spec, findings)
    check_loop(spec, findings)
    check_model(spec, findings)
    check_transfer(spec, findings)
    check_objective(spec, findings)
    check_trade_offs(spec, findings)
    check_training(spec, findings)
    sound = check_dimensions(spec, findings)
    check_layers(spec, sound, findings)
    check_conditions(spec, sound, findings)
    whole = len(sound) == len(spec.space or {}) and not findings.is_unusable(("space",))
    space = build_space(spec) if whole and not (spec.loop and spec.space is None) else None
    if space is not None and len(space) == 0 and spec.space is None:
        findings.error(("space",), "is left out, and all of the default space is fixed", remedy="give a `space:`")
    check_readings(spec, findings)
    check_starts(spec, sound if spec.space else {d.name: d for d in space or ()}, space, findings)
    check_search(spec, space, findings)
    check_population(spec, space, findings)
    check_changes(spec, findings)
    check_resources(spec, findings)


def _validate(values: dict[str, Json], findings: Findings) -> SweepSpec | None:
    """The typed sweep. Values that are refused are left out, so that the others can still be checked."""
    first = True
    for _ in range(_MAX_REPAIRS):
        try:
            return SweepSpec.model_validate(values)
        except ValidationError as error:
            if first:
                report_errors(error, findings)
            first = False
            for details in error.errors(include_url=False, include_context=False):
                path = findings.path_in_file(tuple(details["loc"]))
                _repair(values, path, missing=details["type"] == "missing")
    return None


def _repair(values: dict[str, Json], path: KeyPath, *, missing: bool) -> None:
    """Put a placeholder where a required value is missing, and leave out one that cannot be used."""
    if missing and path in _PLACEHOLDERS:
        _parent(values, path)[path[-1]] = copy.deepcopy(_PLACEHOLDERS[path])
        return
    path = path[:-1] if missing else path
    while path and isinstance(path[-1], int):
        path = path[:-1]  # all of a list: without one item the others would change their places
    parent = _parent(values, path)
    if path and isinstance(parent, dict):
        parent.pop(path[-1], None)


def _parent(values: dict[str, Json], path: KeyPath) -> Json:
    node: Json = values
    for part in path[:-1]:
        if isinstance(node, list) and isinstance(part, int):
            node = node[part]
        else:
            node = node.get(part) if isinstance(node, dict) else None
    return node
