"""The table of the zoo: which module is fused, which is trained as written, and the reason that is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from tests.zoo import habits, pictures, sequences, tables


@dataclass(frozen=True, slots=True)
class Entry:
    """A module of the zoo."""

    kind: type[nn.Module]
    idiom: str
    """What is special about it, in the words of docs/fused-training.md; some modules share them."""
    reason: str | None = None
    """Why it is trained as written, as it is shown, with … for names; None if it is fused."""
    auxiliary: str | None = None
    """Its attribute that is added to the loss."""
    leaves_as_code: bool = False
    """It cannot be traced for any number of examples, so that an export holds its code."""
    draws: bool = False
    """It draws when it answers: for dev examples that are evaluated beside others, other numbers than alone."""
    drops: bool = False
    """It has `nn.Dropout`, whose masks in a stack are others than in a plain loop."""

    def says(self, told: str) -> bool:
        """Whether that is the reason, or the lack of one, in what is told of how it is trained."""
        if self.reason is None:
            return told == "as a row of a stack, which is proven to compute the same"
        pattern = re.escape(f"one trial at a time: {self.reason}").replace("…", ".+")
        return re.fullmatch(pattern, told) is not None

    @property
    def name(self) -> str:
        return self.kind.__name__

    @property
    def model(self) -> str:
        """As a sweep file names it."""
        file = Path(__file__).with_name(f"{self.kind.__module__.rpartition('.')[2]}.py")
        return f"{file}:{self.name}"


_ATTENTION = "attention of a module's own: matrix products and softmax"
_NORMS = "norms: batch, layer, root mean square, and a batch norm that is kept in evaluation mode"
_BUFFERS = "buffers and frozen weights that change where they lie: teachers, codebooks"
_PRODUCTS = "products, einsum, comparisons and pools of features"
_LAYERS = "layers over steps and over channels, gates, bases of functions, unrolled equations"
_CONVOLUTIONS = "convolutions, on a CPU"
_PARAMETRISED = "`torch.nn.utils.parametrizations`: weight norm, spectral norm"
_COMPLEX = "parameters that hold complex numbers"
_DOUBLE = "parameters in double precision"
_DRAWS = "random numbers drawn in `forward`: Gumbel noise, layers skipped by chance"
_ATTRIBUTES = "attributes that change in `forward`: counters, caches, charges, what a hook keeps"
_VALUES = "numbers taken out of tensors: `.item()`, an `if` on a tensor"
_SEEDED = "plain attributes drawn as the weights are"

_NO_RULE = "torch.func has no rule for …, and would run it for one trial after the other"
_OWN_CLASS = "each module has a class … of its own, at …: torch.nn.utils.parametrize makes one for each"
_SLOW = "stacked convolutions are slower than single ones on a CPU"
_NUMBER = "its forward takes a number out of a tensor (item(), float(), an `if` on a tensor), and trials differ in it"
_OTHERWISE = "as a row of a stack it trains … otherwise than its own code does"
_CHANGES = "its forward changes …, which is no parameter or buffer"
_KEEPS = "modules keep different values in …, which is no parameter or buffer"
_HOLDS = "its parameter … holds {} numbers, and rows hold float32"
_RANDOM = "its forward draws random numbers itself, from …"
_DROPS = "its dropout is on in evaluation"
_RECURRENT = "torch.func has no rule for recurrent layers"
_RECOMPUTES = "it computes a part again for its gradient (torch.utils.checkpoint), which works for one trial at a time"
_GRADIENTS = (
    "its forward takes gradients by torch.autograd, which are those of one trial at a time (torch.func.grad would do)"
)

ZOO = (
    Entry(tables.FeatureTokens, _ATTENTION, leaves_as_code=True),
    Entry(tables.ResidualTable, _NORMS, drops=True),
    Entry(tables.ChoosesFeatures, "norms over a few examples before borders that decide: rounding grows", _OTHERWISE),
    Entry(tables.Factorised, _PRODUCTS),
    Entry(tables.Crossing, _PRODUCTS),
    Entry(
        tables.Experts,
        "a loss of the module's own",
        "training.auxiliary_loss is read from each module",
        auxiliary="imbalance",
    ),
    Entry(tables.Splines, _LAYERS),
    Entry(tables.SoftTrees, _VALUES, _NUMBER),
    Entry(tables.RandomWaves, _SEEDED, _KEEPS),
    Entry(tables.DeepSet, _PRODUCTS),
    Entry(tables.Highway, _LAYERS),
    Entry(sequences.Causal, _CONVOLUTIONS, _SLOW),
    Entry(sequences.Forecasts, _LAYERS),
    Entry(sequences.Patches, "the library's attention, on a CPU; other operations without a rule", _NO_RULE),
    Entry(sequences.PackedSequences, "recurrent layers of the library", _RECURRENT, leaves_as_code=True),
    Entry(sequences.SpatialGates, _LAYERS),
    Entry(sequences.Mixer, _LAYERS),
    Entry(sequences.Rotary, _ATTRIBUTES, _CHANGES),
    Entry(sequences.Flow, _LAYERS),
    Entry(sequences.Spiking, _ATTRIBUTES, _CHANGES),
    Entry(sequences.LongMemory, _LAYERS),
    Entry(pictures.Mobile, _CONVOLUTIONS, _SLOW),
    Entry(pictures.HourGlass, _CONVOLUTIONS, _SLOW),
    Entry(pictures.FourierOperator, _COMPLEX, _HOLDS.format("complex64")),
    Entry(pictures.Capsules, _PRODUCTS),
    Entry(pictures.Twins, "the library's attention, on a CPU; other operations without a rule", _NO_RULE),
    Entry(pictures.SpectrallyNormed, _PARAMETRISED, _OWN_CLASS),
    Entry(pictures.Standardised, _CONVOLUTIONS, _SLOW),
    Entry(pictures.Codebook, _BUFFERS, leaves_as_code=True),
    Entry(habits.Dense, _LAYERS),
    Entry(habits.Adapter, "weights that `train()` and `eval()` change", _OTHERWISE),
    Entry(habits.MeanTeacher, _BUFFERS),
    Entry(habits.Renormalised, _VALUES, _NUMBER),
    Entry(habits.HeldStatistics, _NORMS),
    Entry(
        habits.BoundedWeights,
        "`.data` in `forward`",
        "its forward reaches for the data of a tensor, past what autograd sees",
        leaves_as_code=True,
    ),
    Entry(habits.ChangesItsInputs, "inputs that are changed where they lie"),
    Entry(habits.Anneals, _DRAWS, _RANDOM),
    Entry(
        habits.DrawsWhenItAnswers,
        "`nn.Dropout` that is on in evaluation",
        "its dropout is on in evaluation",
        draws=True,
    ),
    Entry(habits.ReadsItsRate, "the rate of an `nn.Dropout`, read", "it looks at the rate of a dropout layer"),
    Entry(habits.SkipsLayers, _DRAWS, _RANDOM),
    Entry(habits.Tied, _DOUBLE, _HOLDS.format("float64")),
    Entry(habits.Recomputes, "`torch.utils.checkpoint`", _RECOMPUTES),
    Entry(habits.Descends, "gradients taken in `forward`", _GRADIENTS, leaves_as_code=True),
    Entry(habits.RemembersTheLast, _ATTRIBUTES, _CHANGES, leaves_as_code=True),
    Entry(
        habits.HasExtraState,
        "extra state in the state dict",
        "it saves more than parameters and buffers, in …",
    ),
    Entry(habits.DrawnByNumpy, _SEEDED, _KEEPS),
    Entry(habits.Lazy, "lazy layers"),
)

SMOKE = {"Factorised", "Experts", "Codebook", "Spiking", "Adapter", "HasExtraState"}
"""Those that `make test` tries; `make deep` tries all."""
