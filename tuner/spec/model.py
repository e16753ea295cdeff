"""The sweep file as typed values. Reading one, with positions and suggestions, is `tuner.spec.reader`.

Each class documents its fields below them; `docs/sweep-file.md` is generated from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tuner.spec.names import MAX_STUDY_NAME, STUDY_NAME
from tuner.spec.values import (
    BatchSize,
    ClassWeights,
    Fraction,
    Loss,
    Number,
    Optimizer,
    Part,
    PositiveNumber,
    Value,
    Values,
)

NO_DATA = "none"
"""The source of a sweep without a `data:` block, whose training code reads data of its own."""
OWN_MODEL = "own training code"
"""What stands for the model where `command:` or `trainer:` trains."""
LoopKind = Literal["command", "trainer"]
METRICS = (
    "auto", "accuracy", "balanced_accuracy", "f1", "micro_f1", "auroc", "subset_accuracy", "rmse", "r2", "loss",
)  # fmt: skip
"""What `objective.metric` may be where tuner measures it."""
StrategyName = Literal["priority", "staged", "tpe", "gp", "cmaes", "qmc", "random", "grid"]
PrunerName = Literal["median", "asha", "hyperband", "none"]


class SplitSpec(Part):
    """Shares of the examples for training, for choosing hyperparameters and for the one final test."""

    train: Fraction
    """Share of the examples that networks are trained on."""
    dev: Fraction
    """Share that configurations are compared on."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that only `tuner test` may read; 0 for none."""


def _split_form(value: object) -> str | None:
    if isinstance(value, dict | SplitSpec):
        return "shares"
    return "auto" if value == "auto" else None


Split = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[SplitSpec, Tag("shares")],
    Discriminator(
        _split_form,
        custom_error_type="split",
        custom_error_message="must be `auto` or shares such as {train: 0.6, dev: 0.2, test: 0.2}",
    ),
]


class DataSpec(Part):
    """Where the examples come from and how they are split and prepared."""

    source: Annotated[str, Field(min_length=1)]
    """`sklearn/NAME`; a CSV, Parquet, NPZ, NPY or IDX file; a folder of images; or a function of yours,
    `package.module:function` or `path/to/file.py:function`. Paths start at the sweep file's folder."""
    target: str | list[str] | None = None
    """Column to predict, or several: numbers to regress together, or labels of 0 and 1; the last column if left out."""
    task: Literal["auto", "classification", "multi_label", "regression"] = "auto"
    """What to learn; `auto` looks at the target: text, booleans and few distinct integers are classes, several columns
    of 0 and 1 are labels (an example may have any number of them)."""
    split: Split = "auto"
    """Shares of train, dev and test; `auto` is 60/20/20 for small sets, down to 98/1/1 near a million examples."""
    folds: Annotated[int, Field(ge=2, le=50)] | None = None
    """Cross-validation: every trial trains so many networks, each without one of as many parts of the train and dev
    examples, and is scored by the mean over these parts. Left out: one dev set."""
    stream: bool = False
    """Leave the inputs on disk and read them batch by batch, for data larger than memory: NPY files in a folder, IDX
    files that are not packed, and functions. Trials are then trained one at a time."""
    dev: str | None = None
    """File that holds the dev examples, if they are given apart."""
    test: str | None = None
    """File that holds the test examples, if they are given apart."""
    normalise: bool = True
    """Give each input zero mean and unit variance, measured on the training examples only."""
    missing: Literal["mean", "drop", "error"] = "mean"
    """Missing values: fill with the training mean (a column of its own marks them), drop the example, or refuse."""
    seed: int = 0
    """Seed of the split."""
    group: str | None = None
    """Column that names a group (a patient, a speaker): a group's examples all go to the same part. It is no input."""
    order: str | None = None
    """Column that orders the examples in time: train comes before dev, dev before test. It is no input."""
    ignore: list[str] = Field(default_factory=list)
    """Columns that are not used, such as identifiers."""
    image_size: Annotated[int, Field(ge=1)] | None = None
    """Resize the images of a folder to this many pixels in height and width; needed when they differ in size."""


