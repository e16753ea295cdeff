"""Which column of a table is predicted, and from which: what a user who named none must see, and what gives it away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.examples import Examples
from tuner.data.text import quoted, some

_SHOWN = 6
_MOST_ROWS = 2000
_MOST_COLUMNS = 300
"""Of a wider table the columns are not looked at one by one."""
_GIVEN_AWAY = 0.995
"""The share of held-out examples that a tree on one column alone is right in; or its R2."""
_LEFT_TO_LEARN = 0.9
"""A class that is more frequent needs no column to be right nearly always."""


def columns_in_words(train: Examples) -> str:
    """What is predicted from what; empty where the columns have no names."""
    if not train.target_names or not (train.number_names or train.texts):
        return ""
    default = ", the last column, since data.target names none" if train.takes_last else ""
    kinds = []
    if train.number_names:
        kinds.append(f"{_columns(len(train.number_names))} of numbers ({_some(train.number_names)})")
    if train.texts:
        kinds.append(f"{_columns(len(train.texts))} of categories ({_some([c.name for c in train.texts])})")
    what = "labels" if train.task == "multi_label" else "target"
    return f"{what} {_some([quoted(name) for name in train.target_names])}{default}: {_values(train)}; inputs: " + (
        " and ".join(kinds)
    )


def telling_columns(train: Examples) -> tuple[str, ...]:
    """The inputs that tell the target of nearly every example by themselves."""
    names = [*train.number_names, *(column.name for column in train.texts)]
    if not train.target_names or not 2 <= len(names) <= _MOST_COLUMNS or train.task == "multi_label":
        return ()
    return tuple(name for name, values in zip(names, _each(train), strict=True) if _gives_away(values, train))


def notes_on_telling(told: Sequence[str]) -> list[str]:
    """A sentence on them all, with the line that leaves them out; nothing where there are none."""
    if not told:
        return []
    one = len(told) == 1
    which = f"column {told[0]} by itself tells" if one else f"columns {' and '.join(told)} each by themselves tell"
    known, them = ("it is", "it") if one else ("they are", "them")
    return [
        f"{which} the target of nearly every example; if {known} not known before the target is, "
        f"leave {them} out: data.ignore: [{', '.join(told)}]"
    ]


def _each(train: Examples) -> Iterator[npt.NDArray[np.float64]]:
    rows = slice(0, _MOST_ROWS)
    yield from np.nan_to_num(np.asarray(train.numbers[rows], dtype=np.float64)).T
    yield from np.asarray(train.codes[rows], dtype=np.float64).T


def _gives_away(values: npt.NDArray[np.float64], train: Examples) -> bool:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    targets = train.targets[: len(values)]
    half = len(values) // 2
    if half < 50 or len(np.unique(values)) < 2:
        return False
    tree: Any
    if train.task == "classification":
        counts = np.bincount(targets)
        if counts.max() > _LEFT_TO_LEARN * len(targets):
            return False
        tree = DecisionTreeClassifier(max_leaf_nodes=max(8, 2 * len(counts)), random_state=0)
    else:
        tree = DecisionTreeRegressor(max_leaf_nodes=64, random_state=0)
    tree.fit(values[:half, None], targets[:half])
    return bool(tree.score(values[half:, None], targets[half:]) >= _GIVEN_AWAY)


def _values(train: Examples) -> str:
    if train.task == "regression":
        low, high = float(train.targets.min()), float(train.targets.max())
        return f"{low:.4g} to {high:.4g} in training"
    kind = "labels" if train.task == "multi_label" else "classes"
    return f"{len(train.class_names)} {kind} ({_some(train.class_names)})"


def _columns(count: int) -> str:
    return f"{count} column{'s' * (count != 1)}"


def _some(names: Sequence[str]) -> str:
    return some(names, _SHOWN)
