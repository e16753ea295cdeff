"""What must hold of a dimension that is given as a range, and what is suspicious about its scale."""

from __future__ import annotations

import math

from tuner.spec.checks.choices import check_value
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.model import DimensionSpec
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath

_MANY_DECADES = 3.0
_MOST_EXACT_INTEGER = 2**53
_HIGHEST_OWN = 1e150
"""Of a range of the user's own: its square is still a number."""
_MOST_STEPS = 1e9
_HIGHEST_MOMENTUM = 0.999
HIGHEST_LEARNING_RATE = 10.0


def check_range(
    path: KeyPath, part: DimensionSpec, known: Hyperparameter | None, findings: Findings, *, own_code: bool = False
) -> None:
    """Check `low`, `high`, `step`, `type` and `log`.

    Args:
        path: Of the dimension.
        part: What is written there.
        known: What its name says of it.
        findings: Takes what is wrong.
        own_code: Whether the user's own training code reads it: what our networks survive is no rule there.
    """
    if known is None:
        missing = [key for key in ("low", "high") if getattr(part, key) is None]
        if missing:
            findings.error(
                path,
                f"needs {' and '.join(missing)}",
                remedy="give {low: ..., high: ...} or {choices: [...]}",
                at_key=True,
            )
            return
    elif not _check_known(path, part, known, findings):
        return
    low, high = _ends(part, known)
    if not _check_size(path, part, known, findings):
        return
    if low > high:
        _report_empty(path, part, low, high, findings)
        return
    if low == high:
        findings.warn(path, "has only one value", remedy="fix it under `training:` or `model:` instead", at_key=True)
    if _is_int(part, known):
        _check_whole(path, part, findings)
    _check_step(path, part, low, high, findings)
    _check_scale(path, part, known, low, high, findings)
    if not own_code:
        _check_survival(path, known, high, findings)


def _check_known(path: KeyPath, part: DimensionSpec, known: Hyperparameter, findings: Findings) -> bool:
    """Whether the ends are values of the hyperparameter."""
    before = findings.num_errors
    if part.type is not None and part.type != known.kind:
        findings.error((*path, "type"), f"must be {known.kind}, which {known.name} is", remedy="remove it")
    for key in ("low", "high"):
        value = getattr(part, key)
        if value is not None:
            check_value((*path, key), value, known, findings)
    if known.name == "kernel_size" and part.step is not None and part.step % 2:
        findings.error((*path, "step"), "must be even, so that kernels stay odd", remedy="write 2")
    return findings.num_errors == before


def _check_size(path: KeyPath, part: DimensionSpec, known: Hyperparameter | None, findings: Findings) -> bool:
    """Whether the ends are numbers that a search can calculate with."""
    most = _MOST_EXACT_INTEGER if _is_int(part, known) else _HIGHEST_OWN
    for key in ("low", "high"):
        value = getattr(part, key)
        if value is not None and abs(value) > most:
            what = (
                "up to which whole numbers are exact" if most == _MOST_EXACT_INTEGER else "beyond which ranges overflow"
            )
            findings.error((*path, key), f"must lie between -{most:g} and {most:g}, {what}")
            return False
    return True


def _ends(part: DimensionSpec, known: Hyperparameter | None) -> tuple[float, float]:
    low = part.low if part.low is not None else known.low if known else 0.0
    high = part.high if part.high is not None else known.high if known else 0.0
    return float(low), float(high)


def _report_empty(path: KeyPath, part: DimensionSpec, low: float, high: float, findings: Findings) -> None:
    if part.low is None or part.high is None:
        given, other = ("low", "high") if part.high is None else ("high", "low")
        end = high if given == "low" else low
        relation = "at most" if given == "low" else "at least"
        rule = f"must be {relation} {end:g}, the standard {other}"
        findings.error((*path, given), rule, remedy=f"give `{other}` too")
        return
    findings.error((*path, "low"), f"must be at most high ({high:g})", remedy="swap low and high")


def _is_int(part: DimensionSpec, known: Hyperparameter | None) -> bool:
    if part.type is not None or known is not None:
        return (part.type or (known.kind if known else "")) == "int"
    return all(isinstance(v, int) for v in (part.low, part.high, part.step or 1))


def _check_whole(path: KeyPath, part: DimensionSpec, findings: Findings) -> None:
    for key in ("low", "high", "step"):
        value = getattr(part, key)
        if value is not None and not float(value).is_integer():
            findings.error((*path, key), "must be a whole number", remedy=f"write {max(1, round(value))}")


def _check_step(path: KeyPath, part: DimensionSpec, low: float, high: float, findings: Findings) -> None:
    if part.step is None or low == high:
        return
    steps = (high - low) / part.step
    if steps > _MOST_STEPS:
        rule = f"makes more than {_MOST_STEPS:,.0f} values"
        findings.error((*path, "step"), rule, remedy="leave it out for a continuum")
        return
    if steps < 1 - 1e-9:
        findings.error((*path, "step"), f"must be at most high - low ({high - low:g})")
    elif not math.isclose(steps, round(steps), rel_tol=1e-9):
        last = low + math.floor(steps + 1e-9) * part.step
        findings.warn((*path, "step"), f"does not lead from low to high, so {last:g} is the greatest value")


def _check_scale(
    path: KeyPath, part: DimensionSpec, known: Hyperparameter | None, low: float, high: float, findings: Findings
) -> None:
    usual = known.scale if known else "linear"
    is_log = (usual == "log" and part.log is not False) or (usual == "linear" and part.log is True)
    if is_log and low <= 0:
        why = f"must be greater than 0 on a log scale, which {'log: true asks for' if part.log else 'it has'}"
        least = "1" if _is_int(part, known) else f"{high / 1e5:.0e}"
        findings.error((*path, "low"), why, remedy=f"write {least}, or `log: false`")
        return
    decades = math.log10(high / low) if low > 0 else math.inf if high > 0 else 0.0
    linear = path if part.log is None else (*path, "log")
    if usual != "linear" and part.log is False:
        name = path[-1]
        if name in ("weight_decay", "l1") or (name in ("learning_rate", "clip_norm") and decades >= _MANY_DECADES):
            span = f" over {decades:.0f} decades" if math.isfinite(decades) else ""
            rule = f"searches {name} on a linear scale{span}: nearly all trials fall into the upper decade"
            findings.warn(linear, rule, remedy="remove `log: false`")
    elif known is None and not is_log and _MANY_DECADES <= decades < math.inf:
        rule = f"is linear over {decades:.0f} decades: nearly all trials fall into the upper decade"
        findings.warn(path, rule, remedy="add `log: true`", at_key=True)


def _check_survival(path: KeyPath, known: Hyperparameter | None, high: float, findings: Findings) -> None:
    """Warn of values that our training rarely survives."""
    if known and known.scale == "log1m" and path[-1] != "beta2" and high > _HIGHEST_MOMENTUM:
        rule = f"averages over more than {1 / (1 - _HIGHEST_MOMENTUM):.0f} steps above {_HIGHEST_MOMENTUM:g}"
        findings.warn((*path, "high"), rule, remedy=f"write {_HIGHEST_MOMENTUM:g} or less")
    if path[-1] == "learning_rate" and high > HIGHEST_LEARNING_RATE:
        findings.warn((*path, "high"), "is a learning rate that hardly any network survives", remedy="write 1 or less")