class ModelSpec(Part):
    """The network. Its settings may be fixed here or searched under `space:`; `model: NAME` fixes none."""

    kind: Annotated[str, Field(min_length=1)] = "mlp"
    """A built-in model, or a factory of yours: `package.module:factory` or `path/to/file.py:factory`."""
    init_from: Annotated[str, Field(min_length=1)] | None = None
    """File of weights to start from: a state dict (`.pt`), as in `results/STUDY/best/weights.pt`, or safetensors."""
    new_layers: list[str] = Field(default_factory=list)
    """Parameters that are drawn anew though `init_from` has them: names, patterns such as `layers.0.*`, or `head`."""
    settings: dict[str, Value] = Field(default_factory=dict)
    """Fixed settings by name, such as `hidden_units: 64`, `norm: batch`, or your factory's own. In the file they
    may stand beside `kind`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"kind": values}
        if not isinstance(values, dict):
            return values
        settings = values.get("settings") or {}
        beside = {k: v for k, v in values.items() if k not in cls.model_fields}
        if not beside or not isinstance(settings, dict):
            return values
        if twice := sorted(beside.keys() & settings.keys()):
            raise PydanticCustomError(
                "setting_twice", "has {name} both beside kind and under settings; keep one", {"name": twice[0]}
            )
        return {k: v for k, v in values.items() if k in cls.model_fields} | {"settings": {**settings, **beside}}


Measured = Literal[
    "accuracy",
    "balanced_accuracy",
    "f1",
    "auroc",
    "micro_f1",
    "subset_accuracy",
    "rmse",
    "r2",
    "loss",
    "parameters",
    "flops",
    "latency_ms",
]


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
    `accuracy`, `balanced_accuracy`, `f1`, `micro_f1`, `auroc`, `subset_accuracy`, `rmse`, `r2`, `loss`; with `command:`
    or `trainer:` any name that your code reports; or [yours](your-code.md#a-loss-a-metric-an-optimiser):
    `file.py:function`."""
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
        if not values or not isinstance(values[0], dict):
            raise PydanticCustomError("objectives", "must be a mapping, or a list of mappings")
        return {**values[0], "others": values[1:]}


class DimensionSpec(Part):
    """One hyperparameter of `space:`: a range, or choices."""

    low: Number | None = None
    """Least value; a known hyperparameter's own if left out."""
    high: Number | None = None
    """Greatest value; a known hyperparameter's own if left out."""
    choices: Annotated[list[Value], Field(min_length=1)] | None = None
    """The values to choose from, instead of a range."""
    log: bool | None = None
    """Search on a logarithmic scale (momenta: on log(1 - value)); each known hyperparameter has its right scale
    without this."""
    step: PositiveNumber | None = None
    """Distance between neighbouring values; a continuum if left out (integers: 1)."""
    type: Literal["float", "int"] | None = None
    """Kind of number; taken from the hyperparameter's name, else from how `low` and `high` are written."""
    tier: Literal[1, 2, 3, "regularisation"] | None = None
    """Priority; known hyperparameters have theirs by name, your own need one."""
    default: Value | None = None
    """Value in the first trial and while its tier is not open; a known hyperparameter has one by name, else the
    middle."""
    when: dict[str, Values] = Field(default_factory=dict)
    """Search this only where other parameters have these values, such as `{optimizer: adam}`."""


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
    epochs: Annotated[int, Field(ge=1)] = 30
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
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: automatic mixed precision on CUDA."""
    fuse: Literal["auto", "off", "require"] = "auto"
    """Train same-shape trials as one stacked program when it pays, never, or always (an error says why if it cannot
    be)."""


class StopSpec(Part):
    """When to end the search before its trials are used up. A best trial that is paused then is still trained to its
    end."""

    target: float | None = None
    """Stop once the best dev metric is at least as good as this."""
    plateau: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many trials without an improvement larger than the noise of the dev set."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Stop once this many epochs have been trained in all trials together."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Stop after this many seconds of wall-clock time, over all runs of the study."""


