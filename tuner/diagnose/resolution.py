"""Which difference of two networks a dev set can resolve, and what to do where that is too coarse."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.diagnose.noise import standard_error
from tuner.records import Json
from tuner.spec.known.metrics import METRICS, SHARES

_QUANTILE = 1.96
_USUAL = {"quadratic_kappa": 0.8, "r2": 0.8, "brier": 0.1}
_OF_SHARE = 0.9
"""What a share is taken to be near, where no target error says more."""
_FEW = 500
"""Train and dev examples: with fewer, one dev set is too small to rank networks by."""
_FEW_UNTOLD = 2000
"""With fewer, folds are worth their time where one dev set has not told a network from a guess."""
_FOLDS = 5


def _resolution(metric: str, *, num_dev: int, target_error: float | None = None) -> float | None:
    """The least difference of two networks' metrics that 95 % intervals tell from none, on the same dev examples.

    Networks of one search fail on many of the same examples: their scores are taken to be correlated by one half, which
    makes a difference vary as much as one score does. Of an error in the target's units it is a share of the error.

    Returns:
        None for a metric whose noise is not known from the number of examples.
    """
    value = _USUAL.get(metric, 1.0)
    if metric in SHARES:
        value = _near(target_error)
    error = standard_error(metric, value, num_examples=num_dev)
    return _QUANTILE * error if error > 0 else None


def resolution_text(metric: str, *, num_dev: int, target_error: float | None = None) -> str:
    """The same in words; empty where it is not known."""
    found = _resolution(metric, num_dev=num_dev, target_error=target_error)
    if found is None:
        return ""
    near = f" (near {_near(target_error):.2f})" if metric in SHARES else ""
    return (
        f"{num_dev:,} dev examples tell networks apart whose {metric} differs by {_text(metric, found)} or more{near}"
    )


def folds_instead(metric: str, data: Mapping[str, Json], sweep: Mapping[str, Json], *, is_untold: bool = False) -> str:
    """Why to cross-validate, where one dev set of few examples ranks nothing; empty where there is no reason to.

    Args:
        metric: That networks are ranked by.
        data: The facts of the data.
        sweep: The sweep file, as a study keeps it.
        is_untold: Whether its dev set has not told the best network from a guess.
    """
    block = sweep.get("data")
    if not isinstance(block, Mapping) or sweep.get("command") is not None or sweep.get("trainer") is not None:
        return ""
    if data.get("folds") or data.get("dev_apart") or block.get("stream"):
        return ""
    num_train, num_dev = data.get("num_train"), data.get("num_dev")
    few = _FEW_UNTOLD if is_untold else _FEW
    if not isinstance(num_train, int) or not isinstance(num_dev, int) or not 0 < num_train + num_dev < few:
        return ""
    error = (sweep.get("objective") or {}).get("target_error")
    target_error = float(error) if isinstance(error, int | float) else None
    now, then = (_resolution(metric, num_dev=n, target_error=target_error) for n in (num_dev, num_train + num_dev))
    cannot, resolved = "too few to rank networks by", ""
    if now is not None and then is not None:
        cannot = f"which cannot tell networks apart whose {metric} differs by less than {_text(metric, now)}"
        resolved = f" ({_text(metric, then)})"
    return (
        f"the dev set has {num_dev} examples, {cannot}: data.folds: {_FOLDS} makes a dev example of each of the "
        f"{num_train + num_dev}, once{resolved}, and takes about {_FOLDS} times as long"
    )


def _near(target_error: float | None) -> float:
    return _OF_SHARE if not target_error or not 0 < target_error < 1 else 1.0 - target_error


def _text(metric: str, difference: float) -> str:
    if metric in SHARES:
        return f"{100 * difference:.2g} points"
    return (
        f"{100 * difference:.2g} %"
        if METRICS[metric].tasks == ("regression",) and metric != "r2"
        else f"{difference:.2g}"
    )
