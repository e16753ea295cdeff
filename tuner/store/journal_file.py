"""Optuna's journal files: looked at before they are opened, and mended where a writer was killed in mid-line."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from tuner.errors import StorageError, StudyNotFoundError
from tuner.store.codec import encode
from tuner.store.locations import DatabaseLocation
from tuner.store.optuna_api import find_study, rows_of, study_names
from tuner.store.study_data import FINALISTS, StudyData, study_data, study_not_found


def open_journal(path: Path) -> JournalStorage:
    """Open a journal file for writing, or create it.

    Raises:
        StorageError: it is no journal of Optuna's, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise StorageError(f"cannot create {path}: there is no folder {path.parent}")
    if path.exists():
        check_journal(path)
        _cut_torn_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def check_journal(path: Path) -> None:
    """Make sure that an existing file is a journal of Optuna's.

    Raises:
        StorageError: it is not; the file is as it was.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(1_000_000)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    try:
        known = not line or "op_code" in json.loads(line)
    except ValueError:
        known = False
    if not known:
        raise StorageError(f"{path} is not an Optuna journal (it begins with {line[:12]!r})")


def read_journal_study(location: DatabaseLocation, *, study: str) -> StudyData:
    """Read a study; see `tuner.store.reader.read_study`."""
    path = location.path
    if not path.exists():
        raise StudyNotFoundError(f'no study "{study}": there is no journal {path}')
    check_journal(path)
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        study_id = find_study(storage, study)
        if study_id is None:
            raise study_not_found(study, study_names(storage), shown=str(path))
        finalists = find_study(storage, f"{study}/{FINALISTS}")
        return study_data(
            name=study,
            directions=[direction.name for direction in storage.get_study_directions(study_id)],
            user_attributes=_texts(storage.get_study_user_attrs(study_id)),
            system_attributes=_texts(storage.get_study_system_attrs(study_id)),
            rows=rows_of(storage.get_all_trials(study_id, deepcopy=False)),
            finalists=rows_of(storage.get_all_trials(finalists, deepcopy=False)) if finalists is not None else None,
            shown=str(path),
        )
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}") from error


def _texts(attributes: dict[str, object]) -> dict[str, str]:
    return {key: encode(value) for key, value in attributes.items()}


def _cut_torn_line(path: Path) -> None:
    """Remove an unfinished last line; Optuna would append to it, and never read the file again."""
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        with path.open("rb+") as file:
            size = file.seek(0, 2)
            end = size
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
    finally:
        lock.release()
