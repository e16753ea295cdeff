"""What L1 has left of a trial's weights: how many are zero, and which inputs no weight reads."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from tuner.models.layers.layer import is_weight
from tuner.records import DataInfo, Json

_MOST_NAMED = 20


def sparsity(weights: Mapping[str, Tensor], info: DataInfo) -> dict[str, Json]:
    """Facts of the weights that are kept: the share of zeros, and the inputs whose weights are all zero.

    Args:
        weights: By name, in the order of the layers, of shape (units, inputs, ...).
        info: Of the data: the inputs' shape and names.
    """
    matrices = [w for w in weights.values() if is_weight(w.shape) and w.is_floating_point()]
    if not matrices:
        return {}
    found: dict[str, Json] = {
        "zero_weights": sum(int((w == 0).sum()) for w in matrices) / sum(w.numel() for w in matrices)
    }
    first, num_inputs = matrices[0], math.prod(info.input_shape)
    if first.dim() != 2 or first.shape[1] != num_inputs or info.folds:
        return found
    ignored = (first == 0).all(dim=0).nonzero().flatten().tolist()
    names = [_name(index, info) for index in ignored[:_MOST_NAMED]]
    found |= {"num_ignored_inputs": len(ignored), "num_inputs": num_inputs}
    return found | ({"ignored_inputs": names} if names else {})


def _name(index: int, info: DataInfo) -> str:
    if len(info.feature_names) == math.prod(info.input_shape):
        return info.feature_names[index]
    place = [int(i) for i in np.unravel_index(index, info.input_shape)]
    return "/".join(map(str, place[1:] if len(place) == 3 and info.input_shape[0] == 1 else place))
