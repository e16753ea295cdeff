"""The optimisers: which hyperparameters each uses, and where its defaults and ranges differ from the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tuner.records import ParamValue


class Own(NamedTuple):
    """What an optimiser has of its own for a hyperparameter; nothing where it merely uses it."""

    default: ParamValue | None = None
    range: tuple[float, float] | None = None


_NADAM = {"learning_rate": Own(1e-3, (1e-5, 1e-1)), "beta1": Own(), "beta2": Own(), "epsilon": Own()}
_ADAM = _NADAM | {"bias_correction": Own()}

OPTIMIZERS: Mapping[str, Mapping[str, Own]] = {
    "sgd": {"momentum": Own(0.9), "nesterov": Own(), "dampening": Own(), "bias_correction": Own()},
    "rmsprop": {
        "learning_rate": Own(1e-3, (1e-5, 1e-1)),
        "momentum": Own(),
        "dampening": Own(),
        "beta2": Own(0.99),
        "epsilon": Own(),
    },
    "adam": _ADAM,
    "adamw": _ADAM,
    "amsgrad": _ADAM,
    "nadam": _NADAM,
    "lion": {"learning_rate": Own(1e-4, (1e-6, 1e-2)), "beta1": Own(), "beta2": Own(0.99)},
}
"""By the names that a sweep file uses; what all of them use, such as weight decay, is left out. What they do to the
parameters is said in `tuner.train.rows.optimizers`."""
