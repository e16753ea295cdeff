"""TensorBoard: event files in the study's folder, one folder for each run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.imports import require
from tuner.records import EpochResult, TrialRecord, TrialState
from tuner.track.tracker import TrackedRun, Tracker, marks_of


class TensorBoardTracker(Tracker):
    """Scalars by epoch, and what the HParams tab reads: the hyperparameters, with what came of them."""

    def open(self) -> str:
        """Load what writes event files."""
        self._files: Any = require("tensorboard.summary.writer.event_file_writer", extra="tensorboard")
        self._events: Any = require("tensorboard.compat.proto.event_pb2", extra="tensorboard")
        self._summaries: Any = require("tensorboard.compat.proto.summary_pb2", extra="tensorboard")
        self._hparams: Any = require("tensorboard.plugins.hparams.summary_v2", extra="tensorboard")
        self._hparams_data: Any = require("tensorboard.plugins.hparams.plugin_data_pb2", extra="tensorboard")
        self._hparams_api: Any = require("tensorboard.plugins.hparams.api_pb2", extra="tensorboard")
        self._tags: Any = require("tensorboard.plugins.hparams.metadata", extra="tensorboard")
        self._open: dict[str, Any] = {}
        return f"tensorboard --logdir {shlex.quote(str(self.folder))}"

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        is_new = not run.id
        run.id = run.name
        if is_new:
            shown = {"tier": record.tier} | {k: v for k, v in marks_of(record).items() if k == "finalist_of"}
            self._write(run, self._hparams.hparams_pb({**record.params, **shown}, trial_id=run.name))

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        for result in results:
            self._write(run, self._scalars(self.values_of(result)), step=result.epoch)

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        self._write(run, self._scalars(self.outcome_of(record)), step=record.epochs)
        failed = record.state is TrialState.FAILED
        status = self._hparams_api.Status.Value("STATUS_FAILURE" if failed else "STATUS_SUCCESS")
        ended = self._hparams_data.SessionEndInfo(status=status, end_time_secs=time.time())
        content = self._hparams_data.HParamsPluginData(session_end_info=ended)
        metadata = self._tags.create_summary_metadata(content)
        tag = self._tags.SESSION_END_INFO_TAG
        value = self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=self._tags.NULL_TENSOR)
        self._write(run, self._summaries.Summary(value=[value]))
        self.suspend(run)

    def suspend(self, run: TrackedRun) -> None:
        if writer := self._open.pop(run.name, None):
            writer.close()

    def _scalars(self, values: Mapping[str, float]) -> Any:
        value = self._summaries.Summary.Value
        return self._summaries.Summary(value=[value(tag=tag, simple_value=number) for tag, number in values.items()])

    def _write(self, run: TrackedRun, summary: Any, *, step: int = 0) -> None:
        if run.name not in self._open:
            self._open[run.name] = self._files.EventFileWriter(str(self.folder / run.name), flush_secs=5)
        self._open[run.name].add_event(self._events.Event(summary=summary, step=step, wall_time=time.time()))
