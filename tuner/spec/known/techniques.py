"""The known hyperparameters of the techniques that are switched on by name: what fights variance beyond L2 and dropout.

Each is off unless it is fixed or searched, and no part of the default space, but for the augmentation of images by the
convolutional networks for them.
"""

from __future__ import annotations

from tuner.spec.known.knowledge import Bounds, Hyperparameter
from tuner.spec.space import REGULARISATION_TIER

_SHARE = Bounds(low=0, high=1)
_RATE = Bounds(low=0, high=1, open_high=True)


def _kind_of_augmentation(name: str, default: bool, description: str) -> Hyperparameter:
    return Hyperparameter(
        name=f"augment_{name}",
        tier=REGULARISATION_TIER,
        kind="categorical",
        default=default,
        choices=(False, True),
        allowed=(False, True),
        description=description,
    )


TECHNIQUES = (
    Hyperparameter(
        name="averaging",
        tier=3,
        kind="categorical",
        default="none",
        choices=("none", "ema"),
        allowed=("none", "ema", "swa"),
        description=(
            "Average of the weights that is evaluated and kept: by step (`ema`) or by epoch (`swa`). `swa` is the mean "
            "over the ends of the last epochs (arXiv 1803.05407)."
        ),
    ),
    Hyperparameter(
        name="ema_decay",
        tier=3,
        kind="float",
        default=0.99,
        low=0.9,
        high=0.999,
        scale="log1m",
        bounds=_RATE,
        fused="own",
        description="Decay of `averaging: ema`: the average runs over about 1 / (1 - decay) steps.",
    ),
    Hyperparameter(
        name="swa_start",
        tier=3,
        kind="float",
        default=0.75,
        low=0.5,
        high=0.9,
        bounds=_RATE,
        fused="own",
        description="Share of the epochs before `averaging: swa` begins.",
    ),
    Hyperparameter(
        name="train_last",
        tier=3,
        kind="int",
        default=1,
        low=1,
        high=4,
        bounds=Bounds(low=1),
        optional=True,
        description="Layers that are trained, counted from the output; all unless fixed or searched.",
    ),
    Hyperparameter(
        name="body_learning_rate_factor",
        tier=3,
        kind="float",
        default=1.0,
        searched_default=0.1,
        low=0.01,
        high=1.0,
        scale="log",
        bounds=Bounds(low=0, high=1, open_low=True),
        fused="own",
        description="Share of the learning rate for all but the last layer and those that are new.",
    ),
    Hyperparameter(
        name="unfreeze_every_epochs",
        tier=3,
        kind="int",
        default=2,
        low=1,
        high=5,
        bounds=Bounds(low=1),
        optional=True,
        description=(
            "Epochs after each of which one layer more is trained, from the last `train_last` (1) down to the first; "
            "none is frozen unless fixed or searched."
        ),
    ),
    Hyperparameter(
        name="augment",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.6,
        bounds=_SHARE,
        default_space_of=frozenset({"cnn", "resnet"}),
        fused="on_or_off",
        description=(
            "Strength of the augmentation of training images, of all its kinds, from 0 (off) to 1. Dev and test "
            "examples stay as they are."
        ),
    ),
    _kind_of_augmentation("flip", False, "Mirror images left to right, half of them at strength 1."),
    _kind_of_augmentation("shift", True, "Shift images, at strength 1 by up to a fifth of their size."),
    _kind_of_augmentation("rotate", True, "Rotate images, at strength 1 by up to 30 degrees."),
    _kind_of_augmentation("zoom", True, "Zoom images in or out, at strength 1 by up to a quarter."),
    _kind_of_augmentation(
        "cutout", False, "Blank a square of each image, at strength 1 half as wide (arXiv 1708.04552)."
    ),
    _kind_of_augmentation("noise", False, "Add noise to images, at strength 1 of standard deviation 0.3."),
    Hyperparameter(
        name="mixup",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.4,
        bounds=Bounds(low=0),
        fused="on_or_off",
        description="Alpha of mixup: how far pairs of examples, targets too, are blended (arXiv 1710.09412); 0 is off.",
    ),
    Hyperparameter(
        name="label_smoothing",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.2,
        bounds=_RATE,
        fused="on_or_off",
        description="Share of each label that is spread over all classes (arXiv 1512.00567).",
    ),
    Hyperparameter(
        name="dropout_last",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.6,
        bounds=_RATE,
        optional=True,
        fused="own",
        description="Dropout of a built-in model's last hidden layer, if not `dropout`; layers between lie between.",
    ),
    Hyperparameter(
        name="l1_step",
        tier=REGULARISATION_TIER,
        kind="categorical",
        default="gradient",
        choices=("gradient", "proximal"),
        allowed=("gradient", "proximal"),
        description=(
            "How `l1` is applied. `gradient`: its sign is added to the gradient, and weights come near zero. "
            "`proximal`: a step of its own makes weights zero (soft threshold), so that inputs and units drop out."
        ),
    ),
    Hyperparameter(
        name="max_norm",
        tier=REGULARISATION_TIER,
        kind="float",
        default=3.0,
        low=0.5,
        high=8.0,
        scale="log",
        bounds=Bounds(low=0, open_low=True),
        optional=True,
        fused="own",
        description=(
            "Limit of the L2 norm of each unit's incoming weights, kept by every step; none unless fixed or searched."
        ),
    ),
    Hyperparameter(
        name="weight_noise",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.1,
        bounds=Bounds(low=0),
        fused="on_or_off",
        description=(
            "Standard deviation of Gaussian noise on the weights while each step's gradients are computed; the weights "
            "themselves stay without."
        ),
    ),
    Hyperparameter(
        name="input_dropout",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.3,
        bounds=_RATE,
        fused="on_or_off",
        description="Share of the inputs dropped in training.",
    ),
)
"""In the order in which they are documented."""
