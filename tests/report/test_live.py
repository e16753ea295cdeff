"""The live page's data and its server; how a browser shows them is in `test_browser.py`."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.simulate import SPACE
from tests.store.conftest import postgres
from tuner.cli.watch import Studies
from tuner.errors import StudyNotFoundError, UsageError
from tuner.paths import StudyPaths
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    FailureReason,
    Json,
    TrialFailed,
    TrialFinished,
    TrialRecord,
    TrialStarted,
)
from tuner.report.analysis import Analysis
from tuner.report.live.now import now_of
from tuner.report.live.server import LiveServer
from tuner.report.live.study import LiveStudy
from tuner.report.page.data import page_data
from tuner.store.optuna_store import OptunaStore, open_store
from tuner.store.reader import read_study

__all__ = ["postgres"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OptunaStore]:
    """A study that goes on: three trials, of which the first has ended."""
    paths = StudyPaths(tmp_path / "growing")
    found = open_store(paths, study="growing", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE)
    found.set("sweep", {"search": {"trials": 8}})
    found.start([(SPACE.from_units([0.1 * n] * len(SPACE)), 5, "all") for n in range(3)])
    train(found, 0, 0.8, to=5)
    found.flush()
    try:
        yield found
    finally:
        found.close()


def train(store: OptunaStore, trial: int, value: float, *, to: int) -> None:
    """The trial's epochs up to one; the fifth is its last."""
    started = TrialStarted(
        trial=trial, worker="w", device="cpu", path="stacked", cohort_width=1, from_epoch=0, num_parameters=9
    )
    store.record(started)
    for epoch in range(1, to + 1):
        result = EpochResult(
            epoch=epoch, train_loss=1.0, dev_loss=1.0, train_metric=value, dev_metric=value, learning_rate=0.1,
            seconds=1.0,
        )  # fmt: skip
        store.record(EpochsFinished(trial=trial, results=(result,)))
    if to == 5:
        store.record(TrialFinished(trial=trial, reason="all epochs"))
    store.flush()


def end_badly(store: OptunaStore, trial: int) -> None:
    """The trial fails before its first epoch."""
    store.record(TrialFailed(trial=trial, reason=FailureReason.ERROR, message="no such luck", traceback=""))
    store.flush()


