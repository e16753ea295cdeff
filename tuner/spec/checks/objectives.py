"""What must hold of further objectives and of constraints."""

from __future__ import annotations

from tuner.spec.checks.blocks import METRICS_OF_TASK
from tuner.spec.known.metrics import COSTS
from tuner.spec.model import SweepSpec
from tuner.spec.objectives import direction_of
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath


def check_trade_offs(spec: SweepSpec, findings: Findings) -> None:
    """Check further objectives and constraints."""
    if spec.loop is not None:
        for path, is_given in (
            (("objective", "others", 0), bool(spec.objective.others)),
            (("constraints",), bool(spec.constraints)),
        ):
            if is_given:
                rule = f"cannot be measured with {spec.loop}, which reports one metric"
                findings.error(path, rule, remedy="remove it, or report a metric that weighs both", got="")
        return
    first, task = spec.objective.metric, spec.data.task
    seen: set[str] = {first}
    for index, other in enumerate(spec.objective.others):
        at: KeyPath = ("objective", "others", index)
        if other.metric in seen:
            findings.error((*at, "metric"), "is an objective already", remedy="remove it")
        seen.add(other.metric)
        right = direction_of(other.metric).value
        if other.direction not in (None, right):
            findings.error((*at, "direction"), f"must be {right} for {other.metric}", remedy="leave it out")
        _check_measured((*at, "metric"), other.metric, task, findings)
    for index, constraint in enumerate(spec.constraints):
        at = ("constraints", index)
        if constraint.max is None and constraint.min is None:
            findings.error(at, "bounds nothing", remedy="give max: or min:", got="", at_key=True)
        if constraint.max is not None and constraint.min is not None and constraint.min > constraint.max:
            findings.error((*at, "min"), f"must be at most max ({constraint.max:g})")
        _check_measured((*at, "metric"), constraint.metric, task, findings)
    if spec.objective.others and spec.search.pruner not in (None, "none"):
        rule = "judges by one objective, and here are several"
        findings.error(("search", "pruner"), rule, remedy="leave it out; strategy priority pauses and thaws trials")


def _check_measured(path: KeyPath, metric: str, task: str, findings: Findings) -> None:
    if task in METRICS_OF_TASK and metric not in (*METRICS_OF_TASK[task], *COSTS, "loss"):
        findings.error(path, f"cannot be measured for {task}", remedy="use another, or change data.task")
