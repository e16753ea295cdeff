"""Every command that reads data beside a study refuses those that the study was not trained on, and stores nothing."""

from __future__ import annotations

import random
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.cli.main import run_command_line
from tuner.errors import StudyMismatchError
from tuner.paths import StudyPaths
from tuner.store.reader import read_study

SWEEP = """
study: coins
data: {source: coins.csv, split: {train: 0.6, dev: 0.2, test: 0.2}}
model: {kind: mlp, hidden_units: 16}
training: {epochs: 2, batch_size: 32}
space: {learning_rate: {low: 1e-3, high: 1e-1}}
search: {trials: 2, strategy: random}
"""
pytestmark = pytest.mark.usefixtures("quick_apart")

READING = {
    "test": ["test", "coins"],
    "verify": ["best", "coins", "--verify"],
    "export": ["best", "coins", "--export", "exported"],
    "confirm": ["confirm", "coins", "--workers", "1"],
    "learning-curve": ["learning-curve", "coins", "--workers", "1"],
    "run": ["run", "coins.yaml", "--engine", "inline", "-q", "--trials", "4"],
}


def save_coins(file: Path, *, decimals: int) -> None:
    """The same table, to so many decimals: numbers of no meaning with flips of a coin."""
    draw = random.Random(0)
    rows = [[f"{draw.gauss(0, 1):.4f}" for _ in range(4)] + [str(draw.randint(0, 1))] for _ in range(80)]
    rows = [[f"{float(value):.{decimals}f}" for value in row[:-1]] + row[-1:] for row in rows]
    file.write_text("\n".join(",".join(row) for row in [["a", "b", "c", "d", "y"], *rows]) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a table, which no test changes."""
    folder = tmp_path_factory.mktemp("coins")
    save_coins(folder / "coins.csv", decimals=4)
    (folder / "coins.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command_line(["run", "coins.yaml", "--engine", "inline", "-q"]) == 0
    return folder


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyPaths]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_COLOR", "1")
    yield StudyPaths(folder / "results" / "coins")
    save_coins(folder / "coins.csv", decimals=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", READING)
def test_a_table_that_was_saved_anew_is_refused_and_nothing_is_stored(
    name: str, study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_study(study, study="coins")
    save_coins(Path("coins.csv"), decimals=3)
    assert run_command_line(READING[name]) == 4
    said = capsys.readouterr().err
    assert "the train and dev examples are not those that the study was trained on" in said
    assert "the test examples are not those that were set aside" in said
    assert "put" in said
    assert "--fresh" in said
    after = read_study(study, study="coins")
    assert (after.records, after.finalists, after.facts) == (before.records, before.finalists, before.facts)
    assert not Path("exported").exists()


@pytest.mark.slow
def test_put_back_the_table_is_known_again(study: StudyPaths) -> None:
    for name in ("verify", "export"):
        assert run_command_line(READING[name]) == 0


def test_the_loader_of_the_winner_knows_its_data(study: StudyPaths) -> None:
    predict = str(study.best / "predict.py")
    assert "DATA" in runpy.run_path(predict)
    save_coins(Path("coins.csv"), decimals=3)
    with pytest.raises(StudyMismatchError, match="does not give what the study was trained on"):
        runpy.run_path(predict)
