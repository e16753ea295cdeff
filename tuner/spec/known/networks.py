"""The built-in models and the hyperparameters of their networks: tier, kind, scale, default, standard range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from tuner.spec.known.knowledge import Bounds, Hyperparameter

MODEL = "model"
"""Name of the hyperparameter that says which of several models a trial's is."""
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "elu")


class BuiltIn(NamedTuple):
    """A built-in model."""

    place: str
    """`module:function`, of a function of (settings, input_shape, num_outputs)."""
    description: str
    """One sentence."""
    is_described: bool = False
    """Whether the function gives a description, layer by layer, which is trained as a stacked program; the others give
    modules, which are trained as users' are."""
    examples: Literal["any", "images", "sequences", "tables"] = "any"
    """What it takes; images are sequences, too. Of a table it is told how many features are numbers."""


MODELS: Mapping[str, BuiltIn] = {
    "linear": BuiltIn(
        "tuner.models.mlp:linear",
        "Linear, logistic or softmax regression: the baseline that a network has to beat.",
        is_described=True,
    ),
    "mlp": BuiltIn(
        "tuner.models.mlp:mlp",
        "Multi-layer perceptron: dense layers of equal width; images are flattened.",
        is_described=True,
    ),
    "tabular": BuiltIn(
        "tuner.models.tabular:tabular",
        "For tables: a multi-layer perceptron over periodic embeddings of the numbers.",
        is_described=True,
        examples="tables",
    ),
    "cnn": BuiltIn(
        "tuner.models.cnn:cnn",
        "Convolutional network for images: channels double as the image halves, then one hidden dense layer.",
        is_described=True,
        examples="images",
    ),
    "resnet": BuiltIn(
        "tuner.models.cnn:resnet",
        "Residual convolutional network for images: each stage adds a residual block; no hidden dense layer.",
        is_described=True,
        examples="images",
    ),
    "conv1d": BuiltIn(
        "tuner.models.sequences:conv1d",
        "Convolutional network for sequences; images are sequences of rows.",
        examples="sequences",
    ),
    "recurrent": BuiltIn(
        "tuner.models.sequences:recurrent",
        "GRU or LSTM layers for sequences; images are sequences of rows.",
        examples="sequences",
    ),
    "transformer": BuiltIn(
        "tuner.models.sequences:transformer",
        "Transformer encoder for sequences; images are sequences of rows.",
        examples="sequences",
    ),
}
"""By the names that a sweep file uses; any other model is a factory of the user's."""

DESCRIBED = frozenset(name for name, model in MODELS.items() if model.is_described)
_MLP = frozenset({"mlp", "tabular"})
_TABULAR = frozenset({"tabular"})
_CNN = frozenset({"cnn"})
_CONVOLUTIONAL = frozenset({"cnn", "resnet", "conv1d"})
_RECURRENT = frozenset({"recurrent"})
_TRANSFORMER = frozenset({"transformer"})
_UNITS = Bounds(low=1, high=1_000_000, reason="the weights of a wider layer fit no memory")
_LAYERS = Bounds(low=1, high=1000, reason="no network that is deeper is trained in useful time")
_NORMED = _MLP | _CONVOLUTIONAL
_ACTIVATED = _NORMED | _TRANSFORMER

