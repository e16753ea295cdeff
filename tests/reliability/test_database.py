"""Databases that are damaged, foreign, mistyped, restarted or closed to us."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.rig import Rig, states
from tests.reliability.test_signals import SLOW
from tests.store.conftest import PostgresServer
from tests.store.test_opening import DAMAGES, NAMES
from tuner.records import TrialState

pytestmark = pytest.mark.slow

SMALL = {"search": {"trials": 3, "strategy": "random"}}
PATIENT = {**SLOW, **SMALL}
"""Trials that do not end before `Rig.hurry` is called."""


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        pytest.param(*damage, id=name, marks=() if name in ("truncated", "newer") else pytest.mark.deep)
        for damage, name in zip(DAMAGES, NAMES, strict=True)
    ],
)
def test_a_damaged_or_foreign_database_is_refused_with_5_and_left_as_it_is(
    quick_rig: Rig, damage: Callable[[Path], object], cause: str
) -> None:
    quick_rig.sweep(**SMALL)
    quick_rig.resume()
    database = quick_rig.paths.database
    damage(database)
    before = database.read_bytes()
    commands = [("run", "sweep.yaml", "--engine", "inline")]
    if cause != "damaged":  # readers do not look at every page
        commands += [("status", "study"), ("report", "study"), ("best", "study")]
    for arguments in commands:
        code, out, err = quick_rig.command(*arguments)
        assert code == 5, (arguments, err)
        assert "study.db" in err
        assert "Traceback" not in err
        assert not out
        assert database.read_bytes() == before


def test_doctor_mends_a_damaged_database_into_a_new_file_that_can_be_run_on(quick_rig: Rig) -> None:
    quick_rig.sweep(search={"trials": 12, "strategy": "random"})
    quick_rig.resume()
    whole = quick_rig.records()
    database = quick_rig.paths.database
    _garble(database, table="trial_heartbeats")
    before = database.read_bytes()
    code, out, _ = quick_rig.command("doctor", "study")
    assert code == 5
    assert "PROBLEM" in out
    code, _, err = quick_rig.command("doctor", "study", "--repair", "mended.db")
    assert code == 0, err
    assert "saved" in err
    assert database.read_bytes() == before
    code, out, _ = quick_rig.command("status", "study", "--store", "mended.db")
    assert code == 0
    (quick_rig.folder / "mended.db").replace(database)
    saved = quick_rig.records()
    assert 0 < len(saved) <= 12
    assert {r.number: r.params for r in saved}.items() <= {r.number: r.params for r in whole}.items()
    run = quick_rig.start("--trials", "14")
    assert run.wait() == 0, run.err
    assert len(quick_rig.records()) == 14
    assert {r.state for r in quick_rig.records()} == {TrialState.COMPLETE}


def test_a_backup_made_during_a_run_is_sound(quick_rig: Rig) -> None:
    quick_rig.sweep(**PATIENT)
    run = quick_rig.start()
    quick_rig.wait_until(lambda: TrialState.RUNNING in states(quick_rig))
    code, _, err = quick_rig.command("doctor", "study", "--backup", "copy.db")
    assert code == 0, err
    quick_rig.hurry()
    assert run.wait() == 0
    quick_rig.audit(complete=True)
    with closing(sqlite3.connect(quick_rig.folder / "copy.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert quick_rig.command("status", "study", "--store", "copy.db")[0] == 0


def test_mistyped_names_make_nothing(quick_rig: Rig) -> None:
    quick_rig.sweep(**SMALL)
    quick_rig.resume()
    before = sorted(quick_rig.folder.rglob("*"))
    commands = [
        ("status", "studi"),
        ("report", "studi"),
        ("best", "studi"),
        ("show", "studi", "0"),
        ("logs", "studi", "0"),
    ]
    for command in commands:
        code, _, err = quick_rig.command(*command)
        assert code == 4, (command, err)
        assert "study" in err
    assert quick_rig.command("status", "study", "--store", "sqlite:///typo.db")[0] == 4
    left = {path for path in quick_rig.folder.rglob("*") if not path.name.startswith("command.")}
    assert left == {path for path in before if not path.name.startswith("command.")}


class TestPostgres:
    """A real server."""

    def test_a_server_that_restarts_in_mid_run_loses_nothing(self, server_rig: Rig, postgres: PostgresServer) -> None:
        server_rig.sweep(**PATIENT)
        run = server_rig.start()
        server_rig.wait_until(lambda: TrialState.RUNNING in states(server_rig))
        postgres.control("stop", "-m", "immediate")
        try:
            server_rig.wait_until("cannot be written now")
        finally:
            postgres.control("start")
        server_rig.hurry()
        assert run.wait() == 0, run.err
        assert run.err.count("cannot be written now") == 1
        server_rig.audit(complete=True)
        assert states(server_rig) == [TrialState.COMPLETE] * 3

    def test_a_server_that_is_stopped_ends_the_run_with_5_and_the_next_one_has_all(
        self, server_rig: Rig, postgres: PostgresServer
    ) -> None:
        server_rig.sweep(**SMALL)
        run = server_rig.start(fault="before_reports")
        assert run.wait() == -9
        whole = server_rig.records()
        postgres.control("stop", "-m", "immediate")
        try:
            for arguments in (("run", "sweep.yaml", "--engine", "inline"), ("status", "study")):
                code, _, err = server_rig.command(*arguments, "--store", str(server_rig.store_url))
                assert code == 5
                assert "Traceback" not in err
        finally:
            postgres.control("start")
        server_rig.resume()
        assert server_rig.records() == whole
        server_rig.audit(complete=True)

    @pytest.mark.deep
    def test_passwords_are_never_shown_nor_stored(self, server_rig: Rig, postgres: PostgresServer) -> None:
        server_rig.sweep(**SMALL)
        server_rig.resume("--verbose")
        url = str(server_rig.store_url)
        said = [text for run in server_rig.runs for text in (run.out, run.err)]
        for arguments in (
            ("status", "study"), ("report", "study"), ("report", "study", "--format", "html"), ("best", "study"),
            ("show", "study", "0"), ("doctor", "study"), ("status", "studi"),
        ):  # fmt: skip
            said += server_rig.command(*arguments, "--store", url)[1:]
        wrong = postgres.url(password="s3cret")
        for arguments in (("run", "sweep.yaml", "--engine", "inline"), ("status", "study")):
            code, out, err = server_rig.command(*arguments, "--store", wrong)
            assert code == 5
            assert "password authentication failed" in err
            said += [out, err]
        stored = [path.read_bytes() for path in server_rig.paths.folder.rglob("*") if path.is_file()]
        for secret in ("hush", "s3cret"):
            assert not [text for text in said if secret in text]
            assert not [content for content in stored if secret.encode() in content]
        assert "hush" not in str(_facts(server_rig))


def _facts(rig: Rig) -> object:
    from tuner.store.reader import read_study

    return read_study(rig.paths, study="study", url=rig.store_url).facts


def _garble(database: Path, *, table: str) -> None:
    """Overwrite the page on which a table begins."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # into the file, which is what is damaged
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
        ((size,),) = connection.execute("PRAGMA page_size")
    with database.open("rb+") as file:
        file.seek((page - 1) * size)
        file.write(random.Random(0).randbytes(size))
