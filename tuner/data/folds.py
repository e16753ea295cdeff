"""Folds of cross-validation: which of the examples that are not for the test each network trains on, and which it is
scored on.

As in `data.split`, they are a pure function of the examples and the seed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tuner.data.examples import Examples, Indices
from tuner.data.fingerprint import example_hashes, mix, shuffling_keys
from tuner.data.split import by_group, named_otherwise, of_the_target, rarest_labels
from tuner.data.text import quoted
from tuner.errors import DataError
from tuner.spec.model import FoldsSpec

Positions = tuple[Indices, Indices]
"""Of the train and of the dev examples of a fold."""


_NEXT_SEED = 1_000_003
"""Between the seeds of two repeats."""


def repeated_positions(pool: Examples, *, folds: FoldsSpec, seed: int) -> list[Positions]:
    """The folds of each repeat behind those of the one before, whose first is what it would be alone.

    Raises:
        DataError: see `fold_positions`.
    """
    repeats = (
        fold_positions(pool, folds=folds.count, seed=seed + _NEXT_SEED * repeat) for repeat in range(folds.repeats)
    )
    return [positions for repeat in repeats for positions in repeat]


def fold_positions(pool: Examples, *, folds: int, seed: int) -> list[Positions]:
    """Share the examples out to folds.

    Without times every example is a dev example of one fold and a training example of the others, and the folds are
    equal in size within one example (as far as groups allow) and in classes. With times each fold is scored on a part
    of the later half and trains on as many examples before it as the first half has.

    Raises:
        DataError: there are too few examples, groups, times, or examples of a class.
    """
    if len(pool) < 2 * folds:
        raise DataError(f"data.folds: {len(pool)} examples are too few for {folds} folds; use at most {len(pool) // 2}")
    if pool.times is not None:
        found = _rolling(pool.times, folds)
    else:
        fold = _fold_of_each(pool, folds, seed)
        found = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(folds)]
    for number, (train, dev) in enumerate(found, start=1):
        _check_classes(pool, train, dev, number)
    return found


def _fold_of_each(pool: Examples, folds: int, seed: int) -> npt.NDArray[np.int64]:
    if pool.groups is not None:
        if (count := len(np.unique(pool.groups))) < folds:
            raise DataError(f"data.folds: {count} groups cannot be shared out to {folds} folds; use at most {count}")
        return by_group(pool.groups, np.full(folds, 1.0 / folds), seed=seed).astype(np.int64)
    match pool.task:
        case "classification":
            strata = pool.targets
            counts = np.bincount(strata, minlength=len(pool.class_names))
            if counts[rare := int(counts.argmin())] < folds:
                raise DataError(
                    f"data.folds: {folds} folds need {folds} examples of each class that are not for the test; "
                    f"{of_the_target(pool)}{quoted(pool.class_names[rare])} has {counts[rare]}; use fewer folds, or "
                    f"merge classes{named_otherwise(pool)}"
                )
        case "multi_label":
            strata = rarest_labels(pool.targets, folds)
        case _:
            strata = np.zeros(len(pool), dtype=np.int64)
    keys = mix(mix(shuffling_keys(example_hashes(pool), seed=seed)))
    result = np.empty(len(pool), dtype=np.int64)
    result[np.lexsort((keys, strata))] = np.arange(len(pool)) % folds
    return result


def _rolling(times: npt.NDArray[np.float64], folds: int) -> list[Positions]:
    """Origins that roll forward; a moment's examples stay together. `times` ascend."""
    starts = np.flatnonzero(np.append(True, times[1:] != times[:-1]))
    if len(starts) < 2 * folds:
        raise DataError(
            f"data.folds: {len(starts)} distinct times are too few for {folds} folds; use at most {len(starts) // 2}"
        )
    half = len(times) / 2
    cuts: list[int] = []
    for f in range(folds):
        # Far enough from both ends that every fold keeps a moment of its own.
        least = max(1, int(np.searchsorted(starts, cuts[-1], side="right"))) if cuts else 1
        candidates = starts[least : len(starts) - (folds - 1 - f)]
        cuts.append(int(candidates[np.abs(candidates - half * (1 + f / folds)).argmin()]))
    ends = [*cuts[1:], len(times)]
    return [(np.arange(cut - cuts[0], cut), np.arange(cut, end)) for cut, end in zip(cuts, ends, strict=True)]


def _check_classes(pool: Examples, train: Indices, dev: Indices, number: int) -> None:
    if pool.task != "classification":
        return
    unknown = np.setdiff1d(pool.targets[dev], pool.targets[train])
    if len(unknown):
        raise DataError(
            f"data.folds: the class {quoted(pool.class_names[unknown[0]])} occurs among the dev examples of fold "
            f"{number} and never among its training examples; use fewer folds, or leave the class out"
        )