@pytest.fixture
def live(store: OptunaStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveStudy:
    """What takes long is worked out when a test asks for it."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    return LiveStudy(StudyPaths(tmp_path / "growing"), study="growing")


def changed(live: LiveStudy, since: int) -> dict[str, Any]:
    """The next answer that tells of a trial."""
    while "trials" not in (found := live.changes(since)):
        time.sleep(0.01)
    return found


def test_first_all_is_told_and_then_what_has_changed(live: LiveStudy, store: OptunaStore) -> None:
    first = live.changes(-1)
    assert first["whole"]
    assert first["trials"]["numbers"] == [0, 1, 2]
    assert first["order"][0] == 0
    assert first["ranked"] == 1
    assert "trials" not in live.changes(first["version"])

    train(store, 2, 0.9, to=5)
    second = changed(live, first["version"])
    assert "whole" not in second
    assert second["trials"]["numbers"] == [2]
    assert second["order"][:2] == [2, 0]
    assert second["now"]["tiles"][1]["value"] == "2 of 8"
    assert second["version"] > first["version"]
    assert live.changes(10**9)["whole"], "a page that another server had begun"


def test_a_new_trial_is_told_by_itself(live: LiveStudy, store: OptunaStore) -> None:
    version = live.changes(-1)["version"]
    store.start([(SPACE.from_units([0.7] * len(SPACE)), 5, "all")])
    store.flush()
    assert changed(live, version)["trials"]["numbers"] == [3]


@pytest.mark.deep
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_study_in_a_database_elsewhere_is_followed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file's time tells of a change there."""
    url = f"sqlite:///{tmp_path}/elsewhere.db" if kind == "sqlite" else request.getfixturevalue("postgres").url()
    paths = StudyPaths(tmp_path / "results" / "elsewhere")
    store = open_store(
        paths, study="elsewhere", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE, url=url, fresh=True
    )
    with closing(store):
        store.start([(SPACE.from_units([0.1 * n] * len(SPACE)), 5, "all") for n in range(2)])
        store.flush()
        live = LiveStudy(paths, study="elsewhere", url=url)
        monkeypatch.setattr(live, "analyse", lambda: None)
        version = live.changes(-1)["version"]
        train(store, 1, 0.8, to=5)
        found = changed(live, version)
    assert (found["trials"]["numbers"], found["order"][0]) == ([1], 1)


def test_what_is_known_is_not_read_again_and_the_rest_is(store: OptunaStore, tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "growing")
    whole = read_study(paths, study="growing")
    marked = {0: replace(whole.records[0], reason="as it was known")}
    again = read_study(paths, study="growing", known=marked)
    assert [r.number for r in again.records] == [0, 1, 2]
    assert again.records[0].reason == "as it was known"
    assert again.records[1:] == whole.records[1:]


def test_what_takes_long_comes_later_and_is_in_the_page_from_then_on(live: LiveStudy, store: OptunaStore) -> None:
    version = live.changes(-1)["version"]
    train(store, 1, 0.7, to=5)
    version = changed(live, version)["version"]
    assert "It is being worked out" in live.page()
    assert live.sections() == ""
    live.analyse()
    found = live.changes(version)
    assert {figure["name"] for figure in found["figures"]} >= {"best_so_far", "param_learning_rate"}
    assert version < found["sections"] <= found["version"]
    page = live.page()
    assert "It is being worked out" not in page
    assert "Best: trial 0" in page
    assert page.count("</main>") == page.count('id="data"') == 1


def test_trials_in_training_have_their_curves(live: LiveStudy, store: OptunaStore) -> None:
    version = live.changes(-1)["version"]
    train(store, 1, 0.6, to=2)
    paths = StudyPaths(live.paths.folder).trial(1)
    paths.folder.mkdir(parents=True, exist_ok=True)
    names = "epoch,train_loss,dev_loss,train_metric,dev_metric,learning_rate,seconds"
    paths.curve.write_text(f"{names}\n1,1,1,0.5,0.5,0.1,1\n2,1,1,0.6,0.6,0.1,2\n3,1,1,0.7")
    now = changed(live, version)["now"]
    (row,) = [row for row in now["running"] if row["name"] == "trial 1"]
    assert (row["epoch"], row["to_epoch"], row["value"]) == (2, 5, "0.6000")
    (figure,) = now["figures"]
    assert figure["drawing"]["marks"][0]["y"] == [0.5, 0.6]
    assert live.curves([1, 77]) == {
        "1": {"dev": [0.5, 0.6], "train": [0.5, 0.6], "dev_loss": [1, 1], "train_loss": [1, 1]}
    }
    paths.curve.write_text(paths.curve.read_text() + ",0.75,0.1,3\n")  # before the database has heard of it
    now = live.changes(version)["now"]
    (row,) = [row for row in now["running"] if row["name"] == "trial 1"]
    assert (row["epoch"], row["to_epoch"], row["value"]) == (3, 5, "0.7500")
    assert now["figures"][0]["drawing"]["marks"][0]["y"] == [0.5, 0.6, 0.75]


def test_the_log_and_the_time_left_are_told(live: LiveStudy, store: OptunaStore, tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "growing")
    paths.log.write_text("".join(f"line {n}\x1b[31m\n" for n in range(99)))
    study = read_study(paths, study="growing")
    now = now_of(study, paths, best=None, running=())
    assert now["state"] == "running"
    assert now["log"][-1] == "line 98\\x1b[31m"
    assert len(now["log"]) == 20
    assert now["tiles"][2]["value"].startswith("about ")
    assert now_of(replace(study, lease=None), paths, best=None, running=())["tiles"][2]["value"] == "–"


def test_a_database_that_is_gone_for_a_moment_leaves_what_was_known(live: LiveStudy, tmp_path: Path) -> None:
    live.changes(-1)
    paths = StudyPaths(tmp_path / "growing")
    paths.database.rename(tmp_path / "away")
    while not (found := live.changes(-1))["now"]["trouble"]:
        time.sleep(0.05)
    assert found["trials"]["numbers"] == [0, 1, 2]
    assert "no study" in found["now"]["trouble"]
    (tmp_path / "away").rename(paths.database)
    while live.changes(-1)["now"]["trouble"]:
        time.sleep(0.05)


@contextmanager
def served(live: LiveStudy) -> Iterator[LiveServer]:
    with LiveServer(lambda: {"growing": live}) as server, served_by(server):
        yield server


@contextmanager
def served_by(server: LiveServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    START(thread)
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


START = threading.Thread.start


def get(server: LiveServer, path: str, *, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={"Host": host or f"127.0.0.1:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_server_answers_what_pages_ask_and_nothing_else(live: LiveStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", START)
    monkeypatch.setattr(live, "analyse", lambda: None)
    with served(live) as server:
        status, listed = get(server, "/")
        assert (status, "growing/" in listed, "1 of 8" in listed) == (200, True, True)
        status, page = get(server, "/growing/")
        assert (status, page.startswith("<!doctype html>")) == (200, True)
        data: Json = json.loads(get(server, "/growing/changes?since=-1")[1])
        assert data["whole"]
        assert json.loads(get(server, "/growing/curves?trials=5")[1]) == {}
        assert get(server, "/growing/changes?since=x")[0] == 400
        assert [
            get(server, path)[0] for path in ("/other/", "/growing/../../etc/passwd", "/growing", "/growing/x")
        ] == [404] * 4
        assert get(server, "/", host="evil.example")[0] == 403
        assert get(server, "/", method="POST")[0] == 501


def test_a_port_that_is_taken_is_said_and_without_one_a_free_one_is_taken(live: LiveStudy) -> None:
    with LiveServer(dict) as first, LiveServer(dict) as second:
        port = first.server_address[1]
        assert port != second.server_address[1]
        with pytest.raises(UsageError, match=f"port {port} cannot be had"):
            LiveServer(dict, port=port)


def test_a_study_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFoundError):
        LiveStudy(StudyPaths(tmp_path / "none"), study="none")


def test_a_page_may_be_opened_before_its_study_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same of one in the results folder, of one in a database elsewhere, and of a folder that has none yet."""
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    both = [Studies(("later",), results=tmp_path, store=store) for store in (None, url)]
    said = capsys.readouterr().err
    assert said.count('no study "later"') == 2
    assert said.count("Its page waits for it.") == 2
    assert [studies() for studies in both] == [{"later": None}] * 2
    assert Studies((), results=tmp_path, store=None)() == {}
    for studies, store in zip(both, (None, url), strict=True):
        with LiveServer(studies) as server, served_by(server):
            assert "not begun yet" in get(server, "/")[1]
            page = get(server, "/later/")[1]
            assert "There is no study of this name yet" in page
            assert 'http-equiv="refresh"' in page, "it asks for itself again"
            assert get(server, "/later/changes?since=-1")[0] == 404
            paths = StudyPaths(tmp_path / "later")
            with closing(
                open_store(
                    paths,
                    study="later",
                    direction=Direction.MAXIMIZE,
                    metric="accuracy",
                    space=SPACE,
                    url=store,
                    fresh=True,
                )
            ):
                assert 'id="data"' in get(server, "/later/")[1]
                assert "not begun yet" not in get(server, "/")[1]


def test_who_asks_for_changes_waits_until_there_are_some(live: LiveStudy, store: OptunaStore) -> None:
    version = live.changes(-1)["version"]
    assert live.changes(version)["version"] == version
    answers: list[Json] = []
    asking = threading.Thread(target=lambda: answers.append(live.changes(version, patience_seconds=60)))
    START(asking)
    assert not answers
    train(store, 1, 0.9, to=5)
    asking.join()
    assert answers[0]["version"] > version
    live.paths.log.write_text("a line\n")
    assert live.changes(answers[0]["version"], patience_seconds=60)["now"]["log"] == ["a line"]


def test_rows_follow_a_study_as_if_they_were_made_anew(live: LiveStudy, store: OptunaStore) -> None:
    version = live.changes(-1)["version"]
    train(store, 2, 0.9, to=5)
    train(store, 1, 0.95, to=2)
    (number,) = [r.number for r in store.start([(SPACE.from_units([0.7] * len(SPACE)), 5, "all")])]
    end_badly(store, number)
    while (found := live.changes(version)).get("order", []) != [2, 0, 1, 3]:
        pass
    live.analyse()
    found |= live.changes(version)
    study = read_study(live.paths, study="growing", with_rungs=False)
    anew = page_data(Analysis(study, live.paths))
    for name in ("order", "ranked", "columns", "groups", "ties"):
        assert found[name] == anew[name]
    rows, all_rows = (dict(zip(d["trials"]["numbers"], d["trials"]["cells"], strict=True)) for d in (found, anew))
    assert rows.items() <= all_rows.items()
    assert {1, 2, 3} <= {*rows}


def test_what_another_program_does_to_ended_trials_is_seen_after_a_while(
    live: LiveStudy, store: OptunaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", START)
    monkeypatch.setattr(live, "analyse", lambda: None)
    version = live.changes(-1)["version"]
    train(store, 1, 0.7, to=5)
    version = changed(live, version)["version"]
    ended = replace(read_study(live.paths, study="growing").records[0], reason="said otherwise")
    monkeypatch.setattr("tuner.report.live.study.read_study", _with(ended))
    store.set("standing", {"stage": "search"})
    store.flush()
    assert "trials" not in live.changes(version, patience_seconds=0.2)
    monkeypatch.setattr(live, "_next_whole", 0.0)
    assert changed(live, version)["trials"]["numbers"] == [0]


def _with(record: TrialRecord) -> Any:
    """`read_study`, which finds this record in the place of that of its number unless it is known."""

    def read(*args: Any, known: Any, **named: Any) -> Any:
        study = read_study(*args, known=known, **named)
        others = {} if record.number in known else {record.number: record}
        return replace(study, records=tuple(others.get(r.number, r) for r in study.records))

    return read
