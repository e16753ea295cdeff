"""L2 and L1 that differ from layer to layer, or from one name of parameters to the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tuner.errors import DataError
from tuner.models.layers.layer import Parameter, is_weight
from tuner.models.transfer import layers_of, matches, require_matches
from tuner.spec.by_layer import by_layer, by_name
from tuner.train.rows.rows import RowLayout
from tuner.train.settings import Settings

PENALTIES = ("weight_decay", "l1")


def penalties(settings: Settings, penalty: str, shapes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """A penalty of each of a network's weights, by name.

    Args:
        settings: Of the trial.
        penalty: `weight_decay` or `l1`.
        shapes: Of all parameters by name, as the trial's module has them.

    Raises:
        DataError: a list is not as long as the network has layers, or a pattern fits no parameter.
    """
    weights = [name for name, shape in shapes.items() if is_weight(shape)]
    strongest, given = getattr(settings, penalty), settings.by_layer.get(penalty)
    if given is None or not strongest:
        return dict.fromkeys(weights, strongest)
    if patterns := by_name(given):
        require_matches(penalty, patterns, shapes)
        return {
            name: next((value for pattern, value in patterns.items() if matches(name, [pattern])), 0.0)
            for name in weights
        }
    layers, listed = layers_of(shapes), by_layer(given)
    if len(layers) != len(listed):
        names = ", ".join(layer[0] for layer in layers)
        raise DataError(
            f"{penalty}: {given} lists {len(listed)} layers, and the network has {len(layers)} with weights ({names}); "
            "give a number for each, or name them: {" + f"{layers[0][0]}: {listed[0]:g}" + "}"
        )
    return {name: value for layer, value in zip(layers, listed, strict=True) for name in layer if name in weights}


def row_shares(
    settings: Sequence[Settings], layout: RowLayout, names: Mapping[Parameter, str], *, device: torch.device
) -> dict[str, Tensor]:
    """The share of a trial's strongest penalty that each weight has, (K, decayed), of penalties by layer."""
    shapes = {name: parameter.shape for parameter, name in names.items()}
    found = {}
    for penalty in PENALTIES:
        if not any(penalty in s.by_layer for s in settings):
            continue
        rows_KP = torch.ones(len(settings), layout.length)
        for row, trial in enumerate(settings):
            own, strongest = penalties(trial, penalty, shapes), getattr(trial, penalty)
            for parameter, name in names.items():
                if parameter.decayed and strongest:
                    layout.view(rows_KP, parameter)[row] = own[name] / strongest
        found[penalty] = rows_KP[:, : layout.num_decayed].to(device)
    return found


def l1_shares(settings: Settings, module: nn.Module) -> dict[str, float]:
    """The same of L1 for the weights of a plain module, by name."""
    own = penalties(settings, "l1", {name: p.shape for name, p in module.named_parameters()})
    return {name: value / settings.l1 if settings.l1 else 0.0 for name, value in own.items()}
