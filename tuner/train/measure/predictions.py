"""Outputs of a network as a reader wants them."""

from __future__ import annotations

from torch import Tensor

from tuner.records import TaskKind


def predictions_of(outputs: Tensor, *, task: TaskKind, mean: Tensor, std: Tensor) -> Tensor:
    """Probabilities of the classes or labels, or targets in their own units.

    Args:
        outputs: (..., outputs).
        task: What is learnt.
        mean: Of each regression target over the training examples.
        std: Likewise.
    """
    match task:
        case "classification":
            return outputs.softmax(dim=-1)
        case "multi_label":
            return outputs.sigmoid()
        case _:
            return outputs * std + mean
