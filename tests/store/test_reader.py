"""Reading studies: our own and plain Optuna's, during a run, from a read-only disk, from a hostile file."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine

from tests.contracts.store_contract import SPACE, epoch_result, same, started, train
from tests.store.studies import make_study, reopen
from tuner.errors import StorageError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochsFinished, TrialFinished, TrialState
from tuner.store import server, sqlite_file
from tuner.store.engines import quiet_optuna
from tuner.store.locations import find_database
from tuner.store.reader import read_study
from tuner.store.salvage import back_up, salvage


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_reading_changes_and_creates_nothing(paths: StudyPaths) -> None:
    make_study(paths)
    before = listing(paths.folder)
    data = read_study(paths, study="digits")
    assert (data.name, data.direction, data.metric, data.finalists) == ("digits", Direction.MAXIMIZE, "accuracy", ())
    assert data.lease is None
    assert listing(paths.folder) == before


@pytest.mark.parametrize("url", [None, "sqlite:///{folder}/typo.db"])
def test_mistyped_database_is_not_created(paths: StudyPaths, tmp_path: Path, url: str | None) -> None:
    with pytest.raises(StudyNotFoundError):
        read_study(paths, study="digits", url=url.format(folder=tmp_path) if url else None)
    assert list(tmp_path.iterdir()) == []


def test_mistyped_name_suggests_the_nearest(paths: StudyPaths) -> None:
    make_study(paths)
    with pytest.raises(StudyNotFoundError, match='Did you mean "digits"'):
        read_study(paths, study="digit")
    with pytest.raises(StudyNotFoundError, match="It holds: digits"):
        read_study(paths, study="unlike")


def test_rungs_that_nobody_asks_for_are_left_in_the_file(paths: StudyPaths) -> None:
    make_study(paths)
    with_rungs = read_study(paths, study="digits")
    assert all(record.rungs for record in with_rungs.records)
    bare = read_study(paths, study="digits", with_rungs=False)
    assert same(bare.records, tuple(replace(record, rungs=()) for record in with_rungs.records))


def test_running_study_is_read_as_of_its_last_write(paths: StudyPaths) -> None:
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "tier 1")])
        train(store, 0, [0.5])
        store.set("sweep", {"study": "digits"})
        store.flush()
        data = read_study(paths, study="digits")
        assert same(data.records, store.records())
        assert data.facts == {"sweep": {"study": "digits"}}
        assert data.lease is not None
        assert data.lease.alive
        assert data.lease.pid == os.getpid()


@pytest.mark.slow
def test_finalists_lie_beside_their_study(paths: StudyPaths) -> None:
    make_study(paths)
    with reopen(paths, study="digits/finalists") as store:
        store.start([(SPACE.default(), 2, "")], facts=[{"repeat_of": 1}])
        wanted = store.records()
    assert same(read_study(paths, study="digits").finalists, wanted)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_study_in_use_is_read_in_place_since_a_copy_might_be_torn(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was copied")

    make_study(paths)
    with closing(sqlite3.connect(paths.database)) as writer:
        writer.execute(f"PRAGMA journal_mode = {journal}")
        writer.execute("SELECT * FROM trials").fetchone()
        assert Path(f"{paths.database}-shm").exists() is (journal == "wal")
        monkeypatch.setattr(sqlite_file, "copy_with_journals", refuse)
        assert len(read_study(paths, study="digits").records) == 3


def test_a_server_is_read_as_a_file_is_finalists_and_all(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy reads both, so a file can stand for a server here."""
    make_study(paths)
    make_study(paths, study="digits/finalists", num_trials=1)
    monkeypatch.setattr(server, "server_engine", lambda url: create_engine(f"sqlite:///{paths.database}"))
    location = find_database(paths, url="postgresql://db/studies")
    for name in ("digits", "digits/finalists"):
        found, wanted = server.read_server_study(location, study=name), read_study(paths, study=name)
        assert same(found.records, wanted.records)
        assert same(found.finalists, wanted.finalists)
        assert (found.facts, found.space, found.metric) == (wanted.facts, wanted.space, wanted.metric)
    assert len(read_study(paths, study="digits").finalists) == 1


@pytest.mark.slow
def test_log_of_a_killed_process_is_read(paths: StudyPaths) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from tests.store.studies import SPACE, reopen
from tuner.paths import StudyPaths
store = reopen(StudyPaths(Path(sys.argv[1])))
store.start([(SPACE.default(), 2, "tier 1")] * 5)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script, str(paths.folder)], check=False)
    assert Path(f"{paths.database}-wal").stat().st_size > 0
    Path(f"{paths.database}-shm").unlink()  # as after a restart of the machine
    before = listing(paths.folder)
    data = read_study(paths, study="digits")
    assert len(data.records) == 5
    assert data.lease is not None
    assert not data.lease.alive
    assert listing(paths.folder) == before


SPILLING = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")  # so pages are written long before the transaction ends
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE trials SET state = 'FAIL'")
for number in range(300):
    connection.execute("INSERT INTO study_user_attributes (study_id, key, value_json) VALUES (1, ?, ?)",
                       [f"never committed {number}", '"' + "x" * 1000 + '"'])
