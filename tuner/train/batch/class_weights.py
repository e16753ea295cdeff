"""How much an example of each class counts in the training loss."""

from __future__ import annotations

import difflib

import numpy as np
import torch

from tuner.data.dataset import TrainingData
from tuner.errors import DataError
from tuner.spec.model import TrainingSpec


def resolve_class_weights(training: TrainingSpec, data: TrainingData) -> tuple[float, ...]:
    """A weight for each class, scaled so that the mean over the training examples is 1; empty if none are asked for.

    With mean 1 a learning rate means about the same with and without weights. Balanced weights make the sum of the
    weights of every class's examples equal.

    Raises:
        DataError: the data have no classes, or not those that are named.
    """
    wanted = training.class_weights
    if wanted is None:
        return ()
    info = data.info
    if info.task != "classification":
        raise DataError(
            f"training.class_weights is for classification, and these data are for {info.task.replace('_', '-')}: "
            "remove it"
        )
    counts = torch.bincount(data.train.targets.cpu(), minlength=info.num_outputs).double().numpy()
    if wanted == "balanced":
        weights = 1.0 / np.maximum(counts, 1)
    else:
        unknown = next((name for name in wanted if name not in info.class_names), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, info.class_names, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(info.class_names[:10])}"
            raise DataError(f'training.class_weights: the data have no class "{unknown}"; {hint}')
        weights = np.array([float(wanted.get(name, 1.0)) for name in info.class_names])
    weights = weights * counts.sum() / (weights @ counts)
    return tuple(float(weight) for weight in weights)
