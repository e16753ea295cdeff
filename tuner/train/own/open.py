"""Where the key of a sweep file that names own training code becomes what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from tuner.data.load import load_training_data
from tuner.records import TrialJob
from tuner.spec.model import LoopKind, SweepSpec
from tuner.train.own.command import CommandSession, check_command
from tuner.train.own.course import OwnCourse
from tuner.train.own.function import FunctionSession, load_trainer
from tuner.train.own.loop import OwnLoop, Session
from tuner.train.own.task import OwnTask

SESSIONS: Mapping[LoopKind, Callable[[OwnCourse], Session]] = {
    "command": CommandSession,
    "trainer": FunctionSession,
}
"""How each kind of own training code is started."""


def open_own_task(spec: SweepSpec, device: torch.device, *, device_name: str, gpus: Sequence[int] = ()) -> OwnTask:
    """The task of a sweep with own training code.

    Args:
        spec: The sweep file.
        device: The first device that a trial has, as this process calls it.
        device_name: What it is called in records.
        gpus: Of several, the indices of all.

    Raises:
        UserCodeError: the code is not there.
        DataError: the data cannot be used.
    """
    if spec.command is not None:
        check_command(spec)
    else:
        load_trainer(spec)
    data = load_training_data(spec) if spec.has_data else None
    return OwnTask(spec, device, data, device_name=device_name, gpus=gpus)


def open_loop(task: OwnTask, jobs: Sequence[TrialJob], *, worker: str) -> OwnLoop:
    """What trains these jobs by the user's code."""
    assert task.spec.loop is not None
    return OwnLoop(task, jobs, worker=worker, start=SESSIONS[task.spec.loop])
