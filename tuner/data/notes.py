"""What a user should know about the data before believing a result, in one sentence each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuner.data.examples import Examples
from tuner.data.preparation import Preparation, count_missing
from tuner.data.text import quoted, some

_MOSTLY_ONE = 0.8
"""One answer for all examples that is right so often makes an accuracy say little."""
_RARE = 0.05
_RARE_OF_EQUAL = 0.2
"""A class is rare that has less than this share of the examples, and of the share that classes of equal size have."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Examples of one part whose inputs equal those of an example of another."""

    part: str
    other: str
    copies: int
    examples: int
    """Of the part."""


def notes_on_overlaps(overlaps: list[Overlap]) -> list[str]:
    """A sentence for each pair of parts that share inputs."""
    return [
        f"{o.copies:,} of {o.examples:,} {o.part} examples ({o.copies / o.examples:.1%}) have the same inputs as a "
        f"{o.other} example: the {o.part} score may be partly memory"
        for o in overlaps
        if o.copies
    ]


def notes_on_parts(train: Examples, dev: Examples, preparation: Preparation, *, metric: str) -> list[str]:
    """Sentences on classes, filled values, constant columns and unknown categories.

    Args:
        train: The training examples.
        dev: The dev examples.
        preparation: As measured on the training examples.
        metric: Of the objective, as the sweep file has it: which classes are rare matters to an accuracy alone.
    """
    return [
        *(_imbalance(train) if metric in ("auto", "accuracy") else ()),
        *_one_sided_labels(train, dev),
        *_filled(train, dev),
        *_constant(train, preparation),
        *_unknown_categories(train, dev, preparation),
        *_constant_targets(train),
        *(_zero_targets(dev) if metric == "mape" else ()),
    ]


def _imbalance(train: Examples) -> list[str]:
    if train.task != "classification":
        return []
    counts = np.bincount(train.targets, minlength=len(train.class_names))
    most, least = int(counts.argmax()), int(counts.argmin())
    shares = counts / counts.sum()
    if shares[most] >= _MOSTLY_ONE:
        return [
            f"classes are imbalanced: {quoted(train.class_names[most])} has {counts[most]:,} training examples and "
            f"{quoted(train.class_names[least])} {counts[least]:,}; always answering the former is right in "
            f"{shares[most]:.1%} of cases, so accuracy says little; see balanced_accuracy, f1, auroc, and "
            "training.class_weights: balanced"
        ]
    rare = np.flatnonzero(shares < min(_RARE, _RARE_OF_EQUAL / len(counts)))
    if not len(rare):
        return []
    named = some([f"{quoted(train.class_names[i])} {counts[i]:,}" for i in rare[np.argsort(counts[rare])]])
    return [
        f"rare classes, with their training examples of {counts.sum():,}: {named}; accuracy hardly counts them; "
        "balanced_accuracy and f1 count each class alike"
    ]


def _one_sided_labels(train: Examples, dev: Examples) -> list[str]:
    if train.task != "multi_label":
        return []
    return [
        f"labels that are the same in all {part} examples: {some(found)}"
        for part, examples in (("training", train), ("dev", dev))
        if (found := [n for n, y in zip(train.class_names, examples.targets.T, strict=True) if (y == y[0]).all()])
    ]


def _filled(train: Examples, dev: Examples) -> list[str]:
    counts: dict[str, int] = {}
    for examples in (train, dev):
        for name, missing in _missing_by_column(examples).items():
            counts[name] = counts.get(name, 0) + missing
    counts = {name: count for name, count in counts.items() if count}
    if not counts:
        return []
    named = some([f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1])])
    return [
        f"{sum(counts.values()):,} missing values of train and dev: numbers are filled with the training mean, "
        f"categories stay blank, and a column of its own marks them ({named})"
    ]


def _missing_by_column(examples: Examples) -> dict[str, int]:
    found = {c.name: int(n[0]) for c, n in zip(examples.texts, examples.count_codes(), strict=True)}
    if examples.numbers.ndim == 2 and examples.numbers.dtype.kind == "f":
        found |= dict(zip(examples.number_names, count_missing(examples.numbers).tolist(), strict=True))
    return found


def _constant(train: Examples, preparation: Preparation) -> list[str]:
    constant = np.flatnonzero(preparation.constant)
    if not len(constant) or not train.number_names:
        return []
    names = some([train.number_names[i] for i in constant])
    effect = "are set to 0" if preparation.normalise else "teach nothing"
    return [f"columns with one value in all training examples {effect}: {names}"]


def _unknown_categories(train: Examples, dev: Examples, preparation: Preparation) -> list[str]:
    notes = []
    for column, counts, known in zip(dev.texts, dev.count_codes(), preparation.categories, strict=True):
        is_known = np.isin(np.array(column.values, dtype=object), known)
        unknown = int(counts[1:][~is_known].sum())
        if unknown:
            notes.append(
                f"column {column.name}: {unknown:,} of {len(dev):,} dev examples hold a text that no training example "
                "has; it is left blank"
            )
    return notes


def _constant_targets(train: Examples) -> list[str]:
    if train.task != "regression":
        return []
    constant = [n for n, y in zip(train.target_names, train.targets.T, strict=True) if (y == y[0]).all()]
    return [f"the target {name} is the same in all training examples" for name in constant]


def _zero_targets(dev: Examples) -> list[str]:
    if dev.task != "regression" or not (zeros := int((dev.targets == 0).any(axis=1).sum())):
        return []
    return [
        f"{zeros:,} of {len(dev):,} dev examples have a target of 0, of which no error is a share: mape leaves them "
        "out, and counts small targets most; see mae"
    ]
