"""How far a metric lies from its true value by the chance that chose the examples, without the predictions."""

from __future__ import annotations

import math

from tuner.spec.known.metrics import SHARES


def standard_error(metric: str, value: float, *, num_examples: int) -> float:
    """The usual standard error of a metric; 0 where none is known.

    That of a share of the examples is binomial, and F1 is taken for one; no Brier score varies more. That of the RMSE,
    of the MAE (and MAPE) and of R2 is for normal errors, that of kappa as of a correlation; that of the AUROC (Hanley
    and McNeil 1982) for two classes of one size, where it is smallest. Of a share without a mistake it is that of one
    mistake, since other examples may have some.

    Args:
        metric: Its name in a sweep file.
        value: Of the metric.
        num_examples: That it was measured on.
    """
    n = max(num_examples, 1)
    if metric == "auroc":
        area = min(max(value, 0.0), 1.0 - 0.5 / n)
        shape = (1.0 - area) / (2.0 - area) + area / (1.0 + area)
        return math.sqrt(area * (1.0 - area) * (1.0 + (n / 2.0 - 1.0) * shape) * 4.0) / n
    if metric in SHARES or metric == "brier":
        return math.sqrt(max(value * (1.0 - value), (n - 1) / n**2) / n)
    if metric == "rmse":
        return abs(value) / math.sqrt(2.0 * n)
    if metric in ("mae", "mape"):
        return abs(value) * math.sqrt((math.pi / 2.0 - 1.0) / n)
    if metric == "quadratic_kappa":
        return max(1.0 - value**2, 0.0) / math.sqrt(n)
    if metric == "r2":
        return 2.0 * math.sqrt(max(value, 0.0) / n) * max(1.0 - value, 0.0)
    return 0.0
