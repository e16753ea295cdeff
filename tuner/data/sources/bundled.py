"""`sklearn/NAME`: the real data sets that come with scikit-learn, as they were collected (not pre-scaled)."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.data.content import Arrays, Contents
from tuner.errors import DataError
from tuner.spec.model import DataSpec

_PREFIX = "sklearn/"


def matches(location: str, path: Path) -> bool:
    return location.startswith(_PREFIX) and not path.exists()


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    name = location.removeprefix(_PREFIX)
    if name not in _LOADERS:
        near = difflib.get_close_matches(name, _LOADERS, n=1)
        hint = f'did you mean "{_PREFIX}{near[0]}"?' if near else f"there are {', '.join(_LOADERS)}"
        raise DataError(f'scikit-learn bundles no data set "{name}" (others need a download); {hint}')
    return Contents(train=_LOADERS[name](location))


def _digits(where: str) -> Arrays:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return Arrays(
        inputs=bunch.images[:, None] / 16.0,
        targets=bunch.target,
        where=where,
        task="classification",
        target_names=("digit",),
    )


def _classes(loader: str, target_name: str) -> Callable[[str], Arrays]:
    def load(where: str) -> Arrays:
        bunch = _load(loader)
        return Arrays(
            inputs=bunch.data,
            targets=bunch.target,
            where=where,
            task="classification",
            feature_names=_texts(bunch.feature_names),
            target_names=(target_name,),
            class_names=_texts(bunch.target_names),
        )

    return load


def _diabetes(where: str) -> Arrays:
    # The default is scaled by the mean and variance of all examples, dev and test among them.
    bunch = _load("load_diabetes", scaled=False)
    return Arrays(
        inputs=bunch.data,
        targets=bunch.target,
        where=where,
        task="regression",
        feature_names=_texts(bunch.feature_names),
        target_names=("progression",),
    )


def _linnerud(where: str) -> Arrays:
    bunch = _load("load_linnerud")
    return Arrays(
        inputs=bunch.data,
        targets=bunch.target.astype(np.float64),
        where=where,
        task="regression",
        feature_names=_texts(bunch.feature_names),
        target_names=_texts(bunch.target_names),
    )


def _load(loader: str, **options: bool) -> Any:
    from sklearn import datasets

    return getattr(datasets, loader)(**options)


def _texts(names: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in names)


_LOADERS: dict[str, Callable[[str], Arrays]] = {
    "digits": _digits,
    "iris": _classes("load_iris", "species"),
    "wine": _classes("load_wine", "cultivar"),
    "breast_cancer": _classes("load_breast_cancer", "diagnosis"),
    "diabetes": _diabetes,
    "linnerud": _linnerud,
}
