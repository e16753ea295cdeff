"""What must hold of the `reports:` block: how a command's epochs are read."""

from __future__ import annotations

import re

from tuner.spec.command import ALL_PARAMS, GIVEN, parse_text
from tuner.spec.defaults import fixed_for_loop
from tuner.spec.known.names import did_you_mean
from tuner.spec.model import ReportsSpec, SweepSpec
from tuner.spec.text.findings import Findings

_OF_A_TRIAL = ("checkpoint_dir", "trial")
"""One of these must be in the path of a file that a trial writes: or else all trials would write the same."""
_ONLY_WITH = {"column": "csv", "tag": "tensorboard"}


def check_reports(spec: SweepSpec, findings: Findings) -> None:
    """Check the block, if there is one."""
    reports = spec.reports
    if reports is None:
        return
    if spec.command is None:
        remedy = "remove it" if spec.trainer is None else "remove it, and call trial.report in your trainer"
        findings.error(("reports",), "has no effect without command", remedy=remedy, at_key=True)
        return
    given = [name for name in ("pattern", "csv", "tensorboard") if getattr(reports, name) is not None]
    if len(given) != 1:
        rule = "must have one of pattern, csv and tensorboard"
        remedy = "leave one" if given else "write one"
        findings.error(("reports",), rule, remedy=remedy, got=" and ".join(given))
        return
    for name, other in _ONLY_WITH.items():
        if getattr(reports, name) is not None and given != [other]:
            findings.error(("reports", name), f"has no effect without {other}", remedy="remove it", at_key=True)
    if reports.pattern is not None:
        _check_patterns(spec, reports, findings)
    else:
        _check_path(spec, given[0], findings)


def _check_patterns(spec: SweepSpec, reports: ReportsSpec, findings: Findings) -> None:
    metric, groups = spec.objective.metric, set[str]()
    for pattern in reports.patterns:
        try:
            groups |= set(re.compile(pattern).groupindex)
        except re.error as error:
            rule = f"must be a regular expression: {error}"
            findings.error(("reports", "pattern"), rule, remedy="single quotes keep backslashes", got=pattern)
            return
    if metric not in groups and metric != "auto":
        remedy = f"write (?P<{metric}>\\S+) where its number stands"
        findings.error(("reports", "pattern"), f"needs a group named {metric}, the metric", remedy=remedy, got="")
    if {"epoch", "step"} <= groups:
        findings.error(("reports", "pattern"), "has both epoch and step", remedy="leave one of the groups", got="")
    elif reports.every is not None and "step" not in groups:
        rule = "needs a group named step, since `every` is given"
        remedy = "write (?P<step>\\d+) where the step stands, or remove every"
        findings.error(("reports", "pattern"), rule, remedy=remedy, got="")


def _check_path(spec: SweepSpec, key: str, findings: Findings) -> None:
    assert spec.reports is not None
    try:
        names = parse_text(str(getattr(spec.reports, key))).names
    except ValueError as error:
        remedy = "write {{ and }} for braces, and {name} for a value"
        findings.refuse(("reports", key), str(error), remedy=remedy, got="")
        return
    known = [name for name in (*(spec.space or {}), *fixed_for_loop(spec), *GIVEN) if name != ALL_PARAMS]
    for name in names:
        if name not in known:
            rule = f"has the placeholder {{{name}}}, which is no hyperparameter of `space:`"
            remedy = did_you_mean(name, known) or f"known: {', '.join(known)}"
            findings.error(("reports", key), rule, remedy=remedy, got="")
    if not set(names) & set(_OF_A_TRIAL):
        remedy = "put {checkpoint_dir} into it, and into the command: the trial's own folder"
        findings.error(("reports", key), "would be one and the same for all trials", remedy=remedy)