os.kill(os.getpid(), signal.SIGKILL)
"""
"""Dies in a transaction that has reached the file, from which only the rollback journal can take it back."""


@pytest.mark.slow
def test_a_transaction_that_was_cut_short_is_taken_back(paths: StudyPaths, tmp_path: Path, network_drive: None) -> None:
    make_study(paths)
    whole = read_study(paths, study="digits")
    subprocess.run([sys.executable, "-c", SPILLING, str(paths.database)], check=False)
    assert paths.database.stat().st_size > 300_000
    before = listing(paths.folder)
    assert read_study(paths, study="digits") == whole
    back_up(paths.database, tmp_path / "copy.db")
    salvage(paths.database, tmp_path / "mended.db")
    assert listing(paths.folder) == before
    for copy in ("copy.db", "mended.db"):
        assert same(read_study(paths, study="digits", url=str(tmp_path / copy)).records, whole.records)
    with reopen(paths) as store:
        assert same(store.records(), whole.records)


def test_readonly_disk(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    if subprocess.run(
        ["mount", "--bind", str(paths.folder), str(mounted)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting needs more rights")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(mounted)], check=True)
        assert len(read_study(StudyPaths(mounted), study="digits").records) == 3
        with pytest.raises(StorageError, match="read-only"):
            reopen(StudyPaths(mounted))
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.slow
def test_study_of_plain_optuna(paths: StudyPaths) -> None:
    paths.folder.mkdir(parents=True)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b"])
        for step in range(1, 4):
            trial.report(x / step, step)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ArithmeticError
        return x

    with quiet_optuna():
        study = optuna.create_study(study_name="plain", storage=f"sqlite:///{paths.database}", direction="maximize")
        study.optimize(objective, n_trials=3, catch=(ArithmeticError,))
        study.enqueue_trial({"x": 0.5})
    data = read_study(paths, study="plain")
    assert data.metric == "value"
    assert [r.state for r in data.records] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAILED,
        TrialState.PAUSED,
    ]
    for record, trial in zip(data.records[:2], study.trials, strict=False):
        assert record.params == trial.params
        assert record.value == trial.params["x"]
        assert record.rungs[:3] == tuple((step, trial.params["x"]) for step in (1, 2, 3))
        assert record.started <= record.ended
        assert record.best is not None
        assert math.isnan(record.best.train_loss)
    assert data.records[3].value is None


@pytest.mark.slow
def test_study_with_two_objectives_is_refused(paths: StudyPaths) -> None:
    paths.folder.mkdir(parents=True)
    with quiet_optuna():
        optuna.create_study(
            study_name="two", storage=f"sqlite:///{paths.database}", directions=["maximize", "minimize"]
        )
    with pytest.raises(StorageError, match="2 objectives"):
        read_study(paths, study="two")


@pytest.mark.parametrize("text", ["not json", "[]", '{"state": "flying"}', "{}"])
def test_attributes_that_make_no_sense_are_an_error_of_the_storage(paths: StudyPaths, text: str) -> None:
    make_study(paths)
    with sqlite3.connect(paths.database) as connection:
        connection.execute(
            "UPDATE trial_user_attributes SET value_json = ? WHERE key = 'tuner' AND trial_id = 2", [text]
        )
    connection.close()
    with pytest.raises(StorageError, match="trial 1"):
        read_study(paths, study="digits")


@pytest.mark.slow
def test_optuna_reads_what_we_wrote(paths: StudyPaths) -> None:
    """The one place where it shows that we write Optuna's tables without Optuna."""
    with reopen(paths) as store:
        store.start([({**SPACE.default(), "momentum": 0.98765}, 2, "tier 1")] * 4)
        for trial in (0, 1, 2):
            train(store, trial, [0.5, 0.25])
        store.record(TrialFinished(trial=0, reason="all epochs", facts={"dead_units": 0.5}))
        store.end(1, TrialState.PRUNED, "worse than the median")
        store.end(2, TrialState.FAILED, "killed: signal 9")
        records = store.records()
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{paths.database}")
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert [trial.values for trial in study.trials] == [[0.5], [0.5], None, None]
    assert study.best_trial.number == 0
    assert study.metric_names == ["accuracy"]
    for trial, record in zip(study.trials, records, strict=True):
        assert trial.params == record.params
        assert trial.user_attrs["tier"] == "tier 1"
        assert (trial.datetime_complete is None) == (not record.state.final)
    complete = study.trials[0]
    complete._validate()
    assert complete.intermediate_values == {2: 0.5}
    assert complete.user_attrs["facts"]["dead_units"] == 0.5
    assert complete.user_attrs["best"]["epoch"] == 1
    momentum, learning_rate = complete.distributions["momentum"], complete.distributions["learning_rate"]
    assert momentum == optuna.distributions.FloatDistribution(0.5, 0.99)
    assert learning_rate == optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)
    assert complete.distributions["width"] == optuna.distributions.IntDistribution(16, 64, step=16)
    assert complete.distributions["batch_size"] == optuna.distributions.CategoricalDistribution((32, 64, 128))


@pytest.mark.slow
def test_times_are_utc_whatever_the_time_zone(paths: StudyPaths) -> None:
    script = """
import sys
from pathlib import Path
from tests.store.studies import make_study
from tuner.paths import StudyPaths
make_study(StudyPaths(Path(sys.argv[1])))
"""
    subprocess.run(
        [sys.executable, "-c", script, str(paths.folder)], check=True, env={**os.environ, "TZ": "Asia/Tokyo"}
    )
    records = read_study(paths, study="digits").records
    connection = sqlite3.connect(paths.database)
    stored = connection.execute("SELECT datetime_start FROM trials").fetchone()[0]
    connection.close()
    assert records[0].started == stored.replace(" ", "T") + "+00:00"


def test_facts_with_special_floats_are_strict_json(paths: StudyPaths) -> None:
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")])
        store.record(started(0))
        store.record(EpochsFinished(trial=0, results=(epoch_result(1, 0.5, train_loss=float("inf")),)))
        store.annotate(0, {"norms": [1.0, float("nan")]})
    connection = sqlite3.connect(paths.database)
    for (text,) in connection.execute("SELECT value_json FROM trial_user_attributes"):
        json.loads(text, parse_constant=pytest.fail)
    connection.close()
