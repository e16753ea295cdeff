"""The `training:` block: how each trial is trained.

The keys that fix hyperparameters are made from the table of them (`tuner/spec/known/hyperparameters.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator, create_model
from pydantic_core import PydanticCustomError

from tuner.records import Json, ParamValue
from tuner.spec.by_layer import as_text, numbers_in
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.values import BatchSize, ClassWeights, Dampening, Loss, Optimizer, Part

_MOST_EPOCHS = 1_000_000


class EarlyStoppingSpec(Part):
    """End a trial when what is monitored no longer improves."""

    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without improvement before the trial ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Least change of it that counts as improvement."""
    monitor: Literal["metric", "dev_loss", "train_loss"] = "metric"
    """What has to improve: the dev metric, or a loss, which moves before an accuracy does and of which less is
    better. Trials rank by the dev metric whatever is monitored."""
    mode: Literal["auto", "min", "max"] = "auto"
    """Which way it is better, as other tools ask. It is known here: the other one is an error."""
    restore_best: Literal[True, False, "monitor"] = True
    """Which epoch's weights are kept, and rank the trial by their dev metric: that of the best dev metric, the last
    (`false`), or the best of what is monitored (`monitor`)."""


_OF_THEIR_OWN: dict[str, Any] = {
    "optimizer": Optimizer,
    "batch_size": BatchSize | None,
    "dampening": Dampening | None,
}
"""The types of the keys that may be more than a number or one of a few words."""
_IN_SCHEMA = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_FIXED = {h.name: h for h in HYPERPARAMETERS.values() if not h.of_model}


def _key(known: Hyperparameter) -> tuple[Any, Any]:
    """The type and the field of the key that fixes a hyperparameter; a number that is left out is None."""
    is_word = known.kind == "categorical"
    field = Field(known.default if is_word else None, description=known.description)
    if known.name in _OF_THEIR_OWN:
        return _OF_THEIR_OWN[known.name], field
    if is_word:
        return bool if isinstance(known.default, bool) else Literal[known.allowed], field
    assert known.bounds is not None
    limits: Mapping[str, Any] = known.bounds.limits
    number: Any = Annotated[int if known.kind == "int" else float, Field(**limits)]
    return (number if known.by_layer is None else _by_layer(number, known)) | None, field


def _by_layer(number: Any, known: Hyperparameter) -> Any:
    """A number, or one for each layer."""
    rule = "must be a number, or a list with one for each layer"
    assert known.bounds is not None
    one: Json = {"type": "number", **{_IN_SCHEMA[limit]: value for limit, value in known.bounds.limits.items()}}
    forms: list[Json] = [one, {"type": "array", "minItems": 1, "items": one}]
    if known.by_layer == "list or names":
        rule += ", or a mapping of names to numbers"
        forms.append({"type": "object", "additionalProperties": one})

    def read(value: object, as_number: ValidatorFunctionWrapHandler) -> object:
        text = as_text(value)
        if numbers_in(text if isinstance(text, str) else None) and not (
            isinstance(value, dict) and known.by_layer == "list"
        ):
            return text
        if isinstance(value, list | dict):
            raise PydanticCustomError("by_layer", "{rule}", {"rule": rule})
        return as_number(value)

    as_it_is = PlainSerializer(lambda value: value, return_type=Any)
    return Annotated[number, WrapValidator(read), as_it_is, WithJsonSchema({"anyOf": forms})]


if TYPE_CHECKING:

    class _Fixed(Part):
        """What the code reads by attribute; all else by name, out of `fixed`."""

        optimizer: str = ""
        schedule: str = ""

else:
    _Fixed = create_model("_Fixed", __base__=Part, **{name: _key(known) for name, known in _FIXED.items()})


class TrainingSpec(_Fixed):
    """How each trial is trained. A number fixed here is a hyperparameter that is not searched."""

    epochs: Annotated[int, Field(ge=1, le=_MOST_EPOCHS)] = 30
    """Epochs of a full training."""
    auxiliary_loss: Annotated[str, Field(min_length=1)] | None = None
    """Attribute of a module of yours that holds, after each forward in training, a further loss of one number, which is
    added to the loss: the balance of experts, a penalty. Dev losses are without it."""
    changes: list[dict[str, int | float]] = Field(default_factory=list)
    """Values that change in the course of a training: `{after_epoch: 20, learning_rate: 0.01}`, in order; those that a
    [population](search.md#a-population-that-learns-as-it-trains) may change. The sweep file of its winner has them."""
    freeze: list[str] = Field(default_factory=list)
    """Parameters that are frozen: names, or patterns such as `layers.0.*`."""
    early_stopping: EarlyStoppingSpec | None = None
    """Left out: every trial trains all its epochs, unless the search stops it."""
    monte_carlo_passes: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """Predict the dev set so many times with dropout on when a trial has ended, and report what their mean gains and
    costs ([Monte Carlo dropout](techniques.md#dropout)). Trials rank without."""
    loss: Loss = "auto"
    """`auto`: cross entropy for classification, binary cross entropy of each label for multi-label data, mean squared
    error for regression. Or [yours](your-code.md#a-loss-a-metric-an-optimiser): `file.py:function`."""
    class_weights: ClassWeights | None = None
    """How much an example of each class counts in the training loss: `balanced`, the rarer the more, or
    `{class: weight}` (1 where left out). Scaled so that the mean over the training examples is 1."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """On CUDA. `tf32`: products and convolutions round their factors to 10 bits behind the point, on tensor cores;
    `bf16`: automatic mixed precision, with evaluation in float32."""
    fuse: Literal["auto", "off", "require", "verify"] = "auto"
    """Train same-shape trials as one stacked program when it pays, never, or always (an error says why if it cannot
    be). `verify`: as `auto`, with each trial of a module of yours checked against the module as written in every
    epoch."""

    @property
    def fixed(self) -> dict[str, ParamValue]:
        """The hyperparameters that are fixed, by name; for a word or a switch its default counts as fixed."""
        return {name: value for name in _FIXED if (value := getattr(self, name)) is not None}
