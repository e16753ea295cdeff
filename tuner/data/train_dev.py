"""The train-dev part: training examples that nothing is trained on, where dev examples may be of another distribution.

Ng's way to take an error apart there: what lies between train and train-dev error is variance, what lies between
train-dev and dev error is the mismatch of the two distributions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tuner.data.examples import DEV, TRAIN, Examples, Indices
from tuner.data.preparation import prepare
from tuner.data.shift import Contrast, contrast_of, drawn_at_random
from tuner.data.split import by_group
from tuner.spec.model import DataSpec

_SHARE = 0.1
"""Of the training examples, at most."""
_FEWEST = 50
"""Fewer tell nothing, and are better trained on."""
_FEWEST_GROUPS = 20


def hold_out(train: Examples, dev: Examples, data: DataSpec) -> tuple[Examples, Examples | None, Contrast | None]:
    """Hold out a train-dev part where dev examples are given apart, or a classifier tells them from training examples.

    Which examples it holds is a pure function of the parts.

    Returns:
        The examples to train on, those that are held out, and how well train and dev can be told apart where that was
        asked.
    """
    if data.folds is not None or data.stream or drawn_at_random(train, dev):
        return train, None, None
    found = contrast_of(train, dev, prepare(train, data), by_targets=True)
    apart = dev.parts is not None and bool((dev.parts == DEV).all())
    if data.train_dev == "off" or not (apart or (found is not None and found.material)):
        return train, None, found
    chosen = _held_out(train, num_dev=len(dev), seed=data.seed)
    if len(chosen) < _FEWEST:
        return train, None, found
    return train.take(np.setdiff1d(np.arange(len(train)), chosen)), train.take(chosen), found


def _held_out(train: Examples, *, num_dev: int, seed: int) -> Indices:
    """Positions of a tenth of the training examples, spread over their order; of whole groups where there are any."""
    share = min(_SHARE, num_dev / len(train))
    if train.groups is not None:
        if len(np.unique(train.groups)) < _FEWEST_GROUPS:
            return np.empty(0, dtype=np.intp)
        found = np.flatnonzero(by_group(train.groups, np.array([1 - share, share, 0.0]), seed=seed) != TRAIN)
    else:
        in_order = np.arange(len(train))
        if train.task == "classification":
            in_order = np.lexsort((in_order, train.targets))
        num = int(share * len(train))
        found = in_order[((np.arange(num) + 0.5) * len(train) / max(1, num)).astype(np.intp)]
    return np.sort(found[~_last_of_class(train, found)])


def _last_of_class(train: Examples, held_out: Indices) -> npt.NDArray[np.bool_]:
    """Which of these are of a class that no other training example has."""
    if train.task != "classification":
        return np.zeros(len(held_out), dtype=np.bool_)
    left = np.bincount(train.targets) - np.bincount(train.targets[held_out], minlength=int(train.targets.max()) + 1)
    is_last: npt.NDArray[np.bool_] = (left == 0)[train.targets[held_out]]
    return is_last
