"""The `training:` block: how each trial is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuner.spec.values import BatchSize, ClassWeights, Loss, Optimizer, Part

MOST_EPOCHS = 1_000_000


class EarlyStoppingSpec(Part):
    """End a trial when its dev metric no longer improves; the best epoch's weights are kept in any case."""

    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without improvement before the trial ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """Least change of the metric that counts as improvement."""


class TrainingSpec(Part):
    """How each trial is trained. A number fixed here is a hyperparameter that is not searched."""

    optimizer: Optimizer = "sgd"
    """`sgd` has momentum and Nesterov; `adamw` decouples weight decay from the gradient (arXiv 1711.05101). `amsgrad`:
    Adam that never forgets its largest second moment (1904.09237). `nadam`: Adam with Nesterov's momentum. `lion`: the
    sign of a momentum, with decoupled decay (2302.06675). Or [yours](your-code.md#a-loss-a-metric-an-optimiser):
    `file.py:function`."""
    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 30
    """Epochs of a full training."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Step size alpha; 0.01 (Adam's kind and RMSprop: 0.001, Lion: 0.0001) unless fixed or searched."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Momentum beta of SGD (0.9) and RMSprop (0)."""
    nesterov: bool = False
    """Nesterov's form of momentum, for SGD."""
    beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Adam's decay of the first moment (0.9)."""
    beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Adam's decay of the second moment (0.999); RMSprop's of the squared gradient, Lion's of the momentum (0.99)."""
    auxiliary_loss: Annotated[str, Field(min_length=1)] | None = None
    """Attribute of a module of yours that holds, after each forward in training, a further loss of one number, which is
    added to the loss: the balance of experts, a penalty. Dev losses are without it."""
    batch_size: BatchSize | None = None
    """Examples in a mini-batch (64), or `full` for batch gradient descent."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """L2 penalty on the weights (not on biases and norm parameters); 0 unless fixed or searched."""
    l1: Annotated[float, Field(ge=0)] | None = None
    """L1 penalty on the weights; 0 unless fixed or searched."""
    max_norm: Annotated[float, Field(gt=0)] | None = None
    """Limit of the L2 norm of each unit's incoming weights, kept after every step."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of hidden units dropped in training (inverted dropout); 0 unless fixed or searched."""
    dropout_last: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of the last hidden layer of a built-in model, where it is not `dropout`; that of the layers between lies
    between."""
    input_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the inputs dropped in training; 0 unless fixed or searched."""
    augment: Annotated[float, Field(ge=0, le=1)] | None = None
    """Strength of the augmentation of training images, from 0 (off, unless fixed or searched) to 1; the kinds follow.
    Dev and test examples stay as they are."""
    augment_flip: bool = False
    """Mirror images left to right, half of them at strength 1."""
    augment_shift: bool = True
    """Shift images, at strength 1 by up to a fifth of their size."""
    augment_rotate: bool = True
    """Rotate images, at strength 1 by up to 30 degrees."""
    augment_zoom: bool = True
    """Zoom images in or out, at strength 1 by up to a quarter."""
    augment_cutout: bool = False
    """Blank a square of each image, at strength 1 half as wide as it (arXiv 1708.04552)."""
    augment_noise: bool = False
    """Add noise to images, at strength 1 with a standard deviation of 0.3."""
    mixup: Annotated[float, Field(ge=0)] | None = None
    """Alpha of mixup, which blends pairs of examples and their targets (arXiv 1710.09412); 0 unless fixed or
    searched."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of each label that is spread over all classes (arXiv 1512.00567); 0 unless fixed or searched."""
    schedule: Literal["constant", "inverse_time", "exponential", "step", "cosine", "one_cycle"] = "inverse_time"
    """How the learning rate decays. `inverse_time`: alpha / (1 + lr_decay * epoch). `exponential`:
    alpha * (1 - lr_decay) ** epoch. `step`: times (1 - lr_decay) at each third of the training. `cosine`: half a
    cosine down to (1 - lr_decay) of alpha. `one_cycle`: up from alpha / 25 in the first 30 % of the steps, then down to
    nearly zero (arXiv 1708.07120)."""
    lr_decay: Annotated[float, Field(ge=0)] | None = None
    """Strength of the decay; 0 (cosine: 1) unless fixed or searched."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which the learning rate rises linearly from zero."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Scale the gradient of a trial down to this L2 norm when it is larger."""
    train_last: Annotated[int, Field(ge=1)] | None = None
    """Train the last so many layers and freeze the others; all are trained if left out."""
    freeze: list[str] = Field(default_factory=list)
    """Parameters that are frozen: names, or patterns such as `layers.0.*`."""
    body_learning_rate_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the learning rate at which all but the last layer, and the layers that are new, are trained (1)."""
    unfreeze_every_epochs: Annotated[int, Field(ge=1)] | None = None
    """After each so many epochs one layer more is trained, from the last `train_last` (1) down to the first."""
    init: Literal["auto", "he", "xavier", "orthogonal", "normal", "zero"] = "auto"
    """Initial weights of a built-in model. `auto`: He for ReLU-like activations, Xavier for the others. `normal`
    (standard deviation 1 whatever the width) and `zero` are there to see why they fail."""
    averaging: Literal["none", "ema", "swa"] = "none"
    """Evaluate and keep an average of the weights: `ema`, which decays by step, or `swa`, the mean over the ends of the
    last epochs (arXiv 1803.05407)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the average by step for `ema`; 0.99 unless fixed or searched."""
    swa_start: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the epochs before `swa` begins; 0.75 unless fixed or searched."""
    early_stopping: EarlyStoppingSpec | None = None
    """Left out: every trial trains all its epochs, unless the search stops it."""
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
