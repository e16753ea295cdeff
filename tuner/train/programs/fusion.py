"""Which trials can be trained as one program: those that share a fusion key.

Torch is not imported here, so that the process that plans a sweep can stay light.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from tuner.models.layers import rounded_width
from tuner.records import ParamValue
from tuner.spec.known.networks import DESCRIBED
from tuner.spec.model import SweepSpec

PER_TRIAL = frozenset(
    {
        "learning_rate", "momentum", "beta1", "beta2", "weight_decay", "l1", "dropout", "schedule", "lr_decay",
        "warmup_epochs", "clip_norm", "init", "epochs", "max_norm", "dropout_last",
        "body_learning_rate_factor", "ema_decay",
        "swa_start",
    }
)  # fmt: skip
"""Hyperparameters that are vectors over the trials of a cohort: never a reason to split."""
SWITCHED = frozenset({"augment", "mixup", "label_smoothing", "input_dropout"})
"""Vectors over the trials as well, but those that have one at zero do without its operations: on or off splits."""


def fusion_key(spec: SweepSpec, values: Mapping[str, ParamValue]) -> Hashable:
    """What trials of one cohort must have in common: everything that changes shapes or operations.

    Args:
        spec: The sweep.
        values: All resolved values of the trial (`spec.defaults.settings_for`).
    """
    shape = {name: value for name, value in values.items() if name not in PER_TRIAL}
    shape |= {name: bool(values[name]) for name in SWITCHED if name in values}
    if spec.model.kind in DESCRIBED and "hidden_units" in shape:
        shape["hidden_units"] = rounded_width(int(shape["hidden_units"]))
    return tuple(sorted((name, repr(value)) for name, value in shape.items()))
