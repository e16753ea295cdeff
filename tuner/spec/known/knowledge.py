"""What there is to know of a hyperparameter by its name; `tuner.spec.known.hyperparameters` is the table of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tuner.records import ParamValue
from tuner.spec.known.optimizers import OPTIMIZERS, Own
from tuner.spec.space import Kind, Scale

_LAID_OUT = ("lr_decay", "warmup_epochs", "swa_start")
"""What is laid out over a whole training."""
HIGHEST_FLOAT = 1e30
"""Of a hyperparameter without bounds of its own: training is in float32, which ends at 3e38."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The values that make sense at all for a number, wider than any range that one would search."""

    low: float
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False
    reason: str = ""
    """Why there is an upper end, where that is not evident."""

    def hold(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    @property
    def limits(self) -> dict[str, float]:
        """The same by the names that pydantic has for limits: `ge`, `gt`, `le`, `lt`."""
        low = {"gt" if self.open_low else "ge": self.low}
        return low if self.high == float("inf") else low | {"lt" if self.open_high else "le": self.high}

    def __str__(self) -> str:
        if self.high == float("inf") or self.reason:
            return f"greater than {self.low:g}" if self.open_low else f"at least {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameter:
    """What is known of one hyperparameter by its name."""

    name: str
    tier: int
    kind: Kind
    default: ParamValue
    """The value where it is neither fixed nor searched."""
    description: str
    model_defaults: Mapping[str, ParamValue] = field(default_factory=dict)
    """Defaults that differ from `default`, by built-in model."""
    searched_default: ParamValue | None = None
    """The value of the first trial where it is searched, if not `default`: a log scale has no 0."""
    low: float = 0.0
    """Of the standard range."""
    high: float = 0.0
    choices: tuple[ParamValue, ...] = ()
    """The standard choices."""
    allowed: tuple[ParamValue, ...] = ()
    """All choices there are, for a categorical one; none named: any number within `bounds`."""
    scale: Scale = "linear"
    step: float | None = None
    bounds: Bounds | None = None
    of_some_optimizers: bool = False
    """Whether only those optimisers use it that name it in `OPTIMIZERS`; there are also defaults of their own."""
    models: frozenset[str] | None = None
    """The built-in models that have it; None for a hyperparameter of the training, which every model has."""
    in_default_space: bool = False
    default_space_of: frozenset[str] = frozenset()
    """The built-in models whose default space has it, though others may search it too."""
    default_space_without: frozenset[str] = frozenset()
    """The built-in models whose default space has it not, though that of others has."""
    model_choices: Mapping[str, tuple[ParamValue, ...]] = field(default_factory=dict)
    """Standard choices that differ from `choices`, by built-in model."""
    fused: Literal["own", "on_or_off", "same"] = "same"
    """What trials that train as one program have of it: each its own value; each its own, but none or all of them 0,
    which is without its operations; or all the same."""
    course: str = ""
    """What it is called in Andrew Ng's course, where that is another word."""
    by_layer: Literal["list", "list or names"] | None = None
    """Whether it may be a list with a number for each layer, or also a mapping with one for each pattern of parameters'
    names; see `tuner.spec.by_layer`."""
    optional: bool = False
    """It has no value unless it is fixed or searched: there is none that would be without effect."""

    @property
    def may_change(self) -> bool:
        """Whether a trial may go on with another value of it: it is a number of the trial's row, and shapes nothing."""
        return self.kind == "float" and self.fused != "same" and not self.of_model and self.name not in _LAID_OUT

    @property
    def optimizers(self) -> frozenset[str]:
        """The optimisers that use it."""
        return frozenset(name for name, own in OPTIMIZERS.items() if not self.of_some_optimizers or self.name in own)

    @property
    def of_model(self) -> bool:
        """Whether it belongs to a network, and not to the training."""
        return self.models is not None

    def is_searched_by_default(self, model: str) -> bool:
        """Whether the default space of a model has it."""
        return (self.in_default_space and model not in self.default_space_without) or model in self.default_space_of

    def choices_for(self, model: str) -> tuple[ParamValue, ...]:
        """The standard choices with this model; none: the standard range."""
        return self.model_choices.get(model, self.choices)

    def serves(self, optimizer: str) -> bool:
        """Whether an optimiser uses it; of the user's own, only what all use is sure."""
        return not self.of_some_optimizers or optimizer in self.optimizers

    def default_for(self, optimizer: str, model: str | None = None) -> ParamValue:
        """The value where it is neither fixed nor searched, with this optimiser and model."""
        own = self._own(optimizer).default
        return self.model_defaults.get(model or "", self.default) if own is None else own

    def range_for(self, optimizer: str) -> tuple[float, float]:
        """The standard range with this optimiser."""
        return self._own(optimizer).range or (self.low, self.high)

    def _own(self, optimizer: str) -> Own:
        return OPTIMIZERS.get(optimizer, {}).get(self.name, Own())
