"""A study in a relational database: Optuna's schema, written in batches with SQLAlchemy Core.

Optuna's own storage class takes some 10 ms for each single change. Here, one transaction carries all changes since
the last one, as a few bulk statements.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from optuna.trial import TrialState as OptunaState
from sqlalchemy import Connection, Engine, Insert, Table, Update, delete, insert

from tuner.records import Direction, Json, Params, TrialRecord, TrialState
from tuner.store.claimed import ClaimedStudy
from tuner.store.codec import attributes
from tuner.store.distributions import StoredSpace
from tuner.store.facts import read_facts
from tuner.store.lease import Lease
from tuner.store.rows import OPTUNA_STATE, records_from_rows
from tuner.store.study_data import reading
from tuner.store.tables import (
    ATTRIBUTES,
    FACTS,
    FINITE_RUNG,
    FINITE_VALUE,
    PARAMS,
    RUNGS,
    SELECT_NEW_TRIALS,
    TRIALS,
    UPDATE_ATTRIBUTE,
    UPDATE_FACT,
    UPDATE_STATE,
    VALUES,
    read_directions,
    read_rows,
    read_study_attributes,
)


@dataclass(frozen=True, slots=True)
class _Written:
    """What the database says of a trial."""

    trial_id: int
    state: TrialState
    attributes: Mapping[str, str]
    epochs: frozenset[int]
    """The epochs that have a rung."""
    has_value: bool
    params: Params


class Database:
    """One study in one database, used by one thread at a time."""

    def __init__(self, engine: Engine, *, study_id: int, direction: Direction, space: StoredSpace, shown: str) -> None:
        self._engine = engine
        self._study_id = study_id
        self._direction = direction
        self._space = space
        self._shown = shown
        self._claimed = ClaimedStudy(study_id, shown=shown)
        self._written: dict[int, _Written] = {}
        self._facts: set[str] = set()
        self._last_id = 0
        """The largest identifier of a trial that is written."""

    def directions(self) -> list[str]:
        """`MAXIMIZE` or `MINIMIZE` for each objective."""
        with self._engine.begin() as connection:
            return read_directions(connection, self._study_id)

    def claim(self, lease: Lease) -> None:
        """Become the study's only writer.

        Raises:
            StorageError: a living process is; the message names it.
        """
        with self._engine.begin() as connection:
            self._claimed.claim(connection, lease)

    def load(self) -> tuple[list[TrialRecord], dict[str, Json]]:
        """All trials and all user attributes of the study; what follows is written relative to this."""
        with self._engine.begin() as connection, reading(self._shown):
            rows = read_rows(connection, self._study_id)
            facts = read_study_attributes(connection, FACTS, self._study_id)
            found, _ = read_facts(facts)
            records = records_from_rows(rows, direction=self._direction)
        texts: dict[int, dict[str, str]] = defaultdict(dict)
        for trial_id, key, text in rows.attributes:
            texts[trial_id][key] = text
        epochs: dict[int, set[int]] = defaultdict(set)
        for trial_id, step, *_ in rows.intermediate_values:
            epochs[trial_id].add(step)
        valued = {trial_id for trial_id, *_ in rows.values}
        self._facts = set(facts)
        self._written = {
            record.number: _Written(
                trial_id,
                record.state,
                texts[trial_id],
                frozenset(epochs[trial_id]),
                trial_id in valued,
                record.params,
            )
            for record, (trial_id, *_) in zip(records, rows.trials, strict=True)
        }
        self._last_id = max((written.trial_id for written in self._written.values()), default=0)
        return records, found

    def write(self, records: Sequence[TrialRecord], facts: Mapping[str, str]) -> None:
        """Make the database say what these records and facts (JSON texts) say, all of it or nothing; renew the lease.

        Raises:
            LeaseLostError: another process has taken the study over; nothing was written.
        """
        with self._engine.begin() as connection:
            self._claimed.keep(connection)
            ids = self._insert_trials(connection, [r for r in records if r.number not in self._written])
            changes = [_Change.of(r, self._written.get(r.number), ids.get(r.number)) for r in records]
            self._write_params(
                connection, [change for change in changes if change.before.params != change.after.params]
            )
            self._write_attributes(connection, changes)
            self._write_measurements(connection, changes)
            self._write_states(connection, changes)
            self._write_facts(connection, facts)
        self._written.update((change.record.number, change.after) for change in changes)
        self._last_id = max([self._last_id, *ids.values()])
        self._facts |= facts.keys()

    def release(self) -> None:
        """Give the lease back."""
        if self._claimed.is_ours:
            with self._engine.begin() as connection:
                self._claimed.release(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _insert_trials(self, connection: Connection, records: list[TrialRecord]) -> dict[int, int]:
        """Insert new trials with their parameters; returns their trial ids by number."""
        if not records:
            return {}
        connection.execute(
            _inserting(TRIALS),
            [
                {
                    "study_id": self._study_id,
                    "number": record.number,
                    "state": OptunaState.RUNNING,
                    "datetime_start": _naive_utc(record.started),
                }
                for record in records
            ],
        )
        # By their identifiers, which are indexed: a search by number looks at all trials of the study.
        last = {"of_study": self._study_id, "last": self._last_id}
        ids = {row[0]: row[1] for row in connection.execute(SELECT_NEW_TRIALS, last)}
        assert len(ids) == len(records), "a trial's number was given twice"
        _insert(connection, PARAMS, [row for r in records for row in self._params_of(r, ids[r.number])])
        return ids

    def _params_of(self, record: TrialRecord, trial_id: int) -> list[dict[str, Any]]:
        stored = ((name, self._space.stored(name, value)) for name, value in record.params.items())
        return [
            {"trial_id": trial_id, "param_name": name, "param_value": number, "distribution_json": distribution}
            for name, (number, distribution) in stored
        ]

    def _write_params(self, connection: Connection, changes: list[_Change]) -> None:
        """Write the parameters of trials that have others now."""
        if changes:
            ids = [change.after.trial_id for change in changes]
            connection.execute(delete(PARAMS).where(PARAMS.c.trial_id.in_(ids)))
            rows = [row for change in changes for row in self._params_of(change.record, change.after.trial_id)]
            _insert(connection, PARAMS, rows)

    def _write_attributes(self, connection: Connection, changes: list[_Change]) -> None:
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for change in changes:
            before = change.before.attributes
            for key, text in change.after.attributes.items():
                if before.get(key) != text:
                    (changed if key in before else new).append(
                        {"of_trial": change.after.trial_id, "of_key": key, "text": text}
                    )
        _insert(
            connection,
            ATTRIBUTES,
            [{"trial_id": row["of_trial"], "key": row["of_key"], "value_json": row["text"]} for row in new],
        )
        _update(connection, UPDATE_ATTRIBUTE, changed)

    def _write_measurements(self, connection: Connection, changes: list[_Change]) -> None:
        rungs, values, no_values = [], [], []
        for change in changes:
            record, trial_id = change.record, change.after.trial_id
            rungs += [
                {
                    "trial_id": trial_id,
                    "step": epoch,
                    "intermediate_value": best,
                    "intermediate_value_type": FINITE_RUNG,
                }
                for epoch, best in record.rungs
                if epoch not in change.before.epochs
            ]
            if change.after.has_value and not change.before.has_value:
                values.append({"trial_id": trial_id, "objective": 0, "value": record.value, "value_type": FINITE_VALUE})
            elif change.before.has_value and not change.after.has_value:
                no_values.append(trial_id)
        _insert(connection, RUNGS, rungs)
        _insert(connection, VALUES, values)
        if no_values:
            connection.execute(delete(VALUES).where(VALUES.c.trial_id.in_(no_values)))

    def _write_states(self, connection: Connection, changes: list[_Change]) -> None:
        _update(
            connection,
            UPDATE_STATE,
            [
                {
                    "of_trial": change.after.trial_id,
                    "new_state": OptunaState[OPTUNA_STATE[change.record.state]],
                    "ended": _naive_utc(change.record.ended),
                }
                for change in changes
                if OPTUNA_STATE[change.before.state] != OPTUNA_STATE[change.after.state]
            ],
        )

    def _write_facts(self, connection: Connection, facts: Mapping[str, str]) -> None:
        rows = [{"of_study": self._study_id, "of_key": key, "text": text} for key, text in facts.items()]
        _update(connection, UPDATE_FACT, [row for row in rows if row["of_key"] in self._facts])
        _insert(
            connection,
            FACTS,
            [
                {"study_id": row["of_study"], "key": row["of_key"], "value_json": row["text"]}
                for row in rows
                if row["of_key"] not in self._facts
            ],
        )


@dataclass(frozen=True, slots=True)
class _Change:
    """A trial as the database has it, and as it is to be."""

    record: TrialRecord
    before: _Written
    after: _Written

    @classmethod
    def of(cls, record: TrialRecord, before: _Written | None, new_id: int | None) -> _Change:
        if before is None:
            assert new_id is not None
            before = _Written(new_id, TrialState.RUNNING, {}, frozenset(), False, record.params)
        texts = attributes(record)
        emptied = {key: '""' for key in before.attributes.keys() - texts.keys() if key == "reason"}
        valued = record.state in (TrialState.COMPLETE, TrialState.PRUNED) and record.best is not None
        epochs = before.epochs.union(epoch for epoch, _ in record.rungs)
        after = _Written(
            before.trial_id, record.state, {**before.attributes, **texts, **emptied}, epochs, valued, record.params
        )
        return cls(record, before, after)


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(_inserting(table), rows)


@cache
def _inserting(table: Table) -> Insert:
    """The statement, the same each time: SQLAlchemy looks one up by its key, which each remembers."""
    return insert(table)


def _update(connection: Connection, statement: Update, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)


def _naive_utc(stamp: str) -> datetime | None:
    """Optuna stores naive UTC."""
    return datetime.fromisoformat(stamp).replace(tzinfo=None) if stamp else None
