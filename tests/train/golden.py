"""The golden curves: what known configurations measured when they were recorded.

    python -m tests.train.golden

writes tests/golden/*.csv anew. Do that only for a change that is meant to alter what training computes, and say so
in its commit.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "golden"
COLUMNS = ("epoch", "train_loss", "dev_loss", "train_metric", "dev_metric", "learning_rate")
EPOCHS = 5

CASES: Mapping[str, tuple[Mapping[str, object], Mapping[str, float]]] = {
    "mlp-sgd": (
        {"settings": {"hidden_units": 50, "hidden_layers": 2}, "batch_size": 32, "warmup_epochs": 1.0},
        {"learning_rate": 0.05, "momentum": 0.8, "dropout": 0.2, "weight_decay": 1e-3, "lr_decay": 0.1},
    ),
    "mlp-adam": (
        {"settings": {"hidden_units": 50}, "optimizer": "adam", "batch_size": 32, "schedule": "cosine"},
        {"learning_rate": 0.01, "dropout": 0.1, "weight_decay": 1e-4},
    ),
    "cnn-sgd": (
        {"model": "cnn", "settings": {"channels": 4, "hidden_units": 32, "norm": "batch"}, "batch_size": 32},
        {"learning_rate": 0.05, "momentum": 0.8, "dropout": 0.2},
    ),
}
"""The sweep's values and the trial's parameters of each curve; data: 300 examples of the digits, 100 for dev."""


def measure(name: str, folder: Path) -> list[dict[str, float]]:
    """Train a case and return its curve."""
    from tests.train.cohorts import curves, jobs, make_task, run_cohort

    spec, params = CASES[name]
    task = make_task(**{**spec, "epochs": EPOCHS})
    (curve,) = curves(run_cohort(task, jobs(folder, [dict(params)], to_epoch=EPOCHS))).values()
    return [{column: getattr(result, column) for column in COLUMNS} for result in curve]


def read(name: str) -> list[dict[str, float]]:
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        return [{column: float(value) for column, value in row.items()} for row in csv.DictReader(file)]


def write(name: str, curve: Sequence[Mapping[str, float]]) -> None:
    with (FOLDER / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)


def main() -> None:
    from tuner.execute.numeric import set_numeric_environment

    set_numeric_environment(1)
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            write(name, measure(name, Path(folder)))


if __name__ == "__main__":
    main()
