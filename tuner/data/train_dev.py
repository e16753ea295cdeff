"""The train-dev part: training examples that nothing is trained on, where dev examples may be of another distribution.

Ng's way to take an error apart there: what lies between train and train-dev error is variance, what lies between
train-dev and dev error is the mismatch of the two distributions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuner.data.examples import DEV, TRAIN, Examples, Indices
from tuner.data.folds import Positions
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
    if data.stream or drawn_at_random(train, dev):
        return train, None, None
    found = contrast_of(train, dev, prepare(train, data), by_targets=True)
    apart = dev.parts is not None and bool((dev.parts == DEV).all())
    if data.train_dev == "off" or not (apart or (found is not None and found.material)):
        return train, None, found
    chosen = _held_out(train, num_dev=len(dev), seed=data.seed)
    if len(chosen) < _FEWEST:
        return train, None, found
    return train.take(np.setdiff1d(np.arange(len(train)), chosen)), train.take(chosen), found


def hold_out_of_folds(
    pool: Examples, folds: Sequence[Positions], data: DataSpec
) -> tuple[tuple[Positions, ...], tuple[Indices, ...], Contrast | None]:
    """Hold out a train-dev part of each fold where a classifier tells later examples from earlier ones.

    Folds of examples that are not in the order of time cannot differ but by chance: each example, or group, is a dev
    example once.

    Returns:
        The folds with what is left to train on, what each holds out, and how well the earlier examples, of the first
        fold's training, and the later ones, all folds' dev examples, can be told apart where that was asked.
    """
    if pool.times is None:
        return tuple(folds), (), None
    earlier, later = pool.take(folds[0][0]), pool.take(np.concatenate([dev for _, dev in folds]))
    found = contrast_of(earlier, later, prepare(pool, data), by_targets=True)
    if data.train_dev == "off" or found is None or not found.material:
        return tuple(folds), (), found
    held_out = tuple(own[_held_out(pool.take(own), num_dev=len(later), seed=data.seed)] for own, _ in folds)
    if num_held_out(held_out) < _FEWEST:
        return tuple(folds), (), found
    left = ((np.setdiff1d(own, held), dev) for (own, dev), held in zip(folds, held_out, strict=True))
    return tuple(left), held_out, found


def num_held_out(of_folds: Sequence[Indices]) -> int:
    """Examples that one fold or another holds out."""
    return len(np.unique(np.concatenate(of_folds))) if of_folds else 0


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
