"""A run of a study of which nothing is left: it says so without workers, as long as nothing has changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuner.paths import StudyPaths
from tuner.python.run import start
from tuner.spec.model import SweepSpec
from tuner.spec.reader import read_sweep
from tuner.store.notes import Note, add_note
from tuner.sweep.options import RunOptions
from tuner.sweep.outcome import Outcome, finished_before

pytestmark = pytest.mark.slow

SWEEP = """
study: small
data: {source: data.csv}
model: file.py:build
space: {learning_rate: {low: 1e-3, high: 1e-1}}
training: {epochs: 1}
search: {trials: 2, strategy: random}
finalists: null
"""
CODE = """
from torch import nn


def build(params, data):
    return nn.Linear(1, data.num_outputs)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep file, its data, its model and its study, which is finished."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "s.yaml").write_text(SWEEP)
    (folder / "file.py").write_text(CODE)
    (folder / "data.csv").write_text("x,y\n" + "".join(f"{n % 7}.5,{'ab'[n % 7 > 3]}\n" for n in range(60)))
    outcome = start(spec_in(folder), options(folder), quiet=True)
    outcome.finish()
    assert outcome.complete
    assert not outcome.nothing_was_left
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The same, in which a test may change what it likes."""
    shutil.copytree(finished, tmp_path / "before")
    yield finished
    shutil.rmtree(finished)
    shutil.move(tmp_path / "before", finished)


def spec_in(folder: Path, **changes: Any) -> SweepSpec:
    overrides = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in changes.items()]
    return read_sweep(folder / "s.yaml", overrides=overrides).spec


def options(folder: Path) -> RunOptions:
    return RunOptions(results=folder / "results", engine="inline")


def again(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Outcome | None:
    """How a run ends that cannot start a worker; None if it tried to."""

    class StartedError(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise StartedError

    monkeypatch.setattr("tuner.sweep.run.open_executor", refuse)
    try:
        outcome = start(spec_in(folder, **changes), options(folder), quiet=True)
    except StartedError:
        return None
    outcome.finish()
    return outcome


def reports(folder: Path) -> dict[str, int]:
    paths = StudyPaths(folder / "results" / "small")
    return {p.name: p.stat().st_mtime_ns for p in (paths.report_html, paths.leaderboard_csv, paths.leaderboard_json)}


def test_nothing_is_started_or_written_where_nothing_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = reports(folder)
    outcome = again(folder, monkeypatch)
    assert outcome is not None
    assert outcome.nothing_was_left
    assert outcome.complete
    assert outcome.any_complete
    assert outcome.search_end == "all 2 trials"
    assert outcome.conclusion.cells["rank"] == [1, 2]
    assert reports(folder) == before


def add_a_note(folder: Path) -> None:
    note = Note(trial=0, text="a good one", at="2026-01-01T00:00:00+00:00")
    add_note(StudyPaths(folder / "results" / "small").notes, note)


@pytest.mark.parametrize(
    "change",
    [add_a_note, lambda folder: (folder / "results" / "small" / "report.html").unlink()],
    ids=["a note", "no page"],
)
def test_reports_of_another_state_are_written_anew_without_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    change(folder)
    before = (folder / "results" / "small" / "leaderboard.csv").stat().st_mtime_ns
    assert again(folder, monkeypatch) is not None
    after = reports(folder)
    assert after["leaderboard.csv"] > before
    assert again(folder, monkeypatch) is not None
    assert reports(folder) == after


def append(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(text)

    return change


@pytest.mark.parametrize(
    "change",
    [
        append("data.csv", "9.5,b\n"),
        append("file.py", "# changed\n"),
        append("results/small/conclusion.json", "}"),
        lambda folder: (folder / "data.csv").unlink(),
        lambda folder: (folder / "results" / "small" / "study.db").unlink(),
        lambda folder: (
            (folder / "results" / "small" / "pending").mkdir()
            or (folder / "results" / "small" / "pending" / "x.json").touch()
        ),
    ],
    ids=["data", "code", "what was noted", "no data", "no study", "results that wait"],
)
def test_a_run_looks_at_all_of_it_where_something_has_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    change(folder)
    assert again(folder, monkeypatch) is None


@pytest.mark.parametrize(
    "changes", [{"search__trials": 3}, {"training__epochs": 2}, {"finalists": {"count": 1}}, {"track": ["tensorboard"]}]
)
def test_another_sweep_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]) -> None:
    assert again(folder, monkeypatch, **changes) is None


@pytest.mark.parametrize("asked", [{"fresh": True}, {"retry_failed": True}])
def test_what_is_asked_for_is_done(folder: Path, asked: dict[str, bool]) -> None:
    assert finished_before(spec_in(folder), options(folder)) is not None
    assert finished_before(spec_in(folder), replace(options(folder), **asked)) is None


def test_the_command_imports_nothing_heavy_and_prints_the_table(folder: Path) -> None:
    code = (
        "import sys; from tuner.cli.main import run_command_line; code = run_command_line(sys.argv[1:]); "
        "print([m for m in sys.modules if '.' not in m], file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, "run", "s.yaml"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    *_, modules = ended.stderr.splitlines()
    heavy = "torch", "scipy", "sklearn", "matplotlib", "pandas", "numpy", "optuna", "alembic", "sqlalchemy"
    assert not [name for name in heavy if f"'{name}'" in modules]
    assert ended.stdout.splitlines()[1].startswith("1\t")
    assert "nothing is left to train" in ended.stderr
    assert "finished: all 2 trials" in ended.stderr
