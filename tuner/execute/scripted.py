"""A public fake: an executor whose trials follow a script, for testing search, stores, reports and commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuner.execute.facts import TaskFacts
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    FailureReason,
    Params,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialPaused,
    TrialStarted,
)

Curve = Callable[[Params, int], float]
"""(parameters, epoch) to the dev metric after that epoch; a NaN says that the trial diverges there."""


class ScriptedExecutor:
    """See `execute.executor.Executor`. Trains nothing; each call of `events` ends the oldest job.

    `trained` is what checkpoints are to other executors: given to the next executor, trials go on from there.
    """

    def __init__(self, curve: Curve, *, epochs: int, width: int = 1, direction: Direction = Direction.MAXIMIZE) -> None:
        """Follow a script.

        Args:
            curve: What each epoch of each configuration measures.
            epochs: Epochs of a full training.
            width: How many jobs it takes at once.
            direction: Of the metric.
        """
        self.curve = curve
        self.num_epochs = epochs
        self.width = width
        self.facts = TaskFacts(
            metric="accuracy" if direction is Direction.MAXIMIZE else "loss",
            direction=direction,
            data={"task": "classification", "input_shape": [1], "num_outputs": 2, "num_train": 100, "num_dev": 100},
            device="cpu",
            calibration={"overhead_seconds": 1e-6, "flops_per_second": 1e9},
        )
        self.trained: dict[int, int] = {}
        """Finished epochs of each trial: its checkpoint."""
        self._queue: list[TrialJob] = []
        self._interrupted = False

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._queue += jobs

    def room(self) -> int:
        return 0 if self._interrupted else max(0, self.width - len(self._queue))

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        if self._interrupted:
            left, self._queue = self._queue, []
            return [TrialInterrupted(trial=job.trial, epoch=self.trained.get(job.trial, 0)) for job in left]
        return self._advance(self._queue.pop(0)) if self._queue else []

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._queue = []

    def _advance(self, job: TrialJob) -> list[TrialEvent]:
        first = self.trained.get(job.trial, 0)
        events: list[TrialEvent] = [
            TrialStarted(
                trial=job.trial, worker="scripted", device="cpu", path="scripted", cohort_width=1, from_epoch=first,
                num_parameters=1,
            )
        ]  # fmt: skip
        last = min(job.to_epoch, self.num_epochs)
        for epoch in range(first + 1, last + 1):
            value = self.curve(job.params, epoch)
            if value != value:
                message = f"the dev loss became nan in epoch {epoch}"
                return [*events, TrialFailed(trial=job.trial, reason=FailureReason.DIVERGED, message=message)]
            result = EpochResult(
                epoch=epoch, train_loss=1.0 - value, dev_loss=1.0 - value, train_metric=value, dev_metric=value,
                learning_rate=0.1, seconds=0.01 * epoch,
            )  # fmt: skip
            events.append(EpochsFinished(trial=job.trial, results=(result,)))
            self.trained[job.trial] = epoch
        if last >= self.num_epochs:
            return [*events, TrialFinished(trial=job.trial, reason="all epochs")]
        return [*events, TrialPaused(trial=job.trial, epoch=last)]
