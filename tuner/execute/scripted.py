"""A public fake: an executor whose trials follow a script, for testing search, stores, reports and commands."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence

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
"""(parameters, epoch) to the dev metric after that epoch. A NaN says that the trial diverges there; what it raises is
raised by the trial's own code."""


class ProcessKilledError(Exception):
    """Raised by a script: the process of the trial is killed by something outside of it."""


class ScriptedExecutor:
    """See `execute.executor.Executor`. Trains nothing; each call of `events` ends the oldest job.

    `checkpoints` are what files are to other executors: given to the next executor, trials go on from there.
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
        self.checkpoints: dict[int, tuple[EpochResult, ...]] = {}
        """The finished epochs of each trial."""
        self._queue: list[TrialJob] = []
        self._interrupted = False

    def check_model(self) -> None:
        pass  # there is none

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._queue += jobs

    def room(self) -> int:
        return 0 if self._interrupted else max(0, self.width - len(self._queue))

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        if self._interrupted:
            left, self._queue = self._queue, []
            return [TrialInterrupted(trial=job.trial) for job in left]
        return list(self._advance(self._queue.pop(0))) if self._queue else []

    def let_go(self, folders: Sequence[str]) -> None:
        pass  # nothing is held

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        self._queue = []

    def _epoch(self, trial: int) -> int:
        return len(self.checkpoints.get(trial, ()))

    def _advance(self, job: TrialJob) -> Iterator[TrialEvent]:
        trial, known = job.trial, self.checkpoints.get(job.trial, ())
        yield TrialStarted(
            trial=trial, worker="scripted", device="cpu", path="scripted", cohort_width=1, from_epoch=len(known),
            num_parameters=1,
        )  # fmt: skip
        if known:
            yield EpochsFinished(trial=trial, results=known)
        last = min(job.to_epoch, self.num_epochs)
        for epoch in range(len(known) + 1, last + 1):
            try:
                value = self.curve(job.params, epoch)
            except ProcessKilledError as error:
                yield TrialFailed(trial=trial, reason=FailureReason.KILLED, message=str(error), retryable=True)
                return
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                text = "".join(traceback.format_exception(error))
                yield TrialFailed(trial=trial, reason=FailureReason.ERROR, message=message, traceback=text)
                return
            if value != value:
                message = f"the dev loss became nan in epoch {epoch}"
                yield TrialFailed(trial=trial, reason=FailureReason.DIVERGED, message=message)
                return
            result = EpochResult(
                epoch=epoch, train_loss=1.0 - value, dev_loss=1.0 - value, train_metric=value, dev_metric=value,
                learning_rate=0.1, seconds=0.01 * epoch,
            )  # fmt: skip
            self.checkpoints[trial] = (*self.checkpoints.get(trial, ()), result)
            yield EpochsFinished(trial=trial, results=(result,))
        if last >= self.num_epochs:
            yield TrialFinished(trial=trial, reason="all epochs")
        else:
            yield TrialPaused(trial=trial, epoch=last)
