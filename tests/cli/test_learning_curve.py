"""`tuner learning-curve`: what it refuses, and a curve from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_other_data import SWEEP, save_coins
from tests.cli.test_study_commands import call
from tests.contracts.store_contract import SPACE, train
from tests.store.studies import reopen
from tuner.cli.learning_curve import learning_curve
from tuner.cli.main import run_command_line
from tuner.errors import TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import TrialFinished
from tuner.store.reader import read_study


def make_study(results: Path, *, num_train: int, trainer: str | None = None, finished: bool = True) -> None:
    with reopen(StudyPaths(results / "digits")) as store:
        spec = {"study": "digits", "data": {"source": "sklearn/digits"}, "trainer": trainer}
        store.set("sweep", {key: value for key, value in spec.items() if value is not None})
        store.set("data", {"num_train": num_train, "class_names": ["a", "b"]})
        store.start([(SPACE.default(), 1, "default")])
        train(store, 0, [0.5])
        if finished:
            store.record(TrialFinished(trial=0, reason="all epochs"))


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ("a,b", "--shares a,b: write percentages with commas between them, as in 25,50,100"),
        ("0,100", "--shares 0,100: each must lie above 0 and at most at 100"),
        ("50,nan", "--shares 50,nan: each must lie above 0 and at most at 100"),
        ("50", "--shares 50: a curve needs two parts at least, as in 50,100"),
        ("1,100", "--shares: 1 % of 200 training examples are 2, and 10 are needed; begin at 5 or more"),
    ],
)
def test_shares_that_cannot_be_trained_on_are_refused(tmp_path: Path, shares: str, said: str) -> None:
    make_study(tmp_path, num_train=200)
    assert (
        str(call(learning_curve, "digits", "--results", tmp_path, "--shares", shares, error=UsageError).exception)
        == said
    )


def test_a_study_without_a_finished_trial_is_refused(tmp_path: Path) -> None:
    make_study(tmp_path, num_train=200, finished=False)
    assert "has finished yet" in str(call(learning_curve, "digits", "--results", tmp_path, error=TunerError).exception)


@pytest.mark.deep
def test_a_curve_is_trained_once_shown_in_the_report_and_added_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_coins(Path("coins.csv"), decimals=4)
    Path("coins.yaml").write_text(SWEEP)
    assert run_command_line(["run", "coins.yaml", "--engine", "inline", "-q"]) == 0
    words = ["learning-curve", "coins", "--shares", "50,100", "--workers", "1", "--json", "--seeds"]
    capfd.readouterr()
    shown = []
    for seeds in ("2", "2", "3"):
        assert run_command_line([*words, seeds]) == 0
        shown.append(json.loads(capfd.readouterr().out))
    assert shown[0] == shown[1]
    assert [len(point["seeds"]) for point in shown[2]["points"]] == [3, 3]
    assert [point["seeds"][:2] for point in shown[2]["points"]] == [point["seeds"] for point in shown[0]["points"]]
    assert [point["examples"] for point in shown[2]["points"]] == [24, 48]
    paths = StudyPaths(tmp_path / "results" / "coins")
    study = read_study(paths, study="coins")
    assert len(study.on_parts) == 6
    assert shown[2]["summary"][0] in json.loads(paths.leaderboard_json.read_text())["summary"]
    assert [record.state.value for record in study.records] == ["complete", "complete"]
