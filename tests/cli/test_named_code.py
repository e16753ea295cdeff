"""A study is a record: no command runs code that only a database names, whichever key it stands under."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tuner.cli.main import COMMANDS, run_command_line
from tuner.paths import StudyPaths
from tuner.report.live.server import LiveServer

pytestmark = pytest.mark.usefixtures("quick_apart")

EVIL = """
from pathlib import Path
Path(__file__).with_name("it ran").touch()
def load(*_): raise RuntimeError
"""
SWEEP = """
study: sent
data: {source: sklearn/iris}
model: {kind: mlp, hidden_units: 4}
training: {epochs: 1, batch_size: 32}
space: {learning_rate: {low: 1e-3, high: 1e-1}}
search: {trials: 3, strategy: random}
"""
FILE = "results/sent/trials/evil.py"
FUNCTION = f"{FILE}:load"
KEYS: dict[str, dict[str, Any]] = {
    "data.source": {"data": {"source": FUNCTION}},
    "data.test": {"data": {"source": "sklearn/iris", "test": FUNCTION}},
    "model": {"model": {"kind": FUNCTION}},
    "objective.metric": {"objective": {"metric": FUNCTION, "direction": "maximize"}},
    "training.loss": {"training": {"epochs": 1, "loss": FUNCTION}},
    "training.optimizer": {"training": {"epochs": 1, "optimizer": FUNCTION}},
    "search.strategy": {"search": {"trials": 3, "strategy": FUNCTION}},
    "search.pruner": {"search": {"trials": 3, "strategy": "random", "pruner": FUNCTION}},
    "trainer": {"trainer": FUNCTION, "objective": {"metric": "accuracy"}},
    "command": {"command": f"python {FILE}", "objective": {"metric": "accuracy"}},
}
RUNNING = (
    ["test", "sent"], ["best", "sent", "--verify"], ["best", "sent", "--export", "out"], ["confirm", "sent"],
    ["best", "sent", "--export", "out.onnx"], ["best", "results/sent", "--verify"], ["best", "sent", "--refit"],
    ["predict", "sent", "new.csv"], ["learning-curve", "sent"],
)  # fmt: skip
READING = (
    ["status", "sent"], ["show", "sent", "0"], ["logs", "sent", "0"], ["report", "sent", "--write"], ["best", "sent"],
    ["refine", "sent", "--force"], ["compare", "sent", "sent:0"], ["doctor", "sent"], ["dashboard", "sent"],
    ["best", "sent", "--export", "out.safetensors"], ["note", "sent", "0", "odd"], ["ls"],
    ["watch", "sent"],
)  # fmt: skip
WITHOUT_A_STUDY = {"init", "check", "lr-find", "run", "schema"}
"""Commands that take a sweep file, which is the user's word, or nothing."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study, into which somebody has put a file."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "sweep.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    (folder / FILE).write_text(EVIL)
    (folder / "new.csv").write_text("sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n1,2,3,4\n")
    return folder


