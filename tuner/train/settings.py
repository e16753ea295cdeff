"""The resolved values of one trial: how it is trained, and which network is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.records import Params, ParamValue
from tuner.spec.defaults import settings_for
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
    """One trial's values: defaults, overridden by the sweep file's fixed values, overridden by its parameters."""

    optimizer: str
    learning_rate: float
    momentum: float
    nesterov: bool
    beta1: float
    beta2: float
    batch_size: int
    """Examples in a mini-batch; at most the number of training examples."""
    weight_decay: float
    max_norm: float | None
    l1: float
    dropout: float
    dropout_last: float | None
    """Of the last dropout layer, where it has a rate of its own; those between lie between."""
    input_dropout: float
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
    model: Mapping[str, ParamValue]
    """All values by name: what a model's factory reads."""

    @property
    def betas(self) -> tuple[float, float]:
        return self.beta1, self.beta2


def resolve_settings(
    spec: SweepSpec, params: Params, *, num_train: int, class_weights: tuple[float, ...] = ()
) -> Settings:
    """The values that a trial with these parameters is trained with; class weights depend on the data alone."""
    values = settings_for(spec, params)
    batch_size = values["batch_size"]
    return Settings(
        optimizer=str(values["optimizer"]),
        learning_rate=float(values["learning_rate"]),
        momentum=float(values["momentum"]),
        nesterov=bool(values["nesterov"]),
        beta1=float(values["beta1"]),
        beta2=float(values["beta2"]),
        batch_size=num_train if batch_size == "full" else min(int(batch_size), num_train),
        weight_decay=float(values["weight_decay"]),
        max_norm=_optional(values, "max_norm"),
        l1=float(values["l1"]),
        dropout=float(values["dropout"]),
        dropout_last=_optional(values, "dropout_last"),
        input_dropout=float(values["input_dropout"]),
        augmentation=_augmentation(values),
        mixup=float(values["mixup"]),
        label_smoothing=float(values["label_smoothing"]),
        class_weights=class_weights,
        schedule=str(values["schedule"]),
        lr_decay=float(values["lr_decay"]),
        warmup_epochs=float(values["warmup_epochs"]),
        clip_norm=_optional(values, "clip_norm"),
        init=str(values["init"]),
        averaging=str(values["averaging"]),
        ema_decay=float(values["ema_decay"]),
        swa_start=float(values["swa_start"]),
        epochs=int(values.get("epochs", spec.training.epochs)),
        model=values,
    )


def _optional(values: Mapping[str, ParamValue], name: str) -> float | None:
    return None if name not in values else float(values[name])


def _augmentation(values: Mapping[str, ParamValue]) -> Augmentation:
    kinds = ("flip", "shift", "rotate", "zoom", "cutout", "noise")
    return Augmentation(strength=float(values["augment"]), **{kind: bool(values[f"augment_{kind}"]) for kind in kinds})
