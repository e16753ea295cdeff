"""The known hyperparameters: tier, kind, scale, default and standard range of each, and what each applies to.

The tiers are Ng's order of priority (Hyperparameter tuning, Regularization and Optimization, week 3): first the
learning rate; then momentum, mini-batch size and hidden units; then layers and learning-rate decay. What fights
variance comes last, when the dev set asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tuner.spec.known.knowledge import Bounds, Hyperparameter
from tuner.spec.known.networks import MODELS, NETWORK_HYPERPARAMETERS
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.known.techniques import TECHNIQUES
from tuner.spec.space import REGULARISATION_TIER

_TABULAR = frozenset({"tabular"})
"""What it has of its own is in its default space alone: few shapes, so that many trials train as one program."""
_MOMENTUM = Bounds(low=0, high=1, open_high=True)
_POSITIVE = Bounds(low=0, open_low=True)
_NOT_NEGATIVE = Bounds(low=0)

_ALL = (
    Hyperparameter(
        name="learning_rate",
        tier=1,
        kind="float",
        default=0.01,
        low=1e-4,
        high=1.0,
        scale="log",
        bounds=_POSITIVE,
        in_default_space=True,
        fused="own",
        course="alpha",
        description="Step size alpha of the optimiser; the one to tune if you tune only one.",
    ),
    Hyperparameter(
        name="optimizer",
        tier=2,
        kind="categorical",
        default="sgd",
        model_defaults={"tabular": "adamw"},
        choices=("sgd", "adam"),
        allowed=tuple(OPTIMIZERS),
        description=(
            "The optimiser; give those hyperparameters that only one of them uses a `when:`. `sgd` has momentum and "
            "Nesterov; `adamw` decouples weight decay from the gradient (arXiv 1711.05101). `amsgrad`: Adam that never "
            "forgets its largest second moment (1904.09237). `nadam`: Adam with Nesterov's momentum. `lion`: the sign "
            "of a momentum, with decoupled decay (2302.06675). Or "
            "[yours](your-code.md#a-loss-a-metric-an-optimiser): `file.py:function`."
        ),
    ),
    Hyperparameter(
        name="momentum",
        tier=2,
        kind="float",
        default=0.0,
        searched_default=0.9,
        low=0.5,
        high=0.99,
        scale="log1m",
        bounds=_MOMENTUM,
        of_some_optimizers=True,
        in_default_space=True,
        fused="own",
        course="beta",
        description="Momentum beta: the average runs over about 1 / (1 - beta) steps.",
    ),
    Hyperparameter(
        name="beta1",
        tier=2,
        kind="float",
        default=0.9,
        low=0.8,
        high=0.99,
        scale="log1m",
        bounds=_MOMENTUM,
        of_some_optimizers=True,
        fused="own",
        course="beta_1",
        description="Adam's decay of the average gradient; searched only when asked for.",
    ),
    Hyperparameter(
        name="batch_size",
        tier=2,
        kind="int",
        default=64,
        model_defaults={"tabular": "auto"},
        choices=(32, 64, 128, 256),
        allowed=("full", "auto"),
        low=32,
        high=256,
        scale="log",
        bounds=Bounds(low=1, high=1_000_000_000, reason="write `full` for all of the training set"),
        in_default_space=True,
        default_space_without=_TABULAR,
        course="mini-batch size",
        description=(
            "Examples in a mini-batch; `full` is all of the training set, `auto` 32, 64 or 128: the most that leave an "
            "epoch 64 steps."
        ),
    ),
    *NETWORK_HYPERPARAMETERS,
    Hyperparameter(
        name="lr_decay",
        tier=3,
        kind="float",
        default=0.0,
        low=0.0,
        high=0.3,
        bounds=_NOT_NEGATIVE,
        in_default_space=True,
        default_space_without=_TABULAR,
        fused="own",
        course="decay_rate",
        description="Strength of the learning-rate decay of `training.schedule`.",
    ),
    Hyperparameter(
        name="warmup_epochs",
        tier=3,
        kind="float",
        default=0.0,
        low=0.0,
        high=5.0,
        bounds=_NOT_NEGATIVE,
        fused="own",
        description="Epochs over which the learning rate rises linearly from zero.",
    ),
    Hyperparameter(
        name="schedule",
        tier=3,
        kind="categorical",
        default="inverse_time",
        model_defaults={"tabular": "cosine"},
        choices=("inverse_time", "cosine"),
        allowed=("constant", "inverse_time", "exponential", "step", "cosine", "one_cycle"),
        fused="own",
        description=(
            "How the learning rate decays. `inverse_time`: alpha / (1 + lr_decay * epoch). `exponential`: alpha * "
            "(1 - lr_decay) ** epoch. `step`: times (1 - lr_decay) at each third of the training. `cosine`: half a "
            "cosine down to (1 - lr_decay) of alpha. `one_cycle`: up from alpha / 25 in the first 30 % of the steps, "
            "then down to nearly zero (arXiv 1708.07120)."
        ),
    ),
    Hyperparameter(
        name="beta2",
        tier=3,
        kind="float",
        default=0.999,
        low=0.9,
        high=0.9999,
        scale="log1m",
        bounds=_MOMENTUM,
        of_some_optimizers=True,
        fused="own",
        course="beta_2",
        description="Adam's and RMSprop's decay of the average squared gradient; Lion's of the momentum.",
    ),
    Hyperparameter(
        name="nesterov",
        tier=3,
        kind="categorical",
        default=False,
        choices=(False, True),
        allowed=(False, True),
        of_some_optimizers=True,
        description="Nesterov's form of momentum.",
    ),
    Hyperparameter(
        name="dampening",
        tier=3,
        kind="float",
        default=0.0,
        choices=(0.0, "auto"),
        allowed=("auto",),
        low=0.0,
        high=0.99,
        bounds=_MOMENTUM,
        of_some_optimizers=True,
        fused="own",
        course="the factor (1 - beta)",
        description=(
            "Share of each gradient that momentum leaves out: v = beta v + (1 - dampening) g. `auto`: as much as beta, "
            "so that v is an average, and momentum does not lengthen the steps."
        ),
    ),
    Hyperparameter(
        name="bias_correction",
        tier=3,
        kind="categorical",
        default="auto",
        choices=(True, False),
        allowed=("auto", True, False),
        of_some_optimizers=True,
        fused="own",
        description=(
            "Divide averages, which begin at zero, by 1 - beta ** t at step t. `auto`: those of Adam and its kin, and "
            "not the momentum of `sgd`."
        ),
    ),
    Hyperparameter(
        name="epsilon",
        tier=3,
        kind="float",
        default=1e-8,
        low=1e-10,
        high=1e-2,
        scale="log",
        bounds=_POSITIVE,
        of_some_optimizers=True,
        fused="own",
        description="What is added to the root of the average squared gradient; searched only when asked for.",
    ),
    Hyperparameter(
        name="clip_norm",
        tier=3,
        kind="float",
        default=1.0,
        low=0.1,
        high=10.0,
        scale="log",
        bounds=_POSITIVE,
        optional=True,
        fused="own",
        description="L2 norm that a larger gradient is scaled down to; no clipping unless fixed or searched.",
    ),
    Hyperparameter(
        name="init",
        tier=3,
        kind="categorical",
        default="auto",
        choices=("he", "xavier"),
        allowed=("auto", "he", "xavier", "lecun", "orthogonal", "normal", "zero"),
        fused="own",
        description=(
            "Initial weights of a built-in model; `normal` and `zero` are there to see them fail. `auto`: He for "
            "ReLU-like activations, Xavier for the others. Variances: `he` 2 / inputs, `xavier` 2 / (inputs + "
            "outputs), `lecun` 1 / inputs, which Ng takes before tanh; `normal` 1 whatever the width."
        ),
    ),
    Hyperparameter(
        name="weight_decay",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        searched_default=1e-4,
        low=1e-6,
        high=1e-1,
        scale="log",
        bounds=_NOT_NEGATIVE,
        in_default_space=True,
        fused="own",
        course="lambda / m",
        by_layer="list or names",
        description=(
            "L2 penalty on the weights, not on biases and norm parameters. Also [by layer](techniques.md#by-layer): "
            "`[1e-3, 1e-4]`, or by the parameters' names: `{0.*: 1e-3}`."
        ),
    ),
    Hyperparameter(
        name="l1",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        searched_default=1e-6,
        low=1e-7,
        high=1e-2,
        scale="log",
        bounds=_NOT_NEGATIVE,
        fused="own",
        by_layer="list or names",
        description="L1 penalty on the weights, also by layer or by name; searched only when asked for.",
    ),
    Hyperparameter(
        name="dropout",
        tier=REGULARISATION_TIER,
        kind="float",
        default=0.0,
        model_defaults={"tabular": 0.1},
        low=0.0,
        high=0.6,
        bounds=_MOMENTUM,
        in_default_space=True,
        fused="own",
        course="1 - keep_prob",
        by_layer="list",
        description=(
            "Share of hidden units dropped in training; the others are scaled up (inverted dropout). Also a list with "
            "the rate of each hidden layer, `[0.1, 0.3]`."
        ),
    ),
)

HYPERPARAMETERS: Mapping[str, Hyperparameter] = {h.name: h for h in sorted((*_ALL, *TECHNIQUES), key=lambda h: h.tier)}
"""By name, in tier order."""


def is_builtin(model: str) -> bool:
    """Whether a model is one of ours, whose settings are all known."""
    return model in MODELS


def hyperparameters_of(model: str) -> list[Hyperparameter]:
    """The known hyperparameters of the training and of a model, in tier order; a user's model has none of its own."""
    return [h for h in HYPERPARAMETERS.values() if h.models is None or model in h.models]