NETWORK_HYPERPARAMETERS = (
    Hyperparameter(
        name="channels",
        tier=2,
        kind="int",
        default=16,
        low=8,
        high=64,
        scale="log",
        bounds=_UNITS,
        models=_CONVOLUTIONAL,
        in_default_space=True,
        description="Channels of the first convolution; each further one has twice as many.",
    ),
    Hyperparameter(
        name="hidden_units",
        tier=2,
        kind="int",
        default=64,
        model_defaults={"tabular": 128},
        model_choices={"tabular": (64, 128, 256)},
        low=16,
        high=256,
        scale="log",
        bounds=_UNITS,
        models=_MLP | _CNN | _RECURRENT,
        in_default_space=True,
        course="number of hidden units, n[l]",
        by_layer="list",
        description=(
            "Width of each hidden dense layer, or of a recurrent layer's state. Of an mlp also a list, `[256, 64]`, "
            "which says how many layers there are, too."
        ),
    ),
    Hyperparameter(
        name="number_embedding",
        tier=2,
        kind="categorical",
        default="periodic",
        choices=("periodic", "none"),
        allowed=("periodic", "none"),
        models=_TABULAR,
        in_default_space=True,
        description=(
            "What stands beside each number of a table: eight cosines of it, of learnt frequencies and phases "
            "(arXiv 2203.05556), or nothing."
        ),
    ),
    Hyperparameter(
        name="heads",
        tier=2,
        kind="int",
        default=4,
        choices=(2, 4, 8),
        low=1,
        high=8,
        bounds=_UNITS,
        models=_TRANSFORMER,
        in_default_space=True,
        description="Attention heads of each block.",
    ),
    Hyperparameter(
        name="units_per_head",
        tier=2,
        kind="int",
        default=16,
        choices=(8, 16, 32),
        low=4,
        high=64,
        scale="log",
        bounds=_UNITS,
        models=_TRANSFORMER,
        in_default_space=True,
        description="Units of each attention head; times `heads` it is the width of the network.",
    ),
    Hyperparameter(
        name="hidden_layers",
        tier=3,
        kind="int",
        default=2,
        model_defaults={"recurrent": 1},
        model_choices={"tabular": (1, 2, 3)},
        low=1,
        high=4,
        bounds=replace(_LAYERS, low=0),
        models=_MLP | _RECURRENT | _TRANSFORMER,
        in_default_space=True,
        course="number of layers, L - 1",
        description="Number of hidden layers; a transformer's are blocks, an mlp without any is linear regression.",
    ),
    Hyperparameter(
        name="conv_layers",
        tier=3,
        kind="int",
        default=2,
        low=1,
        high=3,
        bounds=_LAYERS,
        models=_CONVOLUTIONAL,
        in_default_space=True,
        description="Number of convolutions (resnet: stages), each with its pooling while the image can be halved.",
    ),
    Hyperparameter(
        name="kernel_size",
        tier=3,
        kind="int",
        default=3,
        choices=(3, 5),
        low=3,
        high=5,
        step=2,
        bounds=Bounds(low=1, high=1001, reason="no image is larger than a wider kernel"),
        models=_CONVOLUTIONAL,
        description="Width and height of the convolutions' kernels; odd.",
    ),
    Hyperparameter(
        name="activation",
        tier=3,
        kind="categorical",
        default="relu",
        model_defaults={"transformer": "gelu"},
        choices=("relu", "tanh", "gelu"),
        allowed=ACTIVATIONS,
        models=_ACTIVATED,
        description="The nonlinearity of the hidden layers.",
    ),
    Hyperparameter(
        name="norm",
        tier=3,
        kind="categorical",
        default="none",
        model_defaults={"resnet": "batch", "conv1d": "batch"},
        choices=("none", "batch"),
        allowed=("none", "batch", "layer"),
        models=_NORMED,
        description="Normalisation before each activation: `batch` (arXiv 1502.03167) or `layer` (arXiv 1607.06450).",
    ),
    Hyperparameter(
        name="cell",
        tier=3,
        kind="categorical",
        default="gru",
        choices=("gru", "lstm"),
        allowed=("gru", "lstm"),
        models=_RECURRENT,
        in_default_space=True,
        description="Kind of the recurrent layers.",
    ),
    Hyperparameter(
        name="bidirectional",
        tier=3,
        kind="categorical",
        default=False,
        choices=(False, True),
        allowed=(False, True),
        models=_RECURRENT,
        description="Read sequences from both ends.",
    ),
    Hyperparameter(
        name="residual",
        tier=3,
        kind="categorical",
        default=False,
        choices=(False, True),
        allowed=(False, True),
        models=_MLP,
        description="Each hidden layer but the first adds its output to its input (arXiv 1512.03385).",
    ),
)
