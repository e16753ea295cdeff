"""A new file is the one that Optuna's own storage makes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from tuner.records import Direction
from tuner.store.codec import METRIC_NAMES_ATTRIBUTE, STUDY_ATTRIBUTE
from tuner.store.engines import create_sqlite_study, create_study, quiet_optuna
from tuner.store.locations import DatabaseLocation

METRIC, MARK = "accuracy", {"identity": "0"}


def optunas(path: Path, *studies: str) -> None:
    with quiet_optuna():
        storage = RDBStorage(f"sqlite:///{path}")
        for study in studies:
            identity = storage.create_new_study([StudyDirection.MAXIMIZE], study)
            storage.set_study_system_attr(identity, METRIC_NAMES_ATTRIBUTE, [METRIC])
            storage.set_study_user_attr(identity, STUDY_ATTRIBUTE, MARK)
    storage.engine.dispose()


def ours(path: Path, *studies: str) -> None:
    create_sqlite_study(path, studies[0], direction=Direction.MAXIMIZE, metric=METRIC)
    for study in studies:  # the first is there
        create_study(DatabaseLocation(kind="sqlite", path=path), study, direction=Direction.MAXIMIZE, metric=METRIC)


def content(path: Path) -> dict[str, object]:
    """How each table and index was made, and all rows; what tells studies apart is the same in all."""
    with closing(sqlite3.connect(path)) as connection:
        made = dict(connection.execute("SELECT name, sql FROM sqlite_master"))
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    marks = [json.loads(value) for *_, key, value in rows["study_user_attributes"] if key == STUDY_ATTRIBUTE]
    assert all("identity" in mark for mark in marks)
    rows["study_user_attributes"] = [row[:-1] for row in rows["study_user_attributes"]]
    return {"made": made, "rows": rows}


@pytest.mark.slow
def test_a_file_and_its_studies_are_those_that_optuna_makes(tmp_path: Path) -> None:
    optunas(tmp_path / "optuna.db", "digits", "digits/finalists")
    ours(tmp_path / "ours.db", "digits", "digits/finalists")
    assert content(tmp_path / "ours.db") == content(tmp_path / "optuna.db")
    found = optuna.study.get_all_study_names(f"sqlite:///{tmp_path / 'ours.db'}")
    assert found == ["digits", "digits/finalists"]


def test_a_study_that_another_process_has_made_meanwhile_stays(tmp_path: Path) -> None:
    ours(tmp_path / "ours.db", "digits", "digits/finalists")
    before = content(tmp_path / "ours.db")
    ours(tmp_path / "ours.db", "digits", "digits/finalists")
    assert content(tmp_path / "ours.db") == before
