"""Fault points: moments at which a test has this process killed, to show that a crash there loses nothing.

`TUNER_FAULT=after_tell:7` kills the process with SIGKILL when it passes the point for the seventh time. Unset, a
point costs a comparison.
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "after_claim",  # the study is ours and open, nothing else has happened
    "after_describe",  # the study says what it is of
    "after_create",  # new trials are in the database, no executor knows them
    "after_take_over",  # trials have the checkpoints of those that they are to go on from, no record says so
    "after_copy",  # the records say so, no executor knows it
    "before_tell",  # an executor ended a job, the store does not know it
    "after_tell",  # the end of a trial is in the database, nobody was told
    "after_announce",  # the end of a trial was told
    "before_commit",  # a batch of changes is about to become durable
    "after_commit",  # it is durable
    "checkpoint_written",  # a checkpoint lies beside the one that it replaces
    "checkpoint_between",  # the last checkpoint was renamed, the new one not yet
    "checkpoint_replaced",  # the new checkpoint is in place
    "weights_written",  # a finished trial's last checkpoint and weights are there, its event has not been sent
    "before_reports",  # all is trained, no report is written
    "after_reports",  # all is done, the process has not ended
)
"""Every point, in the order in which a sweep first passes them, more or less."""

_point, _, _count = os.environ.get("TUNER_FAULT", "").partition(":")
_left = int(_count or 1)
assert not _point or _point in POINTS, f"TUNER_FAULT names no fault point: {_point}"


def fault_point(name: str) -> None:
    """Die here, if a test asks for it."""
    global _left
    if name != _point:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
