"""Results that the database could not take: kept in files beside it, and replayed when the study is next opened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StorageError
from tuner.paths import own_place
from tuner.records import TrialRecord
from tuner.store.codec import STUDY_ATTRIBUTE, decode, identity_of, record_from_json, record_to_json
from tuner.store.shapes import list_of, mapping, mapping_of, text, whole

if TYPE_CHECKING:
    from tuner.store.database import Database

_ROOM_BYTES = 1 << 16
"""Enough for what waits to be written, a second's changes and why a run ended, in all but the largest sweeps."""
_PROCESS = os.urandom(8).hex()
"""Names the room of this process, together with its number: a fork of it has the same text."""
_CONTENT = whole(study=text, records=list_of(mapping), facts=mapping_of(text))


@dataclass(frozen=True, slots=True)
class PendingFolder:
    """The folder of pending changes of one study."""

    folder: Path
    study: str
    identity: str = ""
    """Of the study; a name may be given again, and another study must not get these results. Empty if not known."""
    token: str = field(default_factory=lambda: os.urandom(8).hex())
    """Names this process's file."""

    @property
    def _room(self) -> Path:
        return self.folder / f"{_PROCESS}-{os.getpid()}.room"

    def reserve(self) -> bool:
        """Take room on the disk, as far as there is some, for `keep` to have where it is full.

        Returns whether it is to be given back: the studies beside one share its room.
        """
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            for room in own_place(self.folder).glob("*.room"):
                if room == self._room:
                    return False
                room.unlink(missing_ok=True)  # of a process that was killed
            with self._room.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)
            return True
        return False

    def give_back(self) -> None:
        """Give the room back; the folder goes with it if nothing waits in it."""
        with suppress(OSError):
            self._room.unlink(missing_ok=True)
            self.folder.rmdir()

    def keep(self, records: Mapping[int, TrialRecord], facts: Mapping[str, str]) -> str:
        """Write changes to a file, in place of an earlier call's; returns what to tell the user, from a `;` on."""
        if not records and not facts:
            return ""
        content = {
            "study": self.study,
            "identity": self.identity,
            "records": [record_to_json(record) for record in records.values()],
            "facts": dict(facts),
        }
        path = self.folder / f"{self.token}.json"
        try:
            own_place(path)
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                _write_durably(path, json.dumps(content))
            except OSError:
                path.unlink(missing_ok=True)  # a full disk may have room for the new file in place of the old one,
                self._room.unlink(missing_ok=True)  # and has some that was kept for it
                _write_durably(path, json.dumps(content))
        except OSError as error:
            return (
                f"; {len(records)} trials have results that could not be kept in {self.folder} either "
                f"({error.strerror or error}): they go on from their checkpoints"
            )
        return f"; what could not be written is kept in {path} and is stored when the study is next run"

    def read(self) -> tuple[list[Path], dict[int, TrialRecord], dict[str, str]]:
        """(files, records by number, facts as JSON texts) that wait for this study, the oldest file first.

        Raises:
            StorageError: a file cannot be read.
        """
        files: list[Path] = []
        records: dict[int, TrialRecord] = {}
        facts: dict[str, str] = {}
        for path in sorted(own_place(self.folder).glob("*.json"), key=lambda p: p.stat().st_mtime_ns):
            try:
                content = decode(path.read_text(encoding="utf-8"))
                _CONTENT(content, "the file")
                if content["study"] != self.study or (
                    self.identity and content.get("identity", "") not in ("", self.identity)
                ):
                    continue
                found = [record_from_json(value) for value in content["records"]]
                for fact in content["facts"].values():
                    decode(fact)
            except (OSError, ValueError) as error:
                raise StorageError(f"{path} holds no pending results ({error}); move it away to go on") from error
            records.update((record.number, record) for record in found)
            facts.update(content["facts"])
            files.append(path)
        return files, records, facts


def store_pending(database: Database, pending: PendingFolder) -> None:
    """Write what waits for a study into it; its lease is ours.

    Raises:
        StorageError: a file cannot be read.
    """
    records, facts = database.load()
    pending = replace(pending, identity=identity_of(facts.get(STUDY_ATTRIBUTE)))
    files, kept, kept_facts = pending.read()
    if files:
        database.write(list(newer_records(kept, {r.number: r for r in records}).values()), kept_facts)
    for file in files:
        file.unlink(missing_ok=True)


def newer_records(kept: Mapping[int, TrialRecord], stored: Mapping[int, TrialRecord]) -> dict[int, TrialRecord]:
    """Those of the kept records that say more than the stored ones."""
    newer = {}
    for number, record in kept.items():
        before = stored.get(number)
        if before is None or (not before.state.final and (record.state.final or record.epochs >= before.epochs)):
            newer[number] = record
    return newer


def _write_durably(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
