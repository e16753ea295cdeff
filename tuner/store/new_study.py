"""Optuna's schema and a new study, as its own storage makes them, without importing its migrations, which is slow."""

from __future__ import annotations

import json

import optuna
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from sqlalchemy import Connection, inspect, text

from tuner.records import Direction
from tuner.store.codec import METRIC_NAMES_ATTRIBUTE, STUDY_ATTRIBUTE, study_mark
from tuner.store.sqlite_file import SCHEMA_VERSION
from tuner.store.tables import DIRECTIONS, FACTS, STUDIES, SYSTEM, VERSION_INFO

_ALEMBICS_TABLE = (
    "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n\t"
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n)"
)


def make_schema(connection: Connection) -> None:
    """Make Optuna's tables in a SQLite file, if there are none."""
    if inspect(connection).has_table("alembic_version"):
        return
    connection.execute(text(_ALEMBICS_TABLE))
    connection.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": SCHEMA_VERSION})
    models.BaseModel.metadata.create_all(connection)
    versions = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}
    connection.execute(VERSION_INFO.insert().values(version_info_id=1, **versions))


def insert_study(connection: Connection, study: str, *, direction: Direction, metric: str) -> None:
    """Make a study, marked as ours."""
    made = connection.execute(STUDIES.insert().values(study_name=study)).inserted_primary_key
    assert made is not None
    study_id = made[0]
    way = StudyDirection[direction.name]
    connection.execute(DIRECTIONS.insert().values(study_id=study_id, objective=0, direction=way))
    for table, key, value in (
        (SYSTEM, METRIC_NAMES_ATTRIBUTE, [metric]),
        (FACTS, STUDY_ATTRIBUTE, study_mark(metric)),
    ):
        connection.execute(table.insert().values(study_id=study_id, key=key, value_json=json.dumps(value)))
