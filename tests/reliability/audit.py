"""What must hold after whatever was done to a study: the invariants of docs/reliability.md."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from tests.execute.processes import eventually
from tuner.records import TrialRecord, TrialState

if TYPE_CHECKING:
    from tests.reliability.rig import Rig, Run

ENDED_BY_ITSELF = (0, 1, 7, 143)
"""Exit codes of runs that have put everything in order before they ended."""


def audit(rig: Rig, *, complete: bool, like: Rig | None) -> None:
    """See `Rig.audit`."""
    assert not [run.err for run in rig.runs if "Traceback" in run.err]
    if not any(run.alive for run in rig.runs):
        # The fork server, and Python's own helper of it, notice a moment later that the run has ended.
        assert eventually(lambda: not rig.processes()), rig.processes()
    records = rig.records()  # before whatever a killed run has left is mended by opening it
    if rig.store_url is None:
        if not rig.paths.database.exists():
            assert not any(run.announced for run in rig.runs)
            return
        with closing(sqlite3.connect(rig.paths.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        assert not (rig.on_network_drive and journal == "wal")
    assert [record.number for record in records] == list(range(len(records)))
    assert len(records) <= rig.trials
    assert len({tuple(record.params.items()) for record in records}) == len(records)
    if rig.last.command.poll() in ENDED_BY_ITSELF:
        assert TrialState.RUNNING not in {record.state for record in records}
    _audit_announcements(rig, records)
    _audit_attempts(rig, records)
    for run in rig.runs:
        _audit_resume(rig, run, records)
    _audit_epochs(rig)
    if complete:
        _audit_end(rig, records)
    if like is not None:
        assert rig.leaderboard() == like.leaderboard()


def _audit_announcements(rig: Rig, records: Sequence[TrialRecord]) -> None:
    """What was announced is in the database, and was announced once."""
    announced: dict[int, tuple[str, str, int, str]] = {}
    for run in rig.runs:
        assert not announced.keys() & run.announced.keys()
        announced |= run.announced
    for number, said in announced.items():
        record = records[number]
        value = "-" if record.value is None else f"{record.value:.4f}"
        assert said == (record.state.value, value, record.epochs, record.reason)


def _audit_attempts(rig: Rig, records: Sequence[TrialRecord]) -> None:
    """No trial was begun once more but those of which it was said, and those that the search sent on."""
    errors = "".join(run.err for run in rig.runs)
    lost = errors.count("was lost with")
    for record in records:
        said = len(re.findall(rf"^trial {record.number} goes on ", errors, re.MULTILINE))
        assert record.attempts <= 1 + said + lost + len(record.rungs)


def _audit_resume(rig: Rig, run: Run, records: Sequence[TrialRecord]) -> None:
    """No trial went back behind what it had finished, and none that had been announced went on at all."""
    before = rig.runs[: rig.runs.index(run)]
    ended = {number for earlier in before for number in earlier.announced}
    diverged = {r.number for r in records if r.reason.startswith("diverged")}  # these leave no checkpoint
    for number, place in run.went_on.items():
        assert place == run.places.get(number, (0, 0)) or number in diverged
        assert number not in ended


def _audit_epochs(rig: Rig) -> None:
    """A listener hears of each epoch once, in order; but for the last one before a kill, which it may hear again."""
    repeated = 0
    for epochs in rig.heard().values():
        assert sorted(set(epochs)) == list(range(1, max(epochs) + 1))
        assert epochs == sorted(epochs)
        repeated += len(epochs) - len(set(epochs))
    assert repeated <= sum(run.command.poll() == -9 for run in rig.runs)


def _audit_end(rig: Rig, records: Sequence[TrialRecord]) -> None:
    """All that was asked for is there, and nothing else."""
    assert len(records) == rig.trials
    assert all(record.state.final for record in records)
    assert not rig.checkpoints()
    assert not list(rig.paths.pending.glob("*"))
    assert not list(rig.paths.folder.rglob("*.tmp"))
