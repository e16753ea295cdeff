"""Which trials can be trained as one program: those that share a fusion key.

Torch is not imported here, so that the process that plans a sweep can stay light.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from tuner.models.layers.widths import rounded_width
from tuner.records import ParamValue
from tuner.spec.by_layer import hidden_widths, numbers_in
from tuner.spec.defaults import trains_in_parts
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.networks import DESCRIBED
from tuner.spec.model import SweepSpec

PER_TRIAL = frozenset({"epochs", *(h.name for h in HYPERPARAMETERS.values() if h.fused == "own")})
"""Hyperparameters that are vectors over the trials of a cohort: never a reason to split."""
SWITCHED = frozenset(h.name for h in HYPERPARAMETERS.values() if h.fused == "on_or_off")
"""Vectors over the trials as well, but those that have one at zero do without its operations: on or off splits."""


MIXED = frozenset({"mlp", "tabular"})
"""Models of which networks of several sizes may be rows of one shape (`tuner.models.common`)."""
SIZES = frozenset({"hidden_units", "hidden_layers"})
"""What says those sizes."""
_BY_LAYER = ("weight_decay", "l1")


def mixes_layers(spec: SweepSpec, values: Mapping[str, ParamValue]) -> bool:
    """Whether networks with other numbers of hidden layers may be rows of one shape with this one.

    Not so where a layer is spoken of by its name, which tells its place.
    """
    named = trains_in_parts(spec, values) or any(numbers_in(values.get(name)) for name in _BY_LAYER)
    return bool(hidden_widths(values)) and not named and not values.get("weight_noise")


def fusion_key(spec: SweepSpec, values: Mapping[str, ParamValue], *, mixes_sizes: bool = False) -> Hashable:
    """What trials of one cohort must have in common: everything that changes shapes or operations.

    Args:
        spec: The sweep.
        values: All resolved values of the trial (`spec.defaults.settings_for`).
        mixes_sizes: Networks of dense layers that differ in size may be of one cohort.
    """
    shape = {name: value for name, value in values.items() if name not in PER_TRIAL}
    shape |= {name: bool(values[name]) for name in SWITCHED if name in values}
    kind = spec.model.kind_in(values)
    if mixes_sizes and kind in MIXED:
        is_mixed = mixes_layers(spec, values)
        shape["hidden_layers"] = "any" if is_mixed else len(hidden_widths(values))
        shape["hidden_units"] = "any"
    elif kind == "mlp":
        shape["hidden_units"] = str([rounded_width(width) for width in hidden_widths(values)])
    elif kind in DESCRIBED and "hidden_units" in shape:
        shape["hidden_units"] = rounded_width(int(shape["hidden_units"]))
    shape |= {f"{name} by layer": True for name in _BY_LAYER if numbers_in(values.get(name))}
    return tuple(sorted((name, repr(value)) for name, value in shape.items()))
