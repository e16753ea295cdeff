"""The `objective:` and `constraints:` blocks: what makes one configuration better than another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tuner.spec.known.metrics import CostName, MetricName
from tuner.spec.values import Number, Part

Measured = Literal[MetricName, CostName]


class FurtherObjectiveSpec(Part):
    """Something else to be good at, traded against the first objective."""

    metric: Measured
    """A metric of the best epoch's dev predictions, or what the network costs to use: `parameters`, `flops` of one
    example's forward pass, `latency_ms` of the forward pass of (up to 256) dev examples."""
    direction: Literal["maximize", "minimize"] | None = None
    """Each metric has its own; a wrong one is an error."""


class ConstraintSpec(Part):
    """A bound that a network must keep; those that break one rank after all that keep them."""

    metric: Measured
    """As in a further objective, or the first objective's own metric."""
    max: Number | None = None
    """At most this."""
    min: Number | None = None
    """At least this."""


class ObjectiveSpec(Part):
    """What makes one configuration better than another: a metric on the dev set."""

    metric: Annotated[str, Field(min_length=1)] = "auto"
    """`auto` (accuracy for classification, f1 averaged over labels for multi-label data, rmse for regression),
    `accuracy`, `balanced_accuracy`, `f1`, `precision`, `recall`, `auroc`, `average_precision`, `quadratic_kappa` (of
    ordered classes), `top5_accuracy`, `brier`, `micro_f1`, `subset_accuracy`, `rmse`, `mae`, `mape` (the mean error as
    a share of the target), `r2`, `loss` (the log loss of classes); with `command:` or `trainer:` any name that your
    code reports; or [yours](your-code.md#a-loss-a-metric-an-optimiser): `file.py:function`."""
    direction: Literal["maximize", "minimize"] | None = None
    """Whether larger or smaller is better; needed for a metric of yours, the others have theirs."""
    target_error: Annotated[float, Field(ge=0)] | None = None
    """The error that a human expert, or the best known system, makes; stands in for the Bayes error in the
    diagnosis."""
    others: list[FurtherObjectiveSpec] = Field(default_factory=list)
    """Further objectives. In the file `objective:` may be a list, whose first entry ranks the trials."""

    @model_validator(mode="before")
    @classmethod
    def _first_of_list(cls, values: Any) -> Any:
        if not isinstance(values, list):
            return values
        if not values:
            raise PydanticCustomError("objectives", "must name at least one objective, as in [{metric: accuracy}]")
        if not isinstance(values[0], dict):
            raise PydanticCustomError("objectives", "must be a mapping, or a list of mappings")
        return {**values[0], "others": values[1:]}
