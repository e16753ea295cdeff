"""`sklearn/NAME`: the real data sets that come with scikit-learn, as they were collected (not pre-scaled)."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
    table = _digits_table()
    return Arrays(
        inputs=table[:, :-1].reshape(-1, 1, 8, 8) / 16.0,
        targets=table[:, -1].astype(np.int64),
        where=where,
        task="classification",
        target_names=("digit",),
    )


def _digits_table() -> npt.NDArray[np.float64]:
    """64 pixels of 0..16 and the digit, for each image."""
    # Importing sklearn.datasets would take each worker process longer than training a dozen small networks.
    found = importlib.util.find_spec("sklearn")
    assert found is not None, "scikit-learn is a dependency"
    file = Path(str(found.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        return np.loadtxt(file, delimiter=",")
    bunch = _load("load_digits")
    return np.column_stack([bunch.data, bunch.target])


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
