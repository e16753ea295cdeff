"""What a training function of the user's is given: the trial, and the way to report on it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tuner.records import ParamValue
from tuner.train.own.reports import Report, make_report

if TYPE_CHECKING:
    import torch

    from tuner.data.dataset import TrainingData


class TrialStop(BaseException):
    """Ends a training function that trains on although `should_stop()` is true. Let it pass."""


class TrialHandle:
    """One trial, as its training function sees it.

    Attributes:
        params: The hyperparameters by name: those searched, and those that the sweep file fixes.
        seed: Of the trial. PyTorch, NumPy and `random` are seeded with it before the function is called.
        epochs: Epochs of the full training, to lay out a schedule over.
        to_epoch: The epoch to train to this time, where `should_stop()` becomes true; the trial may go on later.
        checkpoint_dir: A folder of the trial's own. What is written there is there when the trial goes on.
        data: The train and dev examples on the device, where the sweep file has a `data:` block; else None.
        device: Where to train.
    """

    def __init__(
        self,
        *,
        params: Mapping[str, ParamValue],
        seed: int,
        epochs: int,
        to_epoch: int,
        checkpoint_dir: Path,
        device: torch.device,
        data: TrainingData | None,
        metric: str,
    ) -> None:
        self.params = dict(params)
        self.seed = seed
        self.epochs = epochs
        self.to_epoch = to_epoch
        self.checkpoint_dir = checkpoint_dir
        self.device = device
        self.data = data
        self._metric = metric
        self._reports: SimpleQueue[Report] = SimpleQueue()
        self._taken = threading.Semaphore(0)
        self._stop = threading.Event()
        self._was_told = False
        self._waits = False

    def report(self, epoch: int, **metrics: float) -> None:
        """Report a finished epoch; then ask `should_stop()`.

        Args:
            epoch: The number of finished epochs, from 1; 0 for a measurement before the first step, never ranked.
            metrics: The objective's metric by its name, and what else there is: `train_` and its name, `loss`,
                `train_loss`, `learning_rate`.

        Raises:
            ReportError: the metric is missing, or the epoch is none.
        """
        self._reports.put(make_report(epoch, metrics, metric=self._metric))
        self._taken.acquire()  # until it is known whether the trial goes on
        if self._was_told:
            raise TrialStop
        self._was_told = self._stop.is_set()

    def should_stop(self) -> bool:
        """Whether to write a checkpoint and return: the trial is where it was sent, or the sweep is asked to stop."""
        return self._stop.is_set()

    # The other side

    def take(self, timeout_seconds: float) -> list[Report]:
        """The next report; its sender waits until the next call."""
        if self._waits:
            self._waits = False
            self._taken.release()
        try:
            found = self._reports.get(timeout=timeout_seconds)
        except Empty:
            return []
        self._waits = True
        return [found]

    @property
    def is_empty(self) -> bool:
        """Whether all reports were taken."""
        return self._reports.empty()

    def tell_to_stop(self) -> None:
        """Make `should_stop()` true."""
        self._stop.set()

    def end(self) -> None:
        """Let the function end at its next report, or at the one that it waits in."""
        self._stop.set()
        self._was_told = True
        self._taken.release()
