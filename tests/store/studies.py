"""Studies for tests to open, and ways to damage their files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.contracts.store_contract import SPACE, train
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialFinished
from tuner.store.optuna_store import OptunaStore, open_store


def reopen(paths: StudyPaths, **changes: Any) -> OptunaStore:
    arguments: dict[str, Any] = {
        "study": "digits",
        "direction": Direction.MAXIMIZE,
        "metric": "accuracy",
        "space": SPACE,
        **changes,
    }
    return open_store(paths, **arguments)


def make_study(paths: StudyPaths, num_trials: int = 3) -> None:
    with reopen(paths) as store:
        for record in store.start([(SPACE.default(), 2, "tier 1")] * num_trials):
            train(store, record.number, [0.5, 0.6])
            store.record(TrialFinished(trial=record.number, reason="all epochs"))


def truncated(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def garbage_page(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(4096 * 3)
        file.write(random.Random(0).randbytes(4096))


def zeroed_header(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(bytes(100))
