"""The metrics that tuner measures: what each is for, and which way it is better.

They are computed by `tuner.train.measure`; all else that depends on a metric's name is read from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from tuner.records import Direction

MetricName = Literal[
    "accuracy", "balanced_accuracy", "f1", "precision", "recall", "auroc", "average_precision", "quadratic_kappa",
    "top5_accuracy", "brier", "micro_f1", "subset_accuracy", "rmse", "mae", "mape", "r2", "loss",
]  # fmt: skip
CostName = Literal["parameters", "flops", "latency_ms"]
"""What a network costs to use; smaller is better."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of how good a network's outputs are."""

    name: str
    direction: Direction
    tasks: tuple[str, ...]
    """The kinds of targets that it can be measured for."""
    is_share: bool = False
    """Whether it lies between 0 and 1, so that its differences are percentage points and its error is one minus it."""

    def error_of(self, value: float) -> float:
        """The value as an error, 0 for a perfect network: 1 - accuracy, 1 - R2; an RMSE or a loss is one already."""
        return 1.0 - value if self.direction is Direction.MAXIMIZE else value


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("balanced_accuracy", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("f1", Direction.MAXIMIZE, ("classification", "multi_label"), is_share=True),
        Metric("precision", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("recall", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("average_precision", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("quadratic_kappa", Direction.MAXIMIZE, ("classification",)),
        Metric("top5_accuracy", Direction.MAXIMIZE, ("classification",), is_share=True),
        Metric("brier", Direction.MINIMIZE, ("classification",)),
        Metric("micro_f1", Direction.MAXIMIZE, ("multi_label",), is_share=True),
        Metric("auroc", Direction.MAXIMIZE, ("classification", "multi_label"), is_share=True),
        Metric("subset_accuracy", Direction.MAXIMIZE, ("multi_label",), is_share=True),
        Metric("rmse", Direction.MINIMIZE, ("regression",)),
        Metric("mae", Direction.MINIMIZE, ("regression",)),
        Metric("mape", Direction.MINIMIZE, ("regression",)),
        Metric("r2", Direction.MAXIMIZE, ("regression",)),
        Metric("loss", Direction.MINIMIZE, ("classification", "multi_label", "regression")),
    )
}
"""Every metric by the name that a sweep file uses."""

SHARES = frozenset(metric.name for metric in METRICS.values() if metric.is_share)
COSTS: tuple[str, ...] = get_args(CostName)
_LEAST_MEASURED = 256
OF_OTHERS = {"mse": Direction.MINIMIZE, "mae": Direction.MINIMIZE, "error": Direction.MINIMIZE}
"""Names that users' own training code reports, and that say themselves which way is better."""
_ON_DEV = re.compile(r"^(dev|val|valid|validation|eval)_")
"""How users' own code begins the names of what it measures on its dev set."""


def num_train_measured(num_train: int, num_dev: int) -> int:
    """How many training examples a training metric is measured on: as many as dev examples, but no mere handful."""
    return min(num_train, max(num_dev, _LEAST_MEASURED))


def known_direction(name: str) -> Direction | None:
    """Which way a metric or a cost is better; None for a name that says nothing."""
    if name in METRICS:
        return METRICS[name].direction
    if name in COSTS:
        return Direction.MINIMIZE
    measured = _ON_DEV.sub("", name)
    return METRICS[measured].direction if measured in METRICS else OF_OTHERS.get(measured)
