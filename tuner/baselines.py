"""Simple models for the same prepared examples as networks get, by scikit-learn: what a network has to beat.

Arrays: n examples, F features (inputs of any shape, flattened), C classes, labels or targets.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.records import Json, TaskKind
from tuner.spec.known.baselines import BASELINES, OF_ANY_INPUTS, BaselineName

_Array = NDArray[Any]
_Predict = Callable[[_Array], _Array]

_MOST_NUMBERS = 20_000_000
"""A model is fitted to so many numbers at most, each counted as often as it is gone through: seconds of one core."""
_FOREST_NUMBERS = 1_000_000
"""The same of a forest, which takes longer for each."""
_FOREST_NODES = 300_000
"""Numbers in the leaves of one tree of a forest, at most: it has a hundred."""
_HISTOGRAM_BYTES = 2**27
"""Of a tree of boosting, at most: each of its leaves holds as many numbers as all features have bins."""
_BIN_BYTES, _MOST_LEAVES = 20, 31
_BOOSTED_BYTES = 2**27
"""Of the examples that boosting is fitted to, at most, in all the forms in which it has them at once."""
_NUMBER_BYTES = 4 + 8 + 8 + 1
"""Each number as it is prepared, in float64, so again without the examples that it stops by, and as a bin."""
_FEWEST_BINS, _MOST_BINS = 15, 255
_ITERATIONS = 300
"""Of logistic regression, at most."""
_LEAST_PROBABILITY = 1e-7
_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What is to be learnt."""

    task: TaskKind
    num_features: int
    """Of an example, flattened."""
    num_outputs: int
    """Classes, labels or targets."""
    is_table: bool = True
    """Whether an example is a row of features, not an image or a sequence."""

    @classmethod
    def of(cls, data: Mapping[str, Json]) -> Kind:
        """Of data with these facts, the fields of `DataInfo`."""
        shape = data["input_shape"]
        return cls(
            task=data["task"], num_features=math.prod(shape), num_outputs=data["num_outputs"], is_table=len(shape) == 1
        )


def suited(kind: Kind, *, num_train: int, folds: int = 1) -> tuple[BaselineName, ...]:
    """The baselines that suit the data: trees for tables alone, and a forest where it is cheap."""
    if not kind.is_table:
        return OF_ANY_INPUTS
    return tuple(name for name in BASELINES if name != "forest" or most_rows(name, kind, folds=folds) >= num_train)


def most_rows(name: BaselineName, kind: Kind, *, folds: int = 1) -> int:
    """To how many examples a baseline is fitted at most, so that it takes seconds and little memory."""
    each = kind.num_features * (kind.num_outputs if kind.task == "multi_label" else 1)
    if name == "guess":
        return 2**53
    if name == "forest":
        tried = kind.num_features if kind.task == "regression" else math.sqrt(kind.num_features)
        return max(100, int(min(_FOREST_NUMBERS / tried / folds, _FOREST_NODES / (8 + kind.num_outputs))))
    if name == "boosting" and (kind.task == "regression" or kind.num_outputs > 2):
        each = kind.num_features * kind.num_outputs
    most = _MOST_NUMBERS // each // folds
    if name == "boosting":
        most = min(most, _BOOSTED_BYTES // (_NUMBER_BYTES * kind.num_features))
    return max(100, most)


def chosen_rows(count: int, most: int) -> NDArray[np.intp]:
    """Positions of so many of the examples at most, the same ones each time, in their order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(_SEED).permutation(count)[:most])


def fit(name: BaselineName, inputs: _Array, targets: _Array, kind: Kind) -> _Predict:
    """Fit a baseline; the same examples always give the same model.

    Args:
        name: Which.
        inputs: Shape (n, ...).
        targets: Classes (n,), labels of 0 and 1 (n, C), or standardised numbers (n, C).
        kind: What they are.

    Returns:
        A function from inputs to probabilities, or to numbers like the targets, shape (n, C).
    """
    x = inputs.reshape(len(inputs), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a fit has not converged to the last digit
        if name == "guess":
            predict = _constant(targets, kind)
        elif kind.task == "classification":
            predict = _of_classes(_classifier(name, x), x, targets, kind.num_outputs)
        elif kind.task == "multi_label":
            predict = _joined([_of_label(_classifier(name, x), x, column) for column in targets.T])
        elif name == "boosting":  # it has one output
            predict = _joined([_regressor(name, x).fit(x, column).predict for column in targets.T])
        else:
            predict = _regressor(name, x).fit(x, targets).predict

    def predicted(inputs: _Array) -> _Array:
        found = np.asarray(predict(inputs.reshape(len(inputs), -1)), dtype=np.float64).reshape(len(inputs), -1)
        return found if kind.task == "regression" else found.clip(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)

    return predicted


def _constant(targets: _Array, kind: Kind) -> _Predict:
    """One answer for all: how frequent the classes or labels are, or the mean."""
    if kind.task == "classification":
        answer = np.bincount(targets, minlength=kind.num_outputs) / len(targets)
    else:
        answer = targets.mean(axis=0, dtype=np.float64)
    return lambda x: np.tile(answer, (len(x), 1))


def _of_classes(model: Any, x: _Array, targets: _Array, num_classes: int) -> _Predict:
    """Probabilities of all classes, those too that no example here has."""
    present = np.unique(targets)
    if len(present) > 1:
        model.fit(x, targets)

    def predict(x: _Array) -> _Array:
        found = np.zeros((len(x), num_classes))
        found[:, present] = model.predict_proba(x) if len(present) > 1 else 1.0
        return found

    return predict


def _of_label(model: Any, x: _Array, has: _Array) -> _Predict:
    """The probability of one label."""
    both = _of_classes(model, x, has.astype(np.int64), 2)
    return lambda x: both(x)[:, 1]


def _joined(each: Sequence[_Predict]) -> _Predict:
    """Models of one output each as one of all."""
    return lambda x: np.stack([predict(x) for predict in each], axis=1)


def _classifier(name: BaselineName, x: _Array) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    if name == "linear":
        return LogisticRegression(max_iter=_ITERATIONS)
    if name == "boosting":
        return HistGradientBoostingClassifier(random_state=_SEED, max_bins=_num_bins(x))
    return RandomForestClassifier(n_jobs=1, random_state=_SEED)


def _regressor(name: BaselineName, x: _Array) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    if name == "linear":
        return Ridge()
    if name == "boosting":
        return HistGradientBoostingRegressor(random_state=_SEED, max_bins=_num_bins(x))
    return RandomForestRegressor(n_jobs=1, random_state=_SEED)


def _num_bins(x: _Array) -> int:
    """Into how many bins boosting puts the values of a feature: fewer where features are thousands, for memory."""
    fitting = _HISTOGRAM_BYTES // (_BIN_BYTES * _MOST_LEAVES * int(x.shape[1]))
    return min(_MOST_BINS, max(_FEWEST_BINS, fitting))
