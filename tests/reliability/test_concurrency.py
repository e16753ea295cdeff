"""Many processes at one study."""

from __future__ import annotations

import json
import socket
import sqlite3
import urllib.request
from contextlib import closing

import optuna
import pytest

from tests.execute.processes import eventually
from tests.reliability.launch import launch
from tests.reliability.rig import Rig, states
from tests.reliability.test_signals import SLOW
from tuner.records import TrialState


@pytest.mark.deep
@pytest.mark.parametrize("database", ["sqlite", "sqlite on a network drive", "postgres"])
def test_eight_runs_that_start_at_once_make_one_study(request: pytest.FixtureRequest, database: str) -> None:
    rig: Rig = request.getfixturevalue("server_rig" if database == "postgres" else "quick_rig")
    if database == "sqlite on a network drive":
        rig.take_for_network_drive()
    rig.sweep()
    runs = [rig.start() for _ in range(8)]
    codes = [run.wait() for run in runs]
    assert set(codes) <= {0, 5}
    assert 0 in codes
    for run, code in zip(runs, codes, strict=True):
        assert code == 0 or any(f"process {other.pid} on" in run.err for other in runs if other is not run)
    rig.audit(complete=True)


@pytest.mark.deep
def test_sixteen_workers_lose_nothing_while_others_read(quick_rig: Rig) -> None:
    epochs = 20
    quick_rig.sweep(training={"epochs": epochs, "batch_size": 128, "fuse": "off"})
    run = quick_rig.start("--workers", "16", engine="local")
    quick_rig.wait_until(lambda: quick_rig.paths.database.exists() and TrialState.RUNNING in states(quick_rig))
    with closing(sqlite3.connect(quick_rig.paths.database, isolation_level=None)) as connection:
        connection.execute("BEGIN")  # and is left open: a reader that takes its time
        connection.execute("SELECT * FROM trials").fetchone()
        rounds = 0
        while run.alive or not rounds:
            for arguments in (("status", "study"), ("report", "study"), ("show", "study", "0")):
                code, _, err = quick_rig.command(*arguments)
                assert code == 0, err
            assert (
                len(optuna.load_study(study_name="study", storage=f"sqlite:///{quick_rig.paths.database}").trials) <= 20
            )
            rounds += 1
    assert run.wait() == 0, run.err
    assert "cannot be written now" not in run.err
    quick_rig.audit(complete=True)
    records = quick_rig.records()
    assert [record.state for record in records] == [TrialState.COMPLETE] * 20
    assert {record.attempts for record in records} == {1}
    assert {record.epochs for record in records} == {epochs}
    curves = [quick_rig.paths.trial(n).curve.read_text().splitlines() for n in range(20)]
    assert [len(curve) for curve in curves] == [1 + epochs] * 20
    assert len(run.announced) == 20


@pytest.mark.deep
@pytest.mark.slow
def test_the_dashboard_may_be_open_during_a_run(quick_rig: Rig) -> None:
    pytest.importorskip("optuna_dashboard", reason="the dashboard is not installed (extra: dashboard)")
    quick_rig.sweep(**{**SLOW, "search": {"trials": 3, "strategy": "random"}})
    assert quick_rig.start(fault="after_create").wait() == -9
    port = _free_port()
    shown = quick_rig.folder / "dashboard.err"
    shown.touch()
    server = launch(
        ("dashboard", "study", "--port", str(port)), cwd=quick_rig.folder, env={}, stdout=shown, stderr=shown
    )
    try:
        assert eventually(lambda: _ask(port, "/api/studies") is not None), shown.read_text()
        run = quick_rig.start()
        quick_rig.wait_until(lambda: "Running" in _states(port))
        quick_rig.hurry()
        while run.alive:
            assert _ask(port, "/api/studies/1") is not None
        assert run.wait() == 0, run.err
        # It looks at the database anew every ten seconds.
        assert eventually(lambda: _states(port) == ["Complete"] * 3), _states(port)
    finally:
        server.kill()
        server.wait()
    quick_rig.audit(complete=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _states(port: int) -> list[str]:
    found = _ask(port, "/api/studies/1?after=0")
    return [] if found is None else [trial["state"] for trial in found["trials"]]


def _ask(port: int, path: str) -> dict[str, list[dict[str, str]]] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            found: dict[str, list[dict[str, str]]] = json.load(answer)
            return found
    except OSError:
        return None