@pytest.fixture
def sent(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sent"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(LiveServer, "serve_forever", look_at_all)
    if find_spec("optuna_dashboard"):
        monkeypatch.setattr("optuna_dashboard.run_server", lambda *_, **__: None)
    return folder


def look_at_all(server: LiveServer, **given: object) -> None:
    """Make what a browser asks for, and go."""
    for study in server.studies().values():
        assert study.page()
        study.sections()
        study.changes(-1)
        study.curves([0])


def forge(folder: Path, **parts: Any) -> None:
    """Let the database name a file, relative to the current folder."""
    with closing(sqlite3.connect(StudyPaths(folder / "results" / "sent").database)) as connection, connection:
        query = "SELECT value_json FROM study_user_attributes WHERE key = 'sweep'"
        sweep = json.loads(connection.execute(query).fetchone()[0]) | parts
        if "command" in parts or "trainer" in parts:
            del sweep["model"]
        for key, value in (("sweep", sweep), ("root", ".")):
            connection.execute(
                "UPDATE study_user_attributes SET value_json = ? WHERE key = ?", (json.dumps(value), key)
            )


def has_run(folder: Path) -> bool:
    return (folder / FILE).with_name("it ran").exists()


def test_every_command_is_looked_at() -> None:
    assert {arguments[0] for arguments in (*RUNNING, *READING)} | WITHOUT_A_STUDY == set(COMMANDS)


@pytest.mark.slow
def test_what_only_reads_runs_nothing(sent: Path) -> None:
    everything: dict[str, Any] = {}
    for key in ("data.test", "model", "objective.metric", "training.loss"):
        everything |= KEYS[key]
    for parts in (everything, KEYS["command"]):
        forge(sent, **parts)
        for arguments in READING:
            run_command_line(arguments)
            assert not has_run(sent), arguments


@pytest.mark.parametrize("key", KEYS)
def test_no_command_runs_what_a_database_names(key: str, sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge(sent, **KEYS[key])
    for arguments in RUNNING:
        assert run_command_line(arguments) == 2
        said = capsys.readouterr().err
        assert not has_run(sent), arguments
        if "is trained by your own" not in said:  # which is not scored here at all
            assert 'study "sent" needs code that only its database names' in said
            assert f"{sent / FILE} (SHA-256 {hashlib.sha256(EVIL.encode()).hexdigest()})" in said


def test_the_command_to_type_instead_is_said(sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forge(sent, model={"kind": FUNCTION})
    assert run_command_line(["best", "results/sent", "--verify"]) == 2
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "name it by your own sweep file: tuner best sweep.yaml --verify",
        "or, if you have looked at these files: tuner best results/sent --verify --allow-code",
    ]


@pytest.mark.slow
def test_code_runs_when_the_user_names_it(sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sent / "net.py").write_text(
        "from torch import nn\n\ndef build(params, data):\n    return nn.Sequential(nn.Linear(4, 3))\n"
    )

    (sent / "own.yaml").write_text(SWEEP.replace("model: {kind: mlp, hidden_units: 4}", "model: net.py:build"))
    assert run_command_line(["run", "own.yaml", "--engine", "inline", "-q", "--fresh"]) == 0
    for arguments in (["best", "own.yaml", "--verify"], ["best", "own.yaml", "--export", "out"]):
        assert run_command_line(arguments) == 0
    capsys.readouterr()
    assert run_command_line(["best", "sent", "--verify"]) == 2
    assert "tuner best own.yaml --verify\n" in capsys.readouterr().err
    assert run_command_line(["best", "sent", "--verify", "--allow-code"]) == 0
    digest = hashlib.sha256((sent / "net.py").read_bytes()).hexdigest()
    assert f"running the code that the study names:\n  model: net.py:build\n  {sent}/net.py (SHA-256 {digest})" in (
        capsys.readouterr().err
    )
    # A sweep file speaks for the code that is in it, and for no other.
    forge(sent, model={"kind": FUNCTION})
    assert run_command_line(["best", "own.yaml", "--verify"]) == 4
    assert f"model: was {FUNCTION}, is net.py:build" in capsys.readouterr().err
    assert not has_run(sent)


def test_a_path_in_the_folder_that_was_sent_is_not_suggested(sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sent / "results" / "sent" / "theirs.yaml").write_text(SWEEP)
    (sent / "sweep.yaml").unlink()
    forge(sent, model={"kind": FUNCTION})
    with closing(sqlite3.connect(StudyPaths(sent / "results" / "sent").database)) as connection, connection:
        command = json.dumps("tuner run results/sent/theirs.yaml; echo")
        connection.execute("UPDATE study_user_attributes SET value_json = ? WHERE key = 'command'", (command,))
    assert run_command_line(["test", "sent"]) == 2
    assert "name it by your own sweep file: tuner test SWEEP.yaml\n" in capsys.readouterr().err
