"""Commands that are printed can be pasted into a shell as they are, and find the study again."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner

from tests.contracts.store_contract import SPACE
from tests.store.studies import make_study, reopen
from tuner.cli.best import best
from tuner.cli.command_line import run_command, stored_command, study_command
from tuner.cli.locate import Location, locate
from tuner.cli.report import report
from tuner.cli.show import show
from tuner.cli.status import status
from tuner.errors import TunerError
from tuner.paths import StudyPaths
from tuner.store.engines import quiet_optuna


def printed(command: object, *arguments: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_command_on_a_study_finds_it_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = Path("it's here") / "all results"
    make_study(StudyPaths(results / "digits"))
    folder = results / "digits"
    for arguments in (["digits", "--results", str(results)], [str(folder)]):
        said = json.loads(printed(status, *arguments, "--json"))["next"]
        words = shlex.split(said.partition("   (")[0])
        assert words[:2] == ["tuner", "report"]
        assert "complete" in printed(report, *words[2:])
    store = str(tmp_path / "a b.db")
    with reopen(StudyPaths(results / "other"), study="other", url=store) as opened:
        opened.set("sweep", {"study": "other", "search": {"trials": 3}})
        opened.start([(SPACE.default(), 1, "")])
    where = ("--results", str(results), "--store", store)
    said = json.loads(printed(status, "other", *where, "--json"))["next"]
    assert shlex.split(said.partition("   (")[0]) == ["tuner", "run", "SWEEP", *where]
    refused = CliRunner().invoke(best, ["other", *where]).exception
    assert isinstance(refused, TunerError)
    assert shlex.split(str(refused).rpartition("with: ")[2]) == ["tuner", "status", "other", *where]


def test_a_sweep_file_of_a_study_is_run_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    location = Location("s", StudyPaths(tmp_path / "o ut" / "s"), "postgresql://me:hush@db/x", results=Path("o ut"))
    command = run_command(location.paths.best / "sweep.yaml", location)
    assert command == "tuner run 'o ut/s/best/sweep.yaml' --results 'o ut' --store 'postgresql://me:***@db/x'"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ("tuner run 'my sweeps/a.yaml' -n 8", "tuner run 'my sweeps/a.yaml' -n 8"),
        ("tuner run a.yaml; rm -rf ~", "tuner run 'a.yaml;' rm -rf '~'"),
        ("tuner run $(reboot)", "tuner run '$(reboot)'"),
        ("rm -rf ~", None),
        ("tuner run 'open", None),
        (None, None),
        (["tuner", "run"], None),
    ],
)
def test_a_command_out_of_a_database_runs_nothing_else(stored: object, expected: str | None) -> None:
    assert stored_command(stored) == expected


@pytest.mark.slow
def test_a_study_that_optuna_wrote_shows_what_it_knows_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "sqlite:///mine.db"
    with quiet_optuna():
        study = optuna.create_study(study_name="mine", storage=url, direction="maximize")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
        study.enqueue_trial({"x": 0.5})
    where = ("--store", url)
    rows = json.loads(printed(report, "mine", "--format", "json", *where))["trials"]
    unknown = ("seed", "parameters", "epochs", "best_epoch")
    assert [[row[name] for name in unknown] for row in rows] == [[None] * 4] * 4
    assert all(row["dev_value"] == row["x"] and row["seconds"] >= 0 for row in rows[:3])
    said = printed(status, "mine", *where)
    assert re.search(rf"^next +tuner report mine --store {re.escape(url)}$", said, re.MULTILINE)
    assert "epoch" not in said
    said = printed(show, "mine", 1, *where)
    assert not re.search("^(seed|tier|attempts|parameters)", said, re.MULTILINE)
    assert re.search("^epochs +not known", said, re.MULTILINE)
    found = json.loads(printed(best, "mine", "--format", "json", *where))
    assert (found["seed"], found["parameters"]) == (None, None)
    assert locate("mine", results=Path("results"), store=url).argument == "mine"
    assert study_command("show", locate("mine", results=Path("r"), store=url), "1") == (
        f"tuner show mine 1 --results r --store {url}"
    )
