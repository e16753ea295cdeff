"""Which example goes to which part: stratified by class, by whole groups, or in the order of time.

A split is a pure function of the examples and the seed: the rows of a file may be given in any order, and a row
that is added moves few others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.examples import DEV, PART_NAMES, TEST, TRAIN, Examples, Indices
from tuner.data.fingerprint import Hashes, example_hashes, mix, shuffling_keys
from tuner.data.text import quoted
from tuner.errors import DataError
from tuner.spec.model import DataSpec, SplitSpec

SMALL, _LARGE = 10_000, 1_000_000
_SHARE_OF_SMALL, _SHARE_OF_LARGE = 0.2, 0.01

Shares = npt.NDArray[np.float64]
Parts = npt.NDArray[np.int8]


def auto_share(num_examples: int) -> float:
    """Share of the examples for dev, and as much again for test, as Ng teaches by the size of the set.

    0.2 up to 10,000 examples and 0.01 from a million on; between them the share falls as a power of the size, so
    that the number of dev examples still rises: 2,000 of 10,000, 4,472 of 100,000, 10,000 of a million.
    """
    exponent = np.log(_SHARE_OF_LARGE / _SHARE_OF_SMALL) / np.log(_LARGE / SMALL)
    between = _SHARE_OF_SMALL * (max(num_examples, 1) / SMALL) ** exponent
    return float(np.clip(between, _SHARE_OF_LARGE, _SHARE_OF_SMALL))


def split_examples(examples: Examples, data: DataSpec) -> tuple[Indices, Indices, Indices]:
    """Positions of the train, dev and test examples, each in its final order (of time, or random).

    Raises:
        DataError: a part would be left without examples, or train without examples of a class; or parts that are
            given apart share a group or overlap in time.
    """
    if data.group is not None and data.order is not None:
        raise DataError("data.group and data.order cannot be combined; split by one of them")
    keys = shuffling_keys(example_hashes(examples), seed=data.seed)
    parts = _parts(examples, data, keys)
    # Mixed once more, since a class's examples with low keys are all in the test part.
    keys = mix(keys)
    in_order = np.argsort(keys, kind="stable") if examples.times is None else np.lexsort((keys, examples.times))
    positions = [in_order[parts[in_order] == part] for part in (TRAIN, DEV, TEST)]
    _check(examples, positions)
    return positions[0], positions[1], positions[2]


def _parts(examples: Examples, data: DataSpec, keys: Hashes) -> Parts:
    """TRAIN, DEV or TEST for each example."""
    given = examples.parts if examples.parts is not None else np.zeros(len(examples), dtype=np.int8)
    apart = {int(part) for part in np.unique(given)} - {TRAIN}
    if DEV in apart:
        return given
    of_source = np.flatnonzero(given == TRAIN)
    shares = _shares(data.split, len(of_source), test_apart=TEST in apart)
    result = given.copy()
    result[of_source] = _assign(examples.take(of_source), shares, keys[of_source], seed=data.seed)
    return result


def _shares(split: str | SplitSpec, num_examples: int, *, test_apart: bool) -> Shares:
    """Shares of train, dev and test in the source; test is 0 where it is given apart."""
    if isinstance(split, SplitSpec):
        total = split.train + split.dev + split.test
        if abs(total - 1.0) > 1e-6:
            raise DataError(f"data.split: train, dev and test must sum to 1, got {total:g}")
        kept = split.train + split.dev + (0.0 if test_apart else split.test)
        return np.array([split.train, split.dev, 0.0 if test_apart else split.test]) / kept
    small = auto_share(num_examples)
    return np.array([1.0 - small, small, 0.0] if test_apart else [1.0 - 2.0 * small, small, small])


def _assign(examples: Examples, shares: Shares, keys: Hashes, *, seed: int) -> Parts:
    num_parts = int(np.count_nonzero(shares))
    if len(examples) < num_parts:
        raise DataError(f"too few examples ({len(examples)}) to split into {_named(num_parts)}; give more data")
    if examples.groups is not None:
        return by_group(examples.groups, shares, seed=seed)
    if examples.times is not None:
        return _by_time(examples.times, shares)
    if examples.task == "classification":
        _check_class_sizes(examples, num_parts)
        return _stratified(examples.targets, shares, keys)
    if examples.task == "multi_label":
        return _stratified(rarest_labels(examples.targets, num_parts), shares, keys)
    return _stratified(np.zeros(len(examples), dtype=np.int64), shares, keys)


def rarest_labels(targets: npt.NDArray[Any], num_parts: int) -> npt.NDArray[np.int64]:
    """For each example its rarest label, counted from 1; 0 for those without one, and of labels too rare to share out.

    Split by these, each part has its share of the rare labels, which chance might leave out of one.
    """
    rarest = np.zeros(len(targets), dtype=np.int64)
    for label in np.argsort(-targets.sum(axis=0), kind="stable"):
        rarest[targets[:, label] == 1] = label + 1
    counts = np.bincount(rarest)
    rarest[counts[rarest] < num_parts] = 0
    if np.count_nonzero(rarest == 0) < num_parts:
        rarest[rarest == 0] = int(np.bincount(rarest[rarest > 0]).argmax()) if (rarest > 0).any() else 0
    return rarest


def _named(num_parts: int) -> str:
    return "train, dev and test" if num_parts == 3 else "train and dev"


def _check_class_sizes(examples: Examples, num_parts: int) -> None:
    counts = np.bincount(examples.targets, minlength=len(examples.class_names))
    tiny = [(name, int(n)) for name, n in zip(examples.class_names, counts, strict=True) if 0 < n < num_parts]
    if not tiny:
        return
    some = ", ".join(f"{quoted(name)} has {n}" for name, n in tiny[:3]) + (
        f" and {len(tiny) - 3} more have too few" if len(tiny) > 3 else ""
    )
    raise DataError(
        f"a split into {_named(num_parts)} needs at least {num_parts} examples of each class; "
        f"{of_the_target(examples)}{some}; merge or remove these classes, or set task: regression if the target is an "
        f"amount{named_otherwise(examples)}"
    )


def of_the_target(examples: Examples) -> str:
    """Before what is said of classes: whose they are, and why that column is the target; empty without a name."""
    if len(examples.target_names) != 1:
        return ""
    default = ", the last column, since data.target names none" if examples.takes_last else ""
    return f"of the target {quoted(examples.target_names[0])}{default}: "


def named_otherwise(examples: Examples) -> str:
    """What helps where another column is meant."""
    return ", or name the column that is meant as data.target" if examples.takes_last else ""


def _stratified(classes: npt.NDArray[np.int64], shares: Shares, keys: Hashes) -> Parts:
    """The first examples of each class, in random order, are for test, the next for dev, the rest for training."""
    allocation = apportion(np.bincount(classes), shares)
    order = np.lexsort((keys, classes))
    pattern = [np.repeat(np.array([TEST, DEV, TRAIN], dtype=np.int8), row[[TEST, DEV, TRAIN]]) for row in allocation]
    result = np.empty(len(classes), dtype=np.int8)
    result[order] = np.concatenate(pattern)
    return result


def apportion(counts: npt.NDArray[Any], shares: Shares) -> npt.NDArray[np.int64]:
    """Whole numbers of examples for each class and part, that sum to `counts`.

    Each differs by less than one from its exact share, and what is owed by rounding is carried from class to class,
    so that the parts as a whole keep to their shares too. Beyond that, every class that occurs gets at least one
    example in each part whose share is not zero, at the cost of its largest part.

    Args:
        counts: Examples of each class, shape (classes,); each 0 or at least the number of parts.
        shares: Of each part, sum 1, shape (parts,).
    """
    exact = np.round(np.outer(counts, shares), 9)
    result = np.floor(exact).astype(np.int64)
    owed = np.zeros(len(shares))
    for allotted, wanted, count in zip(result, exact, counts, strict=True):
        fraction = wanted - allotted
        owed += fraction
        left = int(count - allotted.sum())
        chosen = np.argsort(np.where(fraction > 0, -owed, np.inf), kind="stable")[:left]
        allotted[chosen] += 1
        owed[chosen] -= 1.0
        for part in np.flatnonzero((allotted == 0) & (shares > 0)) if count else ():
            allotted[[part, allotted.argmax()]] += 1, -1
    return result


def by_group(groups: npt.NDArray[np.int64], shares: Shares, *, seed: int) -> Parts:
    """Groups in random order, each to the part that lacks most examples; no part is left without a group."""
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    wanted = np.flatnonzero(shares)
    if len(names) < len(wanted):
        raise DataError(f"data.group: {len(names)} groups cannot be split into {_named(len(wanted))}; give more groups")
    of_seed = mix(np.asarray([seed & (2**64 - 1)], dtype=np.uint64))
    order = np.argsort(mix(names.view(np.uint64) ^ of_seed), kind="stable")
    lacking = shares * len(groups)
    empty = set(wanted.tolist())
    part_of_group = np.empty(len(names), dtype=np.int8)
    for done, group in enumerate(order):
        choice = np.array(sorted(empty)) if len(empty) == len(order) - done else wanted
        part = int(choice[lacking[choice].argmax()])
        part_of_group[group] = part
        lacking[part] -= sizes[group]
        empty.discard(part)
    return part_of_group[codes.reshape(-1)]


def _by_time(times: npt.NDArray[np.float64], shares: Shares) -> Parts:
    """The earliest for training, the next for dev, the latest for test; equal times stay together."""
    moments, counts = np.unique(times, return_counts=True)
    num_parts = int(np.count_nonzero(shares))
    if len(moments) < num_parts:
        raise DataError(
            f"data.order: {len(moments)} distinct times cannot be split into {_named(num_parts)}; "
            "name a column that tells the examples apart in time"
        )
    before = np.cumsum(counts)  # examples up to and including each moment
    first_dev = _nearest_cut(before, shares[TRAIN] * len(times), least=1, most=len(moments) - num_parts + 1)
    result = np.where(times < moments[first_dev], TRAIN, DEV).astype(np.int8)
    if num_parts == 3:
        until_dev = (shares[TRAIN] + shares[DEV]) * len(times)
        first_test = _nearest_cut(before, until_dev, least=first_dev + 1, most=len(moments) - 1)
        result[times >= moments[first_test]] = TEST
    return result


def _nearest_cut(before: npt.NDArray[np.int64], wanted: float, *, least: int, most: int) -> int:
    """The moment, between `least` and `most`, before which the number of examples is nearest to `wanted`."""
    candidates = before[least - 1 : most]
    return least + int(np.abs(candidates - wanted).argmin())


def _check(examples: Examples, positions: list[Indices]) -> None:
    train = positions[TRAIN]
    if examples.task == "classification":
        known = np.unique(examples.targets[train])
        for part in (DEV, TEST):
            unknown = np.setdiff1d(examples.targets[positions[part]], known)
            if len(unknown):
                name = quoted(examples.class_names[unknown[0]])
                raise DataError(
                    f"the class {name} occurs in {PART_NAMES[part]} and never in train, "
                    "so no network can learn it; add training examples of it, or leave the class out"
                )
    if examples.groups is not None:
        for a, b in ((TRAIN, DEV), (TRAIN, TEST), (DEV, TEST)):
            if len(np.intersect1d(examples.groups[positions[a]], examples.groups[positions[b]])):
                raise DataError(
                    f"data.group: {PART_NAMES[a]} and {PART_NAMES[b]} are given apart and share a group; "
                    "move its examples to one of them"
                )
    if examples.times is not None:
        for a, b in ((TRAIN, DEV), (DEV, TEST)):
            earlier, later = examples.times[positions[a]], examples.times[positions[b]]
            if len(earlier) and len(later) and earlier.max() > later.min():
                raise DataError(f"data.order: {PART_NAMES[a]} is given apart and ends after {PART_NAMES[b]} begins")
