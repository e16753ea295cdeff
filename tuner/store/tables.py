"""Optuna's tables as SQLAlchemy Core knows them, and what is asked of them.

They are private to Optuna: `check_tables` compares them with what is assumed here, and a version of Optuna that has
others is refused before it writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages._rdb import models
from sqlalchemy import Connection, DateTime, Enum, String, Table, Update, bindparam, select, type_coerce, update

from tuner.errors import StorageError
from tuner.store.rows import TrialRows

_TABLES: Mapping[str, Table] = models.BaseModel.metadata.tables
_COLUMNS = {
    "studies": {"study_id", "study_name"},
    "study_directions": {"study_direction_id", "direction", "study_id", "objective"},
    "study_user_attributes": {"study_user_attribute_id", "study_id", "key", "value_json"},
    "study_system_attributes": {"study_system_attribute_id", "study_id", "key", "value_json"},
    "trials": {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    "trial_params": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    "trial_values": {"trial_value_id", "trial_id", "objective", "value", "value_type"},
    "trial_intermediate_values": {
        "trial_intermediate_value_id",
        "trial_id",
        "step",
        "intermediate_value",
        "intermediate_value_type",
    },
    "trial_user_attributes": {"trial_user_attribute_id", "trial_id", "key", "value_json"},
}


def check_tables(*, shown: str) -> None:
    """Make sure that this version of Optuna has the tables that this module writes.

    Raises:
        StorageError: it has others; the message says what to install.
    """
    for name, columns in _COLUMNS.items():
        found = {column.name for column in _TABLES[name].columns} if name in _TABLES else set()
        if found != columns:
            differing = ", ".join(sorted(found ^ columns)) if found else "is missing"
            raise StorageError(
                f"{shown}: Optuna {optuna.__version__} keeps studies in other tables than this version of tuner knows "
                f'(table {name}: {differing}); upgrade tuner, or run: pip install "optuna>=5,<6"'
            )


TRIALS, PARAMS = _TABLES["trials"], _TABLES["trial_params"]
ATTRIBUTES, RUNGS = _TABLES["trial_user_attributes"], _TABLES["trial_intermediate_values"]
VALUES = _TABLES["trial_values"]
FACTS, SYSTEM = _TABLES["study_user_attributes"], _TABLES["study_system_attributes"]
STUDIES, DIRECTIONS, VERSION_INFO = _TABLES["studies"], _TABLES["study_directions"], _TABLES["version_info"]
FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE
FINITE_RUNG = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE

UPDATE_ATTRIBUTE = (
    update(ATTRIBUTES)
    .where(ATTRIBUTES.c.trial_id == bindparam("of_trial"), ATTRIBUTES.c.key == bindparam("of_key"))
    .values(value_json=bindparam("text"))
)
UPDATE_STATE = (
    update(TRIALS)
    .where(TRIALS.c.trial_id == bindparam("of_trial"))
    .values(state=bindparam("new_state"), datetime_complete=bindparam("ended"))
)


SELECT_NEW_TRIALS = select(TRIALS.c.number, TRIALS.c.trial_id).where(
    TRIALS.c.study_id == bindparam("of_study"), TRIALS.c.trial_id > bindparam("last")
)


def _update_study_attribute(table: Table) -> Update:
    return (
        update(table)
        .where(table.c.study_id == bindparam("of_study"), table.c.key == bindparam("of_key"))
        .values(value_json=bindparam("text"))
    )


UPDATE_FACT, UPDATE_SYSTEM = _update_study_attribute(FACTS), _update_study_attribute(SYSTEM)
SELECT_SYSTEM = select(SYSTEM.c.value_json).where(
    SYSTEM.c.study_id == bindparam("of_study"), SYSTEM.c.key == bindparam("of_key")
)


def lock_study(connection: Connection, study_id: int) -> None:
    """Let nobody else claim the study before this transaction ends (on SQLite, the transaction does so by itself)."""
    studies = _TABLES["studies"]
    connection.execute(select(studies.c.study_id).where(studies.c.study_id == study_id).with_for_update()).all()


def read_directions(connection: Connection, study_id: int) -> list[str]:
    """`MAXIMIZE` or `MINIMIZE` for each objective of a study."""
    table = _TABLES["study_directions"]
    query = select(type_coerce(table.c.direction, String)).where(table.c.study_id == study_id)
    return [name for (name,) in connection.execute(query.order_by(table.c.objective))]


def read_study_attributes(connection: Connection, table: Table, study_id: int) -> dict[str, str]:
    """The user or system attributes of a study, as JSON texts by key."""
    found = connection.execute(select(table.c.key, table.c.value_json).where(table.c.study_id == study_id))
    return {row[0]: row[1] for row in found}


def read_rows(connection: Connection, study_id: int) -> TrialRows:
    """All rows of a study's trials, as lists."""

    def rows(table: Table, columns: Sequence[str], order: Sequence[str]) -> Any:
        # Enumerations are read as their names and moments as they are, as the rows of the plain SQLite reader are.
        found = (table.c[name] for name in columns)
        chosen = [type_coerce(c, String) if isinstance(c.type, Enum | DateTime) else c for c in found]
        query = select(*chosen).order_by(*(table.c[name] for name in order))
        if table is TRIALS:
            query = query.where(TRIALS.c.study_id == study_id)
        else:
            query = query.where(table.c.trial_id.in_(select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)))
        return connection.execute(query).all()

    return TrialRows(
        trials=rows(TRIALS, ("trial_id", "number", "state", "datetime_start", "datetime_complete"), ("number",)),
        params=rows(PARAMS, ("trial_id", "param_name", "param_value", "distribution_json"), ("param_id",)),
        attributes=rows(ATTRIBUTES, ("trial_id", "key", "value_json"), ("trial_id",)),
        intermediate_values=rows(
            RUNGS, ("trial_id", "step", "intermediate_value", "intermediate_value_type"), ("trial_id", "step")
        ),
        values=rows(VALUES, ("trial_id", "value", "value_type"), ("trial_id",)),
    )
