"""Runs on a real MLflow server, whose backend is SQLite, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.track.mlflow_server import mlflow_server
from tests.track.parts import ended, record, result, study_in, write_curve
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialState
from tuner.track.mlflow import MlflowTracker
from tuner.track.told import TellTracker

pytestmark = pytest.mark.deep
pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
pytest.importorskip("flask_cors", reason="what MLflow's server needs is not installed")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with mlflow_server(tmp_path) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        yield url


def _tell(paths: StudyPaths, *before: Any) -> TellTracker:
    tell = TellTracker(MlflowTracker("mine", paths, folder=paths.tracker("notes")))
    tell.opened(before, metric="accuracy", direction=Direction.MAXIMIZE)
    return tell


@pytest.mark.filterwarnings("ignore")  # of MLflow's and its libraries' own
def test_a_study_is_a_run_with_children_that_are_gone_on_with(server: str, tmp_path: Path) -> None:
    import mlflow

    paths = study_in(tmp_path)
    write_curve(paths.trial(1), 1)
    tell = _tell(paths)
    assert tell.where == f"experiment mine at {server}"
    tell.started([record(0, 0)])
    tell.epochs(record(0, 2), [result(1), result(2)])
    tell.close()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("mine").experiment_id
    assert {run.info.status for run in client.search_runs([experiment])} == {"SCHEDULED"}

    tell = _tell(paths, record(0, 2), ended(1, 1, TrialState.PRUNED))
    tell.started([record(0, 2)])
    tell.epochs(record(0, 3), [result(3)])
    tell.ended(ended(0, 3))
    tell.ended(record(0, 0, TrialState.COMPLETE, finalist_of=0))
    paths.best.mkdir()
    for path in (paths.report_html, paths.leaderboard_csv, paths.best / "weights.pt"):
        path.write_text("x")
    tell.finished(ended(1, 1, TrialState.PRUNED))
    tell.close()
    tell = _tell(paths, ended(0, 3), ended(1, 1, TrialState.PRUNED))
    tell.finished(ended(0, 3))
    tell.close()

    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert runs.keys() == {"mine", "trial 0", "trial 1", "finalist 0, seed 1 of 2"}
    trial = runs["trial 0"]
    points = client.get_metric_history(trial.info.run_id, "dev/accuracy")
    assert [(p.step, round(p.value, 5)) for p in points] == [(1, 0.09), (2, 0.18), (3, 0.27)]
    assert trial.data.params == {"learning_rate": "0.1", "optimizer": "adam", "nesterov": "True"}
    assert round(trial.data.metrics["best/accuracy"], 5) == 0.27
    assert {name: run.info.status for name, run in runs.items()} == {
        "mine": "FINISHED", "trial 0": "FINISHED", "trial 1": "KILLED", "finalist 0, seed 1 of 2": "FINISHED",
    }  # fmt: skip
    finalist, parent = runs["finalist 0, seed 1 of 2"], runs["mine"]
    assert (finalist.data.tags["tuner.finalist"], finalist.data.tags["tuner.finalist_of"]) == ("true", "trial 0")
    assert {run.data.tags.get("mlflow.parentRunId") for run in runs.values()} == {None, parent.info.run_id}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "report.html",
        "leaderboard.csv",
        "best",
    }
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "best")] == ["best/weights.pt"]
    assert parent.data.tags["tuner.best"] == "trial 0"
    assert [name for name, run in runs.items() if run.data.tags.get("tuner.best") == "true"] == ["trial 0"]
