from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import optuna
import pandas as pd
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.store.study_data import StudyData


@pytest.fixture
def results(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Options for a results folder whose study reads as the simulated one."""
    mixed_paths.database.touch()

    def read_study(paths: StudyPaths, *, study: str, url: str | None = None, with_rungs: bool = True) -> StudyData:
        return mixed.study

    monkeypatch.setattr("tuner.store.reader.read_study", read_study)
    return ["--results", str(tmp_path)]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a study that plain Optuna made: finished, pruned, failed, running and infinite trials."""
    folder = tmp_path_factory.mktemp("results")
    paths = StudyPaths(folder / "foreign")
    paths.folder.mkdir()
    study = optuna.create_study(study_name="foreign", storage=f"sqlite:///{paths.database}", direction="minimize")
    for number in range(12):
        trial = study.ask()
        x = trial.suggest_float("x", 1e-5, 1.0, log=True)
        trial.suggest_categorical("kind", ["a", "=b", None])
        if number == 3:
            study.tell(trial, float("inf"))
        elif number < 8:
            trial.report(x, 1)
            study.tell(trial, x)
        elif number < 11:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED if number == 9 else optuna.trial.TrialState.FAIL)
    return folder


def test_report_selects_orders_and_shapes(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["report", "simulated", *results, "--format", "csv", "--top", "3"]
    assert (
        run_command_line([*arguments, "--columns", "trial,learning_rate", "--sort", "learning_rate", "--reverse"]) == 0
    )
    frame = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(frame.columns) == ["trial", "learning_rate"]
    assert len(frame) == 3
    assert frame["learning_rate"].is_monotonic_decreasing


def test_report_in_a_pipe_is_plain_text(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", "simulated", *results]) == 0
    out = capsys.readouterr().out
    assert out.startswith("rank\ttrial\t")
    assert len(out.splitlines()) == 21
    assert "\x1b" not in out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["csv", "json", "markdown", "html", "parquet"])
def test_report_writes_each_format_to_a_file(results: list[str], name: str, tmp_path: Path) -> None:
    target = tmp_path / "out" / "report"
    assert run_command_line(["report", "simulated", *results, "--format", name, "-o", str(target)]) == 0
    assert target.stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--columns", "trail"], 2, 'Did you mean "trial"?'),
        (["--sort", "nothing_like_it"], 2, "Columns: rank, trial"),
        (["--reverse"], 2, "--sort"),
        (["--excel"], 2, "--format csv"),
    ],
)
def test_report_explains_what_it_cannot_do(
    results: list[str], arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["report", "simulated", *results, *arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.deep
def test_report_write_renews_the_files_of_the_study(results: list[str], mixed_paths: StudyPaths) -> None:
    assert run_command_line(["report", "simulated", *results, "--write"]) == 0
    assert mixed_paths.report_html.exists()
    assert mixed_paths.leaderboard_csv.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "csv", "json", "markdown", "html"])
