"""Whether a classifier can tell the training from the dev examples: then they come from different distributions.

Two are tried, a linear one and extremely randomised trees, and cross-validated by whole groups or by stretches of
time, so that they are asked about examples of a kind that they have not seen. The better one's AUROC has the interval
of DeLong (1988), over groups that of Obuchowski (1997), widened for the choice among two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.examples import DEV, Examples, Indices
from tuner.data.preparation import Preparation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sklearn.ensemble import ExtraTreesClassifier

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

_MATERIAL = 0.55
"""An AUROC whose interval begins above this is worth a warning."""
EXAMPLES = 1000
"""Of each part, at most; more would take longer and tell little more."""
_FEATURES = 128
_FOLDS = 5
_TREES = 40
_STRETCHES = 20
"""Of time, in each part."""
_FEWEST = 2 * _FOLDS
"""Examples, or groups, of each part: with fewer nothing can be told."""
_QUANTILE = 2.2414
"""Normal quantile of 1 - 0.05 / 4: a 95 % interval for the better of two."""
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What the classifier sees of the training or of the dev examples."""

    inputs: npt.NDArray[Any]
    """As networks get them, shape (examples, ...)."""
    targets: npt.NDArray[Any]
    """Shape (examples,) or (examples, outputs)."""
    groups: Groups | None = None
    """Examples with the same number are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """How well train and dev examples can be told apart."""

    auroc: float
    """Cross-validated: 0.5 by guessing, 1 without a mistake."""
    low: float
    high: float
    """Its 95 % interval."""
    telling: tuple[int, ...]
    """The features that the classifier uses most, the most telling first; targets follow the flattened inputs."""
    names: tuple[str, ...] = ()
    """Of these, where they have names."""

    @property
    def material(self) -> bool:
        return self.low > _MATERIAL


def contrast_of(one: Examples, other: Examples, preparation: Preparation, *, by_targets: bool) -> Contrast | None:
    """Ask of two sets of examples, as read, whether they can be told apart; None where there are too few.

    Args:
        one: The first.
        other: The second.
        preparation: What makes inputs of them.
        by_targets: Whether the targets may tell them apart, too.
    """
    found = contrast(*(_part_of(examples, preparation, by_targets=by_targets) for examples in (one, other)))
    if found is None or one.numbers.ndim > 2:
        return found
    of_targets = one.target_names if one.task == "regression" else ("the class",)
    names = (*preparation.feature_names(one), *(of_targets if by_targets else ()))
    known = names if one.number_names or one.texts else ()
    return replace(found, names=tuple(known[i] for i in found.telling if i < len(known)))


def _part_of(examples: Examples, preparation: Preparation, *, by_targets: bool) -> Part:
    """What the classifier sees of examples: of more than it learns from as many, spread over their order."""
    if len(examples) > EXAMPLES:
        examples = examples.take(np.linspace(0, len(examples) - 1, EXAMPLES).astype(np.intp))
    if not by_targets:
        examples = replace(examples, targets=np.zeros_like(examples.targets))
    prepared = preparation.apply(examples)
    times = None if examples.times is None else _stretches(examples.times)
    return Part(
        inputs=prepared.inputs.numpy(),
        targets=prepared.targets.numpy(),
        groups=times if examples.groups is None else examples.groups,
    )


def drawn_at_random(train: Examples, dev: Examples) -> bool:
    """Whether both parts were drawn example by example from one set, so that they cannot differ but by chance."""
    return not given_apart(dev) and train.groups is None and train.times is None


def given_apart(dev: Examples) -> bool:
    """Whether dev examples are none of those that were split."""
    return dev.parts is not None and bool((dev.parts == DEV).all())


def _stretches(times: Array) -> Groups:
    """A number for each example by its place in time: so many stretches of about equally many examples."""
    place = np.argsort(np.argsort(times, kind="stable"), kind="stable")
    return (place * _STRETCHES // max(1, len(times))).astype(np.int64)


def contrast(train: Part, dev: Part) -> Contrast | None:
    """Learn to tell the parts apart; None where there are too few examples or groups to learn from.

    The time that this takes does not grow with the number of examples or features.
    """
    rng = np.random.default_rng(_SEED)
    chosen = [_sampled(len(part.targets), rng) for part in (train, dev)]
    groups = [_numbered(part, rows) for part, rows in zip((train, dev), chosen, strict=True)]
    if min(len(np.unique(g)) for g in groups) < _FEWEST:
        return None
    x = np.concatenate([_features(part, rows) for part, rows in zip((train, dev), chosen, strict=True)])
    columns = np.sort(rng.permutation(x.shape[1])[:_FEATURES])
    x = x[:, columns]
    is_dev = np.repeat([0, 1], [len(rows) for rows in chosen])
    of_group = np.concatenate([groups[0], groups[1] + groups[0].max() + 1])
    found = [
        (*_auroc(scores[is_dev == 1], scores[is_dev == 0], groups[1], groups[0]), used)
        for scores, used in _unseen_scores(x, is_dev, of_group)
    ]
    auroc, error, used = max(found, key=lambda f: f[0] - _QUANTILE * f[1])
    half = _QUANTILE * error
    return Contrast(
        auroc=auroc,
        low=max(0.0, auroc - half),
        high=min(1.0, auroc + half),
        telling=tuple(columns[np.argsort(-used, kind="stable")[:3]].tolist()),
    )


def _unseen_scores(x: npt.NDArray[np.float32], is_dev: Groups, groups: Groups) -> Iterator[tuple[Array, Array]]:
    """Of each classifier: scores of the examples that it did not learn from, and the use that it makes of a feature."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(x)
    folds = list(StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=_SEED).split(x, is_dev, groups))
    for model in (
        LogisticRegression(C=0.05, max_iter=1000),
        ExtraTreesClassifier(_TREES, min_samples_leaf=10, max_features=0.3, random_state=_SEED, n_jobs=1),
    ):
        scores, used = np.empty(len(x)), np.zeros(x.shape[1])
        for seen, unseen in folds:
            model.fit(x[seen], is_dev[seen])
            scores[unseen] = model.predict_proba(x[unseen])[:, 1]
            used += abs(model.coef_[0]) if isinstance(model, LogisticRegression) else _importances(model)
        yield scores, used


