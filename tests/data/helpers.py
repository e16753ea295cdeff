"""Short ways to a data set: a file with this text, loaded as a sweep file would have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.data.dataset import TrainingData
from tuner.data.examples import Examples
from tuner.data.load import load_training_data
from tuner.spec.model import SweepSpec


def sweep(root: Path, **data: Any) -> SweepSpec:
    return SweepSpec(study="s", data=data, root=str(root))


def load(root: Path, **data: Any) -> TrainingData:
    return load_training_data(sweep(root, **data))


def load_csv(root: Path, text: str, **data: Any) -> TrainingData:
    (root / "data.csv").write_text(text, encoding="utf-8")
    return load(root, source="data.csv", **data)


def rows(*lines: str, times: int = 10) -> str:
    """Lines repeated, so that there are enough examples to split."""
    return "".join(f"{line}\n" for line in lines * times)


def examples(
    numbers: NDArray[Any],
    targets: NDArray[Any],
    *,
    groups: NDArray[np.int64] | None = None,
    times: NDArray[np.float64] | None = None,
    parts: NDArray[np.int8] | None = None,
) -> Examples:
    """Numeric examples; integer targets are classes."""
    is_class = targets.dtype.kind in "iu"
    return Examples(
        numbers=numbers,
        number_names=tuple(f"x{i}" for i in range(numbers.shape[1])) if numbers.ndim == 2 else (),
        texts=(),
        codes=np.empty((len(targets), 0), dtype=np.int16),
        targets=targets.astype(np.int64) if is_class else targets.reshape(len(targets), -1),
        task="classification" if is_class else "regression",
        class_names=tuple(f"class {i}" for i in range(targets.max() + 1)) if is_class else (),
        target_names=("y",),
        groups=groups,
        times=times,
        parts=parts,
        notes=(),
    )
