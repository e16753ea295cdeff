"""A trial as a call of the user's function, in a thread of the worker, which listens to the coordinator meanwhile."""

from __future__ import annotations

import inspect
import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tuner.errors import UserCodeError
from tuner.imports import load_object
from tuner.records import FailureReason
from tuner.spec.defaults import loop_values
from tuner.spec.model import SweepSpec
from tuner.train.device.gpus import make_current
from tuner.train.own.course import OwnCourse
from tuner.train.own.handle import TrialHandle, TrialStop
from tuner.train.own.loop import Why
from tuner.train.own.reports import Report

log = logging.getLogger(__name__)

END_SECONDS = 10.0
"""So long a function may take to come to its next report when its trial has failed."""


class FunctionSession:
    """See `train.own.loop.Session`."""

    can_be_killed = False
    outlasts_pause = None
    num_bytes = 0

    def __init__(self, course: OwnCourse) -> None:
        """Call the function for a trial."""
        spec, job = course.task.spec, course.job
        self._shown = job.shown
        self._function = load_trainer(spec)
        self._error: BaseException | None = None
        self._handle = TrialHandle(
            params=loop_values(spec, job.params),
            seed=job.seed,
            epochs=spec.training.epochs,
            to_epoch=job.to_epoch,
            checkpoint_dir=course.paths.own_checkpoint,
            device=course.task.device,
            data=course.task.data,
            metric=course.task.metric_name,
        )
        _seed_everything(job.seed)
        self._thread = threading.Thread(target=self._run, name=f"trial {job.trial}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            make_current(self._handle.device)
            self._function(self._handle)
        except TrialStop:
            pass
        except BaseException as error:  # whatever it is, it is the trial's
            self._error = error

    def poll(self, timeout_seconds: float) -> list[Report]:
        is_over = not self._thread.is_alive()  # before the look: what it reported last is not lost
        reports = self._handle.take(timeout_seconds)
        if is_over and not reports and self._error is not None:
            raise self._error
        return reports

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive() and self._error is None and self._handle.is_empty

    def ask_to_stop(self, why: Why) -> None:
        self._handle.tell_to_stop()

    def failure(self) -> tuple[FailureReason, str, bool] | None:
        return None  # what it raised was raised by `poll`

    def close(self) -> None:
        self._handle.end()
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            log.warning("the trainer of %s trains on, though its trial has ended", self._shown)


def load_trainer(spec: SweepSpec) -> Callable[[TrialHandle], object]:
    """The user's function.

    Raises:
        UserCodeError: it cannot be imported, or cannot be called with a handle alone.
    """
    assert spec.trainer is not None
    function = load_object(spec.trainer, root=Path(spec.root))
    if not callable(function):
        raise UserCodeError(f"{spec.trainer} is no function; a trainer is a function of the trial's handle")
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise UserCodeError(
            f"{spec.trainer} cannot be called with one argument, the trial's handle ({error}); write def train(trial)"
        ) from error
    except ValueError:
        pass  # a builtin that hides its signature
    return function


def _seed_everything(seed: int) -> None:
    """Seed the generators that a training function is likely to use."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
