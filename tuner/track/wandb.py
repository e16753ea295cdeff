"""Weights & Biases: a run for each trial and each finalist's re-training, in a group of the study."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from typing import Any

from tuner.imports import require
from tuner.records import EpochResult, TrialRecord, TrialState
from tuner.track.tracker import TrackedRun, Tracker, is_finalist, marks_of

_DEFAULTS = {"WANDB_SILENT": "true", "WANDB_CONSOLE": "off", "WANDB_ERROR_REPORTING": "false"}
"""What holds unless the environment says otherwise."""


class WandbTracker(Tracker):
    """Writes to the project of `WANDB_PROJECT`, else `tuner`; `WANDB_MODE=offline` keeps all in the study's folder."""

    def open(self) -> str:
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        self._wandb: Any = require("wandb", extra="wandb")
        self._project = os.environ.get("WANDB_PROJECT") or "tuner"
        self._open: dict[str, Any] = {}
        if os.environ.get("WANDB_MODE") == "offline":
            return f"offline runs in {self.folder / 'wandb'}; to send them: wandb sync FOLDER/offline-run-*"
        return f"project {self._project}, group {self.study}"

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        run.id = run.id or f"{secrets.token_hex(4)}-{run.name}"
        self._open[run.name] = self._wandb.init(
            project=self._project, group=self.study, name=record.name, id=run.id, resume="allow",
            dir=str(self.folder), config={**record.params, "seed": record.seed}, reinit="create_new",
            job_type="finalist" if is_finalist(record) else "trial",
            tags=[record.tier] if record.tier else [],  # which of a finalist is `finalist`
        )  # fmt: skip

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        for result in results:
            self._open[run.name].log({**self.values_of(result), "epoch": result.epoch}, step=result.epoch)

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        self._open[run.name].summary.update({**self.outcome_of(record), **marks_of(record)})
        self._open.pop(run.name).finish(exit_code=int(record.state is TrialState.FAILED))

    def suspend(self, run: TrackedRun) -> None:
        if held := self._open.pop(run.name, None):
            held.finish()

    def close(self) -> None:
        """Wait until its own process has written everything: it does so some time after a run is finished."""
        self._wandb.teardown()
