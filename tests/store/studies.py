"""Studies for tests to open, and ways to damage their files."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
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


def make_study(paths: StudyPaths, num_trials: int = 3, study: str = "digits") -> None:
    with reopen(paths, study=study) as store:
        for record in store.start([(SPACE.default(), 2, "tier 1")] * num_trials):
            train(store, record.number, [0.5, 0.6])
            store.record(TrialFinished(trial=record.number, reason="all epochs"))


def mounts_of(drive: Path, table: Path) -> Path:
    """A table of mounts in which a folder lies on a network drive."""
    place = str(drive.resolve()).replace(" ", "\\040")
    table.write_text(f"disk / ext4 rw 0 0\nserver:/x {place} nfs4 rw 0 0\nserver:/y /elsewhere nfs4 rw 0 0\n")
    return table


def truncated(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size // 2)


def garbage_page(path: Path) -> None:
    """Overwrite a page without which everything is still there: the first one of an index."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_studies_study_name'")
        (page,) = found.fetchone()
    with path.open("rb+") as file:
        file.seek(4096 * (page - 1))
        file.write(random.Random(0).randbytes(4096))


def zeroed_header(path: Path) -> None:
    with path.open("rb+") as file:
        file.write(bytes(100))