def _importances(model: ExtraTreesClassifier) -> Array:
    with np.errstate(invalid="ignore"):  # 0 / 0, where no split of any tree gains anything
        found: Array = model.feature_importances_
    return np.nan_to_num(found)


def note_on_contrast(found: Contrast, *, num_train_dev: int) -> str:
    """A sentence for the data's notes.

    Args:
        found: A material contrast of dev and train.
        num_train_dev: Training examples that are held out to tell how much of the dev error comes of it; or 0.
    """
    then = (
        f"{num_train_dev:,} training examples are held out to tell how much of the dev error comes of that"
        if num_train_dev
        else "so part of the dev error is neither bias nor variance"
    )
    return f"{_told(found, 'dev', 'train')}: they come from different distributions, {then}"


def note_on_test_inputs(found: Contrast, *, other: str) -> str:
    """A sentence on a material contrast of the test examples' inputs and those of another part."""
    return (
        f"{_told(found, 'test', other)} by their inputs alone: the test set stands for another distribution, "
        f"so that what is chosen on dev may do otherwise on it"
    )


def _told(found: Contrast, one: str, other: str) -> str:
    by = f", most by {', '.join(found.names)}" if found.names else ""
    return (
        f"a classifier tells {one} from {other} examples with AUROC {found.auroc:.2f} (95 % interval {found.low:.2f} "
        f"to {found.high:.2f}){by}"
    )


def _sampled(count: int, rng: np.random.Generator) -> Indices:
    return np.arange(count) if count <= EXAMPLES else np.sort(rng.choice(count, EXAMPLES, replace=False))


def _numbered(part: Part, rows: Indices) -> Groups:
    """Groups from 0 without gaps; each example is one where none are given."""
    if part.groups is None:
        return np.arange(len(rows))
    return np.unique(part.groups[rows], return_inverse=True)[1].reshape(-1).astype(np.int64)


def _features(part: Part, rows: Indices) -> npt.NDArray[np.float32]:
    inputs, targets = part.inputs[rows].reshape(len(rows), -1), part.targets[rows].reshape(len(rows), -1)
    return np.concatenate([inputs, targets], axis=1).astype(np.float32)


def _auroc(positive: Array, negative: Array, positive_groups: Groups, negative_groups: Groups) -> tuple[float, float]:
    """Share of (positive, negative) pairs in the right order, and its standard error over groups."""
    below = np.searchsorted(np.sort(negative), positive, "left") + np.searchsorted(np.sort(negative), positive, "right")
    above = np.searchsorted(np.sort(positive), negative, "left") + np.searchsorted(np.sort(positive), negative, "right")
    of_positive = below / (2 * len(negative))
    of_negative = 1 - above / (2 * len(positive))
    auroc = float(of_positive.mean())
    variance = sum(
        _mean_variance(placements - auroc, groups)
        for placements, groups in ((of_positive, positive_groups), (of_negative, negative_groups))
    )
    return auroc, float(np.sqrt(variance))


def _mean_variance(deviations: Array, groups: Groups) -> float:
    """Of the mean of values that are alike within a group."""
    sums = np.bincount(groups, weights=deviations)
    count = len(sums)
    return float((sums**2).sum() * count / (count - 1)) / len(deviations) ** 2
