"""A study behind Optuna's public storage interface: in a journal file.

Slower than `tuner.store.rdb`, and bound to Optuna's rule that a finished trial never changes: such a trial takes no
further facts and cannot be tried again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.errors import StorageError
from tuner.records import Direction, Json, TrialRecord, TrialState
from tuner.store.codec import LEASE_ATTRIBUTE, attributes, encode
from tuner.store.database import LeaseLostError
from tuner.store.distributions import StoredSpace, internal
from tuner.store.facts import read_facts
from tuner.store.lease import BEAT_SECONDS, Lease
from tuner.store.rows import OPTUNA_STATE, Timestamp, TrialRows, records_from_rows
from tuner.store.study_data import reading


class ApiDatabase:
    """Implements `tuner.store.database.Database`, but for the finished trials."""

    def __init__(
        self, storage: BaseStorage, *, study_id: int, direction: Direction, space: StoredSpace, shown: str
    ) -> None:
        self._storage = storage
        self._study_id = study_id
        self._direction = direction
        self._space = space
        self._shown = shown
        self._lease: Lease | None = None
        self._beat_at = 0.0
        self._trials: dict[int, FrozenTrial] = {}

    def directions(self) -> list[str]:
        return [direction.name for direction in self._storage.get_study_directions(self._study_id)]

    def claim(self, lease: Lease) -> None:
        holder = self._holder()
        if holder is not None and holder.alive:
            raise StorageError(
                f"the study in {self._shown} is run by {holder}; wait for it, or stop it, before running it here"
            )
        self._lease = lease
        self._tell_lease(lease)

    def load(self) -> tuple[list[TrialRecord], dict[str, Json]]:
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        texts = {key: encode(value) for key, value in self._storage.get_study_user_attrs(self._study_id).items()}
        with reading(self._shown):
            records = records_from_rows(rows_of(trials), direction=self._direction)
            facts, _ = read_facts(texts)
        self._trials = {trial.number: trial for trial in trials}
        for record, trial in zip(records, trials, strict=True):
            if record.state.final and not trial.state.is_finished():
                self._write_trial(record)  # the process died between the attributes and the state
        return records, facts

    def write(self, records: Sequence[TrialRecord], facts: Mapping[str, str]) -> None:
        self._keep_lease()
        for record in records:
            if record.number not in self._trials:
                self._create(record)
            self._write_trial(record)
        for key, text in facts.items():
            self._storage.set_study_user_attr(self._study_id, key, _json(text))

    def release(self) -> None:
        if self._lease is not None and self._holds_lease():
            self._storage.set_study_system_attr(self._study_id, LEASE_ATTRIBUTE, None)
        self._lease = None

    def close(self) -> None:
        self._storage.remove_session()

    def _create(self, record: TrialRecord) -> None:
        distributions = {name: self._space.distribution(name, value) for name, value in record.params.items()}
        numbers = {name: internal(distributions[name], value) for name, value in record.params.items()}
        # Optuna takes the choices 1 and True for the same; told apart by their places, parameters are set one by one.
        alike = any(distributions[n].to_internal_repr(value) != numbers[n] for n, value in record.params.items())
        template = FrozenTrial(
            number=record.number,
            trial_id=-1,
            state=OptunaState.RUNNING,
            value=None,
            datetime_start=datetime.fromisoformat(record.started).astimezone().replace(tzinfo=None),
            datetime_complete=None,
            params={} if alike else dict(record.params),
            distributions={} if alike else distributions,
            user_attrs={key: _json(text) for key, text in attributes(record).items()},
            system_attrs={},
            intermediate_values={},
        )
        try:
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
            for name, number in numbers.items() if alike else ():
                self._storage.set_trial_param(trial_id, name, number, distributions[name])
        except ValueError as error:
            raise StorageError(
                f"trial {record.number} cannot be stored in {self._shown}, where a parameter's choices never change "
                f"({error}); use a SQLite file or a database server"
            ) from error
        trial = self._storage.get_trial(trial_id)
        assert trial.number == record.number, f"trial {record.number} was numbered {trial.number}"
        self._trials[record.number] = trial

    def _write_trial(self, record: TrialRecord) -> None:
        """Bring a trial up to date; its state comes last, since nothing may follow it."""
        before = self._trials[record.number]
        texts = attributes(record)
        if before.user_attrs.get("reason") and "reason" not in texts:
            texts["reason"] = encode("")
        changed = {key: text for key, text in texts.items() if encode(before.user_attrs.get(key)) != text}
        rungs = [(epoch, best) for epoch, best in record.rungs if epoch not in before.intermediate_values]
        state = OptunaState[OPTUNA_STATE[record.state]]
        if not changed and not rungs and state is before.state:
            return
        if before.state.is_finished():
            raise StorageError(
                f"trial {record.number} is finished and cannot change in {self._shown}; "
                "a SQLite file or a database server allows that"
            )
        for key, text in changed.items():
            self._storage.set_trial_user_attr(before._trial_id, key, _json(text))
        for epoch, best in rungs:
            self._storage.set_trial_intermediate_value(before._trial_id, epoch, best)
        if state.is_finished():
            valued = record.value is not None and record.state is not TrialState.FAILED
            values = [record.value] if valued and record.value is not None else None
            self._storage.set_trial_state_values(before._trial_id, state, values)
        self._trials[record.number] = self._storage.get_trial(before._trial_id)

    def _keep_lease(self) -> None:
        assert self._lease is not None
        if not self._holds_lease():
            raise LeaseLostError(f"the study in {self._shown} was taken over by {self._holder() or 'another process'}")
        if monotonic() - self._beat_at >= BEAT_SECONDS:
            self._tell_lease(self._lease.renewed())

    def _tell_lease(self, lease: Lease) -> None:
        self._storage.set_study_system_attr(self._study_id, LEASE_ATTRIBUTE, _json(lease.to_json()))
        self._beat_at = monotonic()

    def _holds_lease(self) -> bool:
        holder = self._holder()
        return holder is not None and self._lease is not None and holder.token == self._lease.token

    def _holder(self) -> Lease | None:
        return Lease.from_json(encode(self._storage.get_study_system_attrs(self._study_id).get(LEASE_ATTRIBUTE)))


def rows_of(trials: Sequence[FrozenTrial]) -> TrialRows:
    """Optuna's trials as the rows that its tables would hold."""
    return TrialRows(
        trials=[
            (t._trial_id, t.number, t.state.name, _naive_utc(t.datetime_start), _naive_utc(t.datetime_complete))
            for t in trials
        ],
        params=[
            (t._trial_id, name, internal(t.distributions[name], value), distribution_to_json(t.distributions[name]))
            for t in trials
            for name, value in t.params.items()
        ],
        attributes=[(t._trial_id, key, encode(value)) for t in trials for key, value in t.user_attrs.items()],
        intermediate_values=[
            (t._trial_id, step, value, "FINITE")
            for t in trials
            for step, value in sorted(t.intermediate_values.items())
        ],
        values=[(t._trial_id, t.values[0], "FINITE") for t in trials if t.values],
    )


def find_study(storage: BaseStorage, study: str) -> int | None:
    """The id of a study; None if there is no such study."""
    try:
        return storage.get_study_id_from_name(study)
    except KeyError:
        return None


def study_names(storage: BaseStorage) -> list[str]:
    """The names of all studies."""
    return [study.study_name for study in storage.get_all_studies()]


def rename_study(storage: BaseStorage, study: str, new_name: str) -> None:
    """Rename a study and those below it (`study/finalists`): they are copied, then deleted."""
    for name in study_names(storage):
        if name == study or name.startswith(f"{study}/"):
            copy = new_name + name.removeprefix(study)
            optuna.copy_study(from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=copy)
            optuna.delete_study(study_name=name, storage=storage)
            storage.set_study_system_attr(storage.get_study_id_from_name(copy), LEASE_ATTRIBUTE, None)


def _json(text: str) -> Json:
    """A JSON value as it is written, special floats still marked."""
    return json.loads(text)


def _naive_utc(moment: datetime | None) -> Timestamp:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment is not None else None
