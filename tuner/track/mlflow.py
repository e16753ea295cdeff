"""MLflow: a run for the study, and a child run for each trial and each finalist's re-training."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from tuner.imports import require
from tuner.records import EpochResult, TrialRecord, TrialState
from tuner.track.kept import KeptRuns
from tuner.track.tracker import TrackedRun, Tracker, is_finalist, marks_of

_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""What holds unless the environment says otherwise: a server that is gone is found out in seconds, not in minutes."""
_MOST_METRICS = 1000
"""In one request, as the server allows."""
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAILED: "FAILED"}


class MlflowTracker(Tracker):
    """Writes to the server that `MLFLOW_TRACKING_URI` names, else where MLflow itself would.

    The experiment is that of `MLFLOW_EXPERIMENT_NAME`, else has the study's name.
    """

    def open(self) -> str:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        mlflow: Any = require("mlflow", extra="mlflow")
        self._entities: Any = require("mlflow.entities", extra="mlflow")
        self._client: Any = mlflow.MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or self.study
        found = self._client.get_experiment_by_name(name)
        self._experiment: str = found.experiment_id if found else self._client.create_experiment(name)
        kept = KeptRuns(self.folder / "parent.jsonl")
        parent = kept.run("study")
        if parent.id:
            self._client.update_run(parent.id, status="RUNNING")
        else:
            parent.id = self._new_run(self.study, {"tuner.metric": self.metric, "tuner.direction": str(self.direction)})
            kept.keep(parent)
        self._parent = parent.id
        return f"experiment {name} at {mlflow.get_tracking_uri()}"

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        if run.id:
            self._client.update_run(run.id, status="RUNNING")
            return
        tags = {"mlflow.parentRunId": self._parent, **_tags_of(record)}
        run.id = self._new_run(record.name, {**tags, "tuner.run": run.name})
        self._client.log_batch(run.id, params=self._params(record))

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        now = int(time.time() * 1000)
        points = [
            self._entities.Metric(name, value, now, result.epoch)
            for result in results
            for name, value in self.values_of(result).items()
        ]
        for first in range(0, len(points), _MOST_METRICS):
            self._client.log_batch(run.id, metrics=points[first : first + _MOST_METRICS])

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        now = int(time.time() * 1000)
        outcome = [self._entities.Metric(k, v, now, record.epochs) for k, v in self.outcome_of(record).items()]
        tags = [self._entities.RunTag(name, text) for name, text in _tags_of(record).items()]
        self._client.log_batch(run.id, metrics=outcome, tags=tags, params=self._params(record))
        self._client.set_terminated(run.id, status=_STATUS[record.state])

    def suspend(self, run: TrackedRun) -> None:
        self._client.update_run(run.id, status="SCHEDULED")

    def finish(self, run: TrackedRun | None, best: TrialRecord | None) -> None:
        """Give the study's run the report, the table, the best weights and the best trial's values; mark that trial."""
        for path in (self.paths.report_html, self.paths.leaderboard_csv):
            if path.is_file():
                self._client.log_artifact(self._parent, str(path))
        for path in sorted(self.paths.best.iterdir()) if self.paths.best.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                self._client.log_artifact(self._parent, str(path), "best")
        if run is not None and best is not None:
            now = int(time.time() * 1000)
            outcome = [self._entities.Metric(k, v, now, 0) for k, v in self.outcome_of(best).items()]
            before = self._client.get_run(self._parent).data.tags.get("tuner.best_run", run.id)
            if before != run.id:  # the study was finished before, with fewer trials
                self._client.delete_tag(before, "tuner.best")
            self._client.set_tag(run.id, "tuner.best", "true")
            tags = [self._entities.RunTag("tuner.best", best.name), self._entities.RunTag("tuner.best_run", run.id)]
            self._client.log_batch(self._parent, metrics=outcome, tags=tags)
        self._client.set_terminated(self._parent, status="FINISHED")
        self._parent = ""

    def close(self) -> None:
        if self._parent:
            self._client.update_run(self._parent, status="SCHEDULED")

    def _params(self, record: TrialRecord) -> list[Any]:
        return [self._entities.Param(name, str(value)) for name, value in record.params.items()]

    def _new_run(self, name: str, tags: dict[str, str]) -> str:
        made = self._client.create_run(self._experiment, run_name=name, tags={"tuner.study": self.study, **tags})
        return str(made.info.run_id)


def _tags_of(record: TrialRecord) -> dict[str, str]:
    finalist = {"tuner.finalist": "true"} if is_finalist(record) else {}
    return {**finalist, **{f"tuner.{name}": text for name, text in marks_of(record).items()}}
