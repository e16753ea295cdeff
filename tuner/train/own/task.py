"""What is the same for every trial of a sweep that the user's own code trains."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import torch

from tuner.data.dataset import TrainingData
from tuner.records import Direction, Json
from tuner.spec.known.metrics import known_direction
from tuner.spec.model import SweepSpec
from tuner.spec.own_code import code_files
from tuner.train.own.kept import Kept
from tuner.train.way import Way

log = logging.getLogger(__name__)


class OwnTask:
    """A sweep's task on one device, as far as it is ours."""

    def __init__(
        self,
        spec: SweepSpec,
        device: torch.device,
        data: TrainingData | None = None,
        *,
        device_name: str | None = None,
        gpus: Sequence[int] = (),
    ) -> None:
        assert spec.loop is not None
        self.spec = spec
        self.device = device
        self.device_name = device_name or str(device)
        """What it is called among all that train: a worker may see its own alone."""
        self.gpus = tuple(gpus) or (device.index or 0,)
        """Those that a trial has, as this process numbers them, where the device is one."""
        self.path = Way(spec.loop)
        """How trials are trained, and what messages call it."""
        self.metric_name = spec.objective.metric
        direction = spec.objective.direction or known_direction(self.metric_name)
        assert direction is not None  # the sweep file was checked
        self.direction = Direction(direction)
        self.data: TrainingData | None = None
        """Train and dev examples on the device, where the sweep file has a `data:` block."""
        if data is not None:
            self.data = TrainingData(data.train.to(device), data.dev.to(device), data.info)
        self.kept: Kept[Any] = Kept(device)
        """The programs of paused trials."""
        self.can_end: bool = spec.reports is None or "to_epoch" in (spec.command or "").lower()
        """Whether a program may end at a pause by itself: none has trained on there yet, and it was not written for
        others, whose words are read and who tell it nothing of the epoch to train to."""
        self._said: set[str] = set()

    @cached_property
    def code(self) -> Mapping[str, str]:
        """SHA-256 of each file of the user's code, by path, as it was loaded."""
        return code_files(self.spec)

    @property
    def code_now(self) -> Mapping[str, str]:
        """The same of what a trial that begins now is trained by: a command reads its files each time."""
        return code_files(self.spec) if self.path == "command" else self.code

    @property
    def data_facts(self) -> Mapping[str, Json]:
        """Facts of the data, none where the user's code reads its own."""
        if self.data is None:
            return {}
        values = asdict(self.data.info)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @property
    def silence(self) -> str:
        """What is wrong with code that ends without a report."""
        if self.path == "trainer":
            call = f"trial.report(epoch, {self.metric_name}=...)"
            return f"the trainer returned without a report: it must call {call} after each epoch"
        if self.spec.reports is not None:
            return (
                f"the command ended, and `reports` found no {self.metric_name} in what it wrote; "
                "`tuner check` shows which of its lines hold numbers"
            )
        return (
            f"the command ended without a report: it must print a line such as "
            f'{{"epoch": 1, "{self.metric_name}": 0.9}} after each epoch, or append it to the file $TUNER_REPORT'
        )

    @property
    def miscount(self) -> str:
        """What is wrong with code that ends by itself one epoch early, and has reported an epoch 0."""
        return (
            f"the {self.path} ended one epoch early, and its first report was epoch 0, which stands for the network "
            "before training; epochs count from 1, the number of finished ones: report epoch + 1"
        )

    def has_said(self, kind: str) -> bool:
        """Whether there was a warning of this kind."""
        return kind in self._said

    def warn_once(self, kind: str, text: str) -> None:
        """Log a warning, the first of its kind only."""
        if kind not in self._said:
            self._said.add(kind)
            log.warning("%s", text)