class SearchSpec(Part):
    """How configurations are chosen."""

    trials: Annotated[int, Field(ge=1)] = 64
    """Total number of trials of the study, over all runs, whatever their end."""
    strategy: StrategyName = "priority"
    """`priority`, `staged`, or an Optuna sampler: `tpe`, `gp`, `cmaes`, `qmc`, `random`, `grid`."""
    pruner: PrunerName | None = None
    """`median`, `asha`, `hyperband` or `none`; left out: the strategy's own rule."""
    seed: int = 0
    """Seed of the search and of every trial."""
    trial_seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of every trial, instead of one drawn from `seed` and the trial's number: to train one trial over again."""
    regularisation: Literal["on_variance", "always"] = "on_variance"
    """Open weight decay, L1 and dropout when the best trials show variance, or search them from the start."""
    start: list[dict[str, Value]] = Field(default_factory=list)
    """Configurations to try first; parameters left out take their defaults."""
    warm_start: str | None = None
    """An earlier study to learn from: its name, or its folder from the sweep file's. Its trials are not counted (nor
    repeated by `priority`); its data and training must be the same, its space may be another. For the strategies
    `priority`, `tpe` and `gp`."""
    stop: StopSpec | None = None
    """When to end the search early."""
    refine: Annotated[int, Field(ge=0)] = 0
    """So many times the space is zoomed around the best trials; each round has an equal share of the trials."""


class FinalistsSpec(Part):
    """Training the best trials again on fresh seeds, since the best of many is partly luck."""

    count: Annotated[int, Field(ge=1)] = 5
    """How many of the best trials."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Fresh seeds for each."""


class LimitsSpec(Part):
    """When a trial, or the sweep, is given up."""

    trial_seconds: Annotated[float, Field(gt=0)] | None = None
    """A trial that has trained longer fails with reason `timeout`."""
    stall_seconds: Annotated[float, Field(gt=0)] = 600.0
    """A trial that finishes no epoch for so long fails with reason `stalled`."""
    consecutive_failures: Annotated[int, Field(ge=1)] = 3
    """So many trials in a row that fail in the same way stop the sweep (exit code 7). Divergence does not count."""
    retries: Annotated[int, Field(ge=0)] = 1
    """How often a trial whose process was killed is continued from its checkpoint."""


class SweepSpec(Part):
    """A whole sweep file."""

    study: Annotated[str, Field(min_length=1, max_length=MAX_STUDY_NAME, pattern=STUDY_NAME)]
    """Name of the study, and of its folder under `results/`."""
    data: DataSpec = DataSpec(source=NO_DATA)
    """Where the examples come from; required, except where `command:` or `trainer:` trains. See [below](#data)."""
    model: ModelSpec = ModelSpec()
    command: Annotated[str, Field(min_length=1)] | None = None
    """A command that trains one trial, instead of a network that tuner trains: `python train.py --lr {learning_rate}`.
    Every `{name}` becomes the trial's value; see [your code](your-code.md)."""
    trainer: Annotated[str, Field(min_length=1)] | None = None
    """A function of yours that trains one trial, `package.module:function` or `path/to/file.py:function`; it is given a
    [handle](your-code.md#a-function)."""
    folder: Annotated[str, Field(min_length=1)] | None = None
    """Folder that the command runs in; that of the sweep file if left out."""
    objective: ObjectiveSpec = ObjectiveSpec()
    constraints: list[ConstraintSpec] = Field(default_factory=list)
    """Bounds that a network must keep, such as `{metric: parameters, max: 50000}`."""
    space: dict[str, DimensionSpec] | None = None
    """Hyperparameters to search; left out: the default space of the model and the optimiser, in Ng's order."""
    training: TrainingSpec = TrainingSpec()
    search: SearchSpec = SearchSpec()
    finalists: FinalistsSpec | None = None
    limits: LimitsSpec = LimitsSpec()
    root: str = Field(default=".", exclude=True)
    """Folder of the sweep file, absolute; set by the reader, not written in the file."""

    @property
    def loop(self) -> LoopKind | None:
        """The key that names the user's own training code; None where tuner trains a network."""
        if self.command is not None:
            return "command"
        return "trainer" if self.trainer is not None else None

    @property
    def has_data(self) -> bool:
        """Whether tuner reads the data."""
        return self.data.source != NO_DATA

    @model_validator(mode="before")
    @classmethod
    def _name_model(cls, values: Any) -> Any:
        """Own training code takes the place of a model: then all hyperparameters are the user's."""
        if not isinstance(values, dict) or values.get("model") is not None:
            return values
        is_own = values.get("command") is not None or values.get("trainer") is not None
        return {**values, "model": {"kind": OWN_MODEL}} if is_own else values
