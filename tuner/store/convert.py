"""From an Optuna journal file, in which tuner kept studies too, to a SQLite file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from tuner.errors import StorageError
from tuner.store.codec import LEASE_ATTRIBUTE, encode
from tuner.store.distributions import internal
from tuner.store.engines import new_storage, quiet_optuna
from tuner.store.lease import Lease
from tuner.store.salvage import new_file


def convert_journal(path: Path, target: Path) -> list[str]:
    """Write all studies of a journal file, tuner's and plain Optuna's, into a new SQLite file; returns their names.

    Raises:
        UsageError: there is a file at the target already.
        StorageError: it is no journal of Optuna's, it is damaged, or its study is being run; or the new file cannot be
            written.
    """
    _check_journal(path)
    try:
        journal = JournalStorage(JournalFileBackend(str(path)))
        studies = [study.study_name for study in journal.get_all_studies()]
        if not studies:
            raise StorageError(f"{path} holds no study")
        with new_file(target) as part:
            with new_storage(part) as storage, quiet_optuna():
                for study in studies:
                    _check_not_run(journal, study, shown=str(path))
                    optuna.copy_study(from_study_name=study, from_storage=journal, to_storage=storage)
            with closing(sqlite3.connect(part)) as copy, copy:
                for study in studies:
                    _tell_alike_apart(copy, journal, study)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise StorageError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    return studies


def _check_journal(path: Path) -> None:
    try:
        with path.open("rb") as file:
            line = file.readline(1_000_000)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    try:
        known = "op_code" in json.loads(line)
    except (ValueError, TypeError):
        known = False
    if not known:
        raise StorageError(f"{path} is not an Optuna journal (it begins with {line[:12]!r})")


def _check_not_run(journal: BaseStorage, study: str, *, shown: str) -> None:
    attributes = journal.get_study_system_attrs(journal.get_study_id_from_name(study))
    holder = Lease.from_json(encode(attributes.get(LEASE_ATTRIBUTE)))
    if holder is not None and holder.alive:
        raise StorageError(f"the study in {shown} is run by {holder}; wait for it, or stop it, before it is converted")


def _tell_alike_apart(copy: sqlite3.Connection, journal: BaseStorage, study: str) -> None:
    """Mend the choices that Optuna takes for one another as it copies: of 1 and True, it stores the first."""
    trials = journal.get_all_trials(journal.get_study_id_from_name(study), deepcopy=False)
    copy.executemany(
        "UPDATE trial_params SET param_value = ? WHERE param_name = ? AND trial_id = "
        "(SELECT trial_id FROM trials JOIN studies USING (study_id) WHERE study_name = ? AND number = ?)",
        [
            (internal(distribution, value), name, study, trial.number)
            for trial in trials
            for name, value in trial.params.items()
            if (distribution := trial.distributions[name])
            and type(distribution.to_external_repr(distribution.to_internal_repr(value))) is not type(value)
        ],
    )
