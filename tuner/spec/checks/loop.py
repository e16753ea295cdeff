"""What must hold of a sweep whose trials are trained by the user's own code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tuner.records import ParamValue
from tuner.spec.checks.places import check_local
from tuner.spec.checks.reports import check_reports
from tuner.spec.command import ALL_PARAMS, GIVEN, Command, parse_command
from tuner.spec.defaults import fixed_for_loop
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.metrics import METRICS, known_direction
from tuner.spec.known.names import PARAMETER_NAME, did_you_mean
from tuner.spec.model import OWN_MODEL, SweepSpec
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import show_value
from tuner.spec.values import is_own

_READ = frozenset({"epochs", "early_stopping"})
"""The keys of `training:` that concern own training code, besides hyperparameters."""


def check_loop(spec: SweepSpec, findings: Findings) -> None:
    """Check the keys that name the user's training code, and those that it makes pointless."""
    if spec.loop is None:
        if spec.folder is not None:
            findings.error(("folder",), "has no effect without command", remedy="remove it", at_key=True)
        check_reports(spec, findings)
        return
    check_reports(spec, findings)
    if spec.model.kind != OWN_MODEL or spec.model.settings:
        remedy = f"remove it; your {spec.loop} makes its own network"
        findings.error(("model",), f"has no effect with {spec.loop}", remedy=remedy, at_key=True)
    if spec.space is None:
        remedy = "give `NAME: {low: ..., high: ...}` for each hyperparameter of yours"
        findings.error(("space",), f"is required with {spec.loop}", remedy=remedy, got="")
    for name in spec.training.model_fields_set - _READ - HYPERPARAMETERS.keys():
        default = type(spec.training).model_fields[name].get_default(call_default_factory=True, validated_data={})
        if getattr(spec.training, name) != default:
            rule = f"has no effect with {spec.loop}"
            findings.error(("training", name), rule, remedy=f"remove it; your {spec.loop} trains", at_key=True)
    if spec.baselines not in ("auto", "off"):
        rule = f"cannot be trained with {spec.loop}, whose examples and predictions are its own"
        findings.error(("baselines",), rule, remedy="remove it", got="", at_key=True)
    if spec.answer == "average":
        remedy = f"remove it; your {spec.loop} keeps its own networks"
        findings.error(("answer",), f"cannot be an average with {spec.loop}", remedy=remedy, got="", at_key=True)
    if spec.trainer is not None:
        _check_trainer(spec, spec.trainer, findings)
    if spec.command is not None:
        _check_command(spec, spec.command, findings)


def _check_trainer(spec: SweepSpec, trainer: str, findings: Findings) -> None:
    if spec.command is not None:
        findings.error(("trainer",), "cannot train where command does", remedy="remove one of the two", at_key=True)
    elif spec.folder is not None:
        findings.error(("folder",), "has no effect without command", remedy="remove it", at_key=True)
    if not all(trainer.rpartition(":")[::2]):
        rule = "must be a function of yours, package.module:function or file.py:function"
        findings.refuse(("trainer",), rule)


def _check_command(spec: SweepSpec, text: str, findings: Findings) -> None:
    if spec.has_data and not findings.is_unusable(("data",)):
        remedy = "remove it; your command reads its own data"
        findings.error(("data",), "has no effect with command", remedy=remedy, at_key=True)
    try:
        command = parse_command(text)
    except ValueError as error:
        remedy = "write {{ and }} for braces, and {name} for a value"
        findings.refuse(("command",), str(error), remedy=remedy if "placeholder" in str(error) else "", got="")
        return
    values = (*(spec.space or {}), *fixed_for_loop(spec))
    for name in command.names:
        if name not in values and name not in GIVEN:
            rule = f"has the placeholder {{{name}}}, which is no hyperparameter of `space:`"
            known = [*values, *GIVEN]
            remedy = did_you_mean(name, known) or f"known: {', '.join(known)}"
            findings.error(("command",), rule, remedy=remedy, got="")
    check_local(("folder",), spec.folder, findings)
    _check_switches(spec, command, findings)
    if "to_epoch" in command.names and "epochs" not in command.names and spec.search.pruner != "none":
        rule = (
            "has {to_epoch}, where a trial may only pause: a schedule that is laid out over it ends at the first pause"
        )
        findings.warn(("command",), rule, remedy="add {epochs}, of the full training, for schedules", got="")
    for name in spec.space or {}:
        if name in GIVEN:
            findings.error(("space", name), f"is {GIVEN[name]} in a command", remedy="rename it", at_key=True)
        elif name not in command.names and ALL_PARAMS not in command.names:
            remedy = f"add {{{name}}} to it, or {{params}} for all as JSON"
            findings.error(("space", name), "is not used by the command", remedy=remedy, at_key=True)


def _check_switches(spec: SweepSpec, command: Command, findings: Findings) -> None:
    """What stands for true and false needs a hyperparameter that is one or the other."""
    fixed = fixed_for_loop(spec)
    for name in command.switches:
        part, known = (spec.space or {}).get(name), HYPERPARAMETERS.get(name)
        values: Sequence[ParamValue] = (fixed[name],) if name in fixed else ()
        if part is not None:
            values = part.choices or (known.choices if known else ())
        elif name not in fixed and name not in GIVEN:
            continue  # said already
        if not values or not all(isinstance(value, bool) for value in values):
            rule = f"has words for true and false in the placeholder of {name}, which is neither"
            remedy = f"write {{{name}}} for its value, or `choices: [true, false]`"
            findings.error(("command",), rule, remedy=remedy, got="")


def check_metric(spec: SweepSpec, findings: Findings) -> bool:
    """Check the objective's metric and direction; whether the metric is one that tuner measures."""
    metric, direction = spec.objective.metric, spec.objective.direction
    if findings.is_unusable(("objective", "metric")):
        return False
    if spec.loop is not None:
        _check_reported(spec, findings)
        return False
    if is_own(metric):
        if direction is None:
            rule = "is required for a metric of yours"
            findings.error(("objective", "direction"), rule, remedy="write maximize or minimize", got="")
        return False
    known = ("auto", *METRICS)
    if metric not in known:
        rule = f"must be {', '.join(f'`{m}`' for m in known[:-1])} or `{known[-1]}`"
        findings.refuse(("objective", "metric"), rule, remedy=did_you_mean(metric.removeprefix("val_"), known))
        return False
    if direction is not None and metric != "auto" and direction != known_direction(metric):
        rule = f"must be {known_direction(metric)} for {metric}"
        findings.error(("objective", "direction"), rule, remedy="leave it out")
    return True


def _check_reported(spec: SweepSpec, findings: Findings) -> None:
    metric = spec.objective.metric
    if metric == "auto":
        rule = f"is required with {spec.loop}"
        remedy = "write the name that your code reports, as in {metric: accuracy}"
        findings.error(("objective", "metric"), rule, remedy=remedy, got="")
    elif not re.fullmatch(PARAMETER_NAME, metric) or metric == "epoch":
        rule = "must be a name of letters, digits and `_`, and not `epoch`"
        findings.refuse(("objective", "metric"), rule, remedy="rename it")
    elif (direction := spec.objective.direction) is not None:
        right = known_direction(metric)
        if right not in (None, direction):
            rule = f"must be {right} for {metric}"
            findings.error(("objective", "direction"), rule, remedy="leave it out, or report it under another name")
    elif known_direction(metric) is None:
        rule = f"is required for {show_value(metric)}, a metric of yours"
        findings.error(("objective", "direction"), rule, remedy="write maximize or minimize", got="")
