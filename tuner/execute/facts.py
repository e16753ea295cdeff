"""What an executor knows of a sweep's task once a worker has loaded the data: plain values, no tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tuner.data.identity import what_differs
from tuner.errors import StudyMismatchError
from tuner.records import Direction, Json
from tuner.spec.kept.code_versions import changed_files

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """Facts of the data, the objective and the machine."""

    metric: str
    direction: Direction
    data: Mapping[str, Json]
    """The fields of `tuner.data.dataset.DataInfo`, as JSON."""
    device: str
    calibration: Mapping[str, float]
    """`overhead_seconds` of one small tensor operation, `flops_per_second` of a matrix product, on one worker; on CUDA
    also `room_bytes`, the memory that trials may have beside the data. A rehearsal adds what it has measured, to the
    estimate that follows from these: `measured`, by what factor epochs took longer, and
    `begin_seconds` of a cohort."""
    code: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the user's code, by path; see `tuner.spec.own_code`."""
    weights: str = ""
    """SHA-256 of the file that `model.init_from` names; empty without one."""


def agreed(known: TaskFacts, found: TaskFacts) -> TaskFacts:
    """What is known, when another worker has found this; code that changed since is said, and is the code from now on.

    Raises:
        StudyMismatchError: it has loaded other data.
    """
    if lines := what_differs(known.data, found.data):
        listed = "\n".join(f"  {line}" for line in lines)
        raise StudyMismatchError(
            f"a worker has loaded other data than the one before it:\n{listed}\n"
            "leave files alone while a sweep runs; a function must return the same examples each time, so seed it"
        )
    if files := changed_files(known.code, found.code):
        log.warning("your code changed while the sweep ran (%s): trials may not be comparable", ", ".join(files))
        return replace(known, code=found.code)
    return known
