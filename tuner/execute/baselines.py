"""Baselines of a task: trained in a process of their own, the lowest in priority, and no reason to stop anything."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuner.baselines import Kind, chosen_rows, fit, most_rows
from tuner.data.dataset import Split
from tuner.data.load import load_training_data
from tuner.data.stored import BLOCK_BYTES, is_streamed
from tuner.execute.lifeline import end_with_parent
from tuner.execute.signals import leave_to_coordinator
from tuner.execute.training import write_array
from tuner.paths import StudyPaths, samples_beside
from tuner.records import Json
from tuner.spec.known.baselines import BaselineName
from tuner.spec.model import SweepSpec
from tuner.train.loop.artefacts import write_samples
from tuner.train.program import copied_chunks
from tuner.train.task import Task

_MOST_CPU_SECONDS = 120.0
"""Of the processor, for each of them."""


def train_baselines(
    connection: Connection, spec: SweepSpec, paths: StudyPaths, *, names: Sequence[BaselineName],
    known: Mapping[str, Json], niceness: int,
) -> None:  # fmt: skip
    """What the process does, from its first line to its last."""
    os.setsid()  # its own group: Ctrl-C at a terminal reaches the coordinator alone, and its children end with it
    leave_to_coordinator()
    end_with_parent()
    _give_way(niceness)
    with Path(os.devnull).open("w") as nowhere:  # what a data function prints, the workers' log has
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
    logging.disable()
    try:
        task = _open(spec, paths, known)
    except Exception as error:
        for name in names:
            connection.send((name, {"failed": _line(error)}))
        return
    for name in names:
        connection.send(name)
        connection.send((name, _trained(name, task, paths)))


def _give_way(niceness: int) -> None:
    """Let workers go first, and be the first to end where memory runs out."""
    os.nice(niceness)
    for file, text in (("autogroup", str(niceness)), ("oom_score_adj", "1000")):
        with suppress(OSError):  # there is none, or it is not ours to set
            Path("/proc/self", file).write_text(text)


def _open(spec: SweepSpec, paths: StudyPaths, known: Mapping[str, Json]) -> Task:
    torch.set_num_threads(1)
    return Task(
        spec,
        load_training_data(spec, kept_in=paths.tables, prepared_in=paths.prepared, known=known),
        torch.device("cpu"),
    )


def _trained(name: BaselineName, task: Task, paths: StudyPaths) -> dict[str, Json]:
    """Fit one of them, and leave its dev predictions."""
    began = time.process_time()
    try:
        with _within(_MOST_CPU_SECONDS):
            fitted = _Fitted(name, task)
            outputs = fitted.on_dev()
            scores = task.dev_scores(outputs)
        write_array(task.predictions(outputs), paths.baseline(name))
        if (samples := task.resampled_metric(outputs)) is not None:
            write_samples(samples, samples_beside(paths.baseline(name)))
    except Exception as error:
        return {"failed": _line(error)}
    value, loss = (float(np.mean([getattr(s, of) for s in scores])) for of in ("metric", "loss"))
    return {
        "value": value, "loss": loss, "examples": fitted.examples, "seconds": time.process_time() - began,
    }  # fmt: skip


def outputs_on(split: Split, name: BaselineName, task: Task) -> Tensor:
    """Outputs of a baseline for other examples, fitted once more: it is the same each time.

    Raises:
        TimeoutError: it took too long.
    """
    with _within(_MOST_CPU_SECONDS):
        return _Fitted(name, task).on(split)


class _Fitted:
    """A baseline that is fitted to the training examples of a task: with folds one model for each."""

    def __init__(self, name: BaselineName, task: Task) -> None:
        self._task = task
        info, train = task.info, task.data.train
        kind = Kind.of(asdict(info))
        most = most_rows(name, kind, folds=max(1, len(task.folds)))
        self.examples = 0
        """Those that a model is fitted to."""
        self._models: list[Callable[[Any], Any]] = []
        for own in self._of_each():
            rows = own[chosen_rows(len(own), most)]
            learnt = rows[:1] if name == "guess" else rows  # which looks at no inputs
            inputs, targets = _taken(train.inputs, learnt).numpy(), _taken(train.targets, rows).numpy()
            self._models.append(fit(name, inputs, targets, kind))
            self.examples = len(rows)

    def _of_each(self) -> list[Tensor]:
        """Positions of the training examples of each model."""
        return [fold.train for fold in self._task.folds] or [torch.arange(len(self._task.data.train))]

    def on_dev(self) -> Tensor:
        """Outputs for the dev examples, as a network's: each fold's by its own model."""
        task = self._task
        if not task.folds:
            return self._outputs([self._models[0]], task.data.dev.inputs)
        inputs = task.data.train.inputs
        pairs = zip(self._models, task.folds, strict=True)
        return torch.cat([self._outputs([model], inputs[fold.dev]) for model, fold in pairs])

    def on(self, split: Split) -> Tensor:
        """Outputs for other examples; of the folds' models the mean."""
        return self._outputs(self._models, split.inputs)

    def _outputs(self, models: Sequence[Callable[[Any], Any]], inputs: Tensor) -> Tensor:
        means = [np.mean([m(chunk.numpy()) for m in models], axis=0) for chunk in copied_chunks(inputs)]
        found = torch.from_numpy(np.concatenate(means))
        if self._task.info.task == "classification":
            found = found.log()
        elif self._task.info.task == "multi_label":
            found = found.logit()
        return found.float()


def _taken(examples: Tensor, rows: Tensor) -> Tensor:
    """Some of the examples; all of them, in their order, are not copied; those on disk are read by blocks."""
    if is_streamed(examples):
        found = torch.empty(len(rows), *examples.shape[1:])
        step = max(1, BLOCK_BYTES // (4 * prod(examples.shape[1:])))
        for first in range(0, len(rows), step):
            found[first : first + step] = examples[rows[first : first + step]]
        return found
    is_all = len(rows) == len(examples) and bool((rows.diff() > 0).all())
    return examples if is_all else examples[rows]


@contextmanager
def _within(cpu_seconds: float) -> Iterator[None]:
    """Within the block, whatever takes longer is ended.

    Raises:
        TimeoutError: it took longer.
    """

    def end(*_: object) -> None:
        raise TimeoutError(f"it took more than {cpu_seconds:.0f} seconds of the processor")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
