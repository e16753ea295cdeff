"""Why training ended: what an error is called, and what is said of the trials that it ends."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Self

import torch

from tuner.errors import is_out_of_memory
from tuner.execute.scarcity import first_line, no_memory_to_train
from tuner.records import FailureReason
from tuner.train.own.task import OwnTask
from tuner.train.task import Task


@dataclass(frozen=True, slots=True)
class Ended:
    """What is said of trials that an error ended: it is kept without its frames, which hold their tensors."""

    reason: FailureReason
    line: str
    message: str
    """What is said of a trial that ends of it."""
    story: str

    @classmethod
    def by(cls, error: BaseException, task: Task | OwnTask) -> Self:
        """What this error ended.

        Raises:
            BaseException: the error itself, if nothing can be trained in this process any more.
        """
        out_of_memory = is_out_of_memory(error)
        if not out_of_memory and _has_lost_device(error):
            raise error  # nothing can be trained in this process any more
        match error:
            case SystemExit():
                reason = FailureReason.EXITED
            case _ if out_of_memory:
                reason = FailureReason.OUT_OF_MEMORY
            case _:
                reason = FailureReason.ERROR
        line = message = first_line(error)
        of_machine = task.device.type == "cpu" and not isinstance(error, torch.OutOfMemoryError)
        if out_of_memory and of_machine and task.spec.loop is None:
            message = no_memory_to_train(task.spec, said=line)
        return cls(reason, line, message, "".join(traceback.format_exception(error)))


def _has_lost_device(error: BaseException) -> bool:
    """Whether the accelerator refuses all further work of this process, as after a failed assertion in a kernel."""
    lost = getattr(torch, "AcceleratorError", None)
    return lost is not None and isinstance(error, lost)