def test_a_study_of_plain_optuna_is_reported(foreign: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", "foreign", "--results", str(foreign), "--format", name]) == 0
    assert "kind" in capsys.readouterr().out


def test_pruned_and_infinite_trials_of_plain_optuna_are_not_ranked(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["report", "foreign", "--results", str(foreign), "--format", "json"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [t["rank"] for t in trials] == [*range(1, 8), *[None] * 5]
    values = [t["dev_value"] for t in trials[:7]]
    assert values == sorted(values)


def test_a_report_changes_nothing_on_a_read_only_study(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = foreign / "foreign"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    folder.chmod(0o555)
    try:
        assert run_command_line(["report", "foreign", "--results", str(foreign)]) == 0
    finally:
        folder.chmod(0o755)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_an_unknown_study_is_not_found_and_not_made(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", "foriegn", "--results", str(foreign)]) == 4
    assert "Did you mean foreign" in capsys.readouterr().err
    assert not (foreign / "foriegn").exists()


def test_best_prints_yaml_json_or_only_the_parameters(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["best", "simulated", *results, "--format", "json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run_command_line(["best", "simulated", *results, "--format", "json", "--params-only"]) == 0
    assert json.loads(capsys.readouterr().out) == whole["params"]
    assert run_command_line(["best", "simulated", *results]) == 0
    assert f"trial: {whole['trial']}" in capsys.readouterr().out


def test_best_says_when_weights_are_not_there(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["best", "simulated", *results, "--weights"]) == 1
    assert "best/sweep.yaml" in capsys.readouterr().err
    assert run_command_line(["best", "simulated", *results, "--trial", "4000"]) == 2


@pytest.mark.parametrize("content", [b"", b"forged", b"\x80\x04not whole", b"PK\x03\x04"])
def test_damaged_weights_are_named_and_run_no_code(
    results: list[str], mixed_paths: StudyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    pytest.importorskip("safetensors.torch")
    weights = mixed_paths.trial(3).weights
    weights.write_bytes(content)
    target = str(tmp_path / "best.safetensors")
    assert run_command_line(["best", "simulated", *results, "--trial", "3", "--params-only", "--export", target]) == 5
    said = capsys.readouterr().err
    assert f"{weights} holds no weights that can be read safely" in said
    assert len(said.splitlines()) == 1


def test_a_column_is_asked_for_once(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["report", "simulated", *results, "--columns", "trial,state,trial"]) == 2
    assert '--columns names "trial" twice' in capsys.readouterr().err


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named(results: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("/proc/nothing/report.csv", "/dev/null/report.csv"):
        assert run_command_line(["report", "simulated", *results, "--format", "csv", "-o", place]) == 5
        said = capsys.readouterr().err
        assert said.startswith(f"error: {place} cannot be written: ")
        assert len(said.splitlines()) == 1


def test_a_password_is_not_repeated_by_a_mistyped_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["status", "study", "mysql://u:hu sh@h/d"], ["status", "mysql://u:hu sh@h/d"]):
        assert run_command_line(arguments) in (2, 4)
        said = capsys.readouterr().err
        assert "mysql://u:***@h/d" in said
        assert "hu sh" not in said


def test_best_exports_safetensors(results: list[str], mixed_paths: StudyPaths, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    import torch

    weights = mixed_paths.trial(3).weights
    torch.save({"1.weight": torch.arange(6.0).reshape(2, 3)}, weights)
    target = tmp_path / "best.safetensors"
    assert (
        run_command_line(["best", "simulated", *results, "--trial", "3", "--params-only", "--export", str(target)]) == 0
    )
    assert safetensors.load_file(target)["1.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_an_export_of_another_kind_is_refused(results: list[str], mixed_paths: StudyPaths, tmp_path: Path) -> None:
    mixed_paths.trial(3).weights.touch()
    assert run_command_line(["best", "simulated", *results, "--trial", "3", "--export", str(tmp_path / "net.h5")]) == 2


@pytest.mark.slow
def test_compare_prints_a_table_and_draws(
    results: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.png"
    assert run_command_line(["compare", "simulated:0", "simulated", *results, "--plot", str(plot)]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "\tsimulated:0\tsimulated\tdifference"
    assert "on the same dev examples" in captured.err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert run_command_line(["compare", "simulated", "simulated", *results, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]


@pytest.mark.slow
def test_a_copied_results_folder_still_reports(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "results"
    shutil.copytree(foreign, elsewhere)
    assert run_command_line(["report", str(elsewhere / "foreign")]) == 0


def test_a_renamed_folder_says_what_to_call_it(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(foreign / "foreign", tmp_path / "my best")
    assert run_command_line(["report", str(tmp_path / "my best")]) == 4
    said = capsys.readouterr().err
    assert 'holds study "foreign"' in said
    assert f"rename {tmp_path / 'my best'} to {tmp_path / 'foreign'}" in said
