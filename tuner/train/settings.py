"""The resolved values of one trial: how it is trained, and which network is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tuner.records import Params, ParamValue
from tuner.spec.by_layer import by_layer, numbers_in
from tuner.spec.defaults import batch_examples, settings_for
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.model import SweepSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """What is done to training images: see `train.batch.augment`."""

    strength: float
    """From 0, which is off, to 1."""
    flip: bool
    shift: bool
    rotate: bool
    zoom: bool
    cutout: bool
    noise: bool

    @property
    def moves(self) -> bool:
        """Whether pixels change their place."""
        return self.flip or self.shift or self.rotate or self.zoom


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One trial's values: defaults, overridden by the sweep file's fixed values, overridden by its parameters.

    A field that has the name of a hyperparameter is its value; it is None where that is optional and there is none.
    """

    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    dampening: float
    corrects_bias: bool
    """Whether averages are divided by what their weights add up to, after a start at zero."""
    epsilon: float
    beta1: float
    beta2: float
    batch_size: int
    """Examples in a mini-batch; at most the number of training examples."""
    weight_decay: float
    max_norm: float | None
    l1: float
    l1_step: str
    dropout: float
    dropout_last: float | None
    """Of the last dropout layer, where it has a rate of its own; those between lie between."""
    input_dropout: float
    weight_noise: float
    augmentation: Augmentation
    mixup: float
    label_smoothing: float
    class_weights: tuple[float, ...]
    """Of each class, with mean 1 over the training examples; empty if all count the same."""
    schedule: str
    lr_decay: float
    warmup_epochs: float
    clip_norm: float | None
    init: str
    averaging: str
    ema_decay: float
    swa_start: float
    epochs: int
    """Epochs of the full training, which the schedule is laid out over."""
    by_layer: Mapping[str, str]
    """What is given by layer or by name (`tuner.spec.by_layer`), of `dropout`, `weight_decay` and `l1`; the field of
    its name is then the greatest of its numbers."""
    model: Mapping[str, ParamValue]
    """All values by name: what a model's factory reads."""

    @property
    def selects(self) -> bool:
        """Whether L1 is a step of its own, which makes weights zero, and no part of the gradient."""
        return self.l1 > 0 and self.l1_step == "proximal"

    @property
    def listed_dropout(self) -> tuple[float, ...]:
        """The rate of each dropout layer, where they are listed."""
        return by_layer(self.by_layer.get("dropout")) if self.dropout else ()

    @property
    def betas(self) -> tuple[float, float]:
        return self.beta1, self.beta2


def resolve_settings(
    spec: SweepSpec, params: Params, *, num_train: int, class_weights: tuple[float, ...] = ()
) -> Settings:
    """The values that a trial with these parameters is trained with; class weights depend on the data alone."""
    values = settings_for(spec, params)
    known: dict[str, Any] = {f.name: _typed(f.name, values) for f in fields(Settings) if f.name in HYPERPARAMETERS}
    batch_size = batch_examples(values["batch_size"], num_train=num_train)
    return Settings(
        **known | {"batch_size": batch_size, "dampening": _dampening(values)},
        corrects_bias=_corrects_bias(values),
        augmentation=_augmentation(values),
        class_weights=class_weights,
        epochs=int(values.get("epochs", spec.training.epochs)),
        by_layer={n: str(values[n]) for n in ("dropout", "weight_decay", "l1") if numbers_in(values.get(n))},
        model=values,
    )


def _typed(name: str, values: Mapping[str, ParamValue]) -> ParamValue | None:
    """A hyperparameter's value as its own kind of number; None for an optional one that there is none of."""
    value = values.get(name)
    if listed := numbers_in(value):
        return max(listed)
    is_number = HYPERPARAMETERS[name].kind == "float" and isinstance(value, int | float)
    return float(value) if is_number and value is not None else value


def _dampening(values: Mapping[str, ParamValue]) -> float:
    return float(values["momentum"] if values["dampening"] == "auto" else values["dampening"])


def _corrects_bias(values: Mapping[str, ParamValue]) -> bool:
    optimizer, asked = str(values["optimizer"]), values["bias_correction"]
    if asked == "auto" or not HYPERPARAMETERS["bias_correction"].serves(optimizer):
        return "beta1" in OPTIMIZERS.get(optimizer, {})  # as Adam and its kin have it
    return bool(asked)


def _augmentation(values: Mapping[str, ParamValue]) -> Augmentation:
    kinds = [f.name for f in fields(Augmentation) if f.name != "strength"]
    return Augmentation(strength=float(values["augment"]), **{kind: bool(values[f"augment_{kind}"]) for kind in kinds})
