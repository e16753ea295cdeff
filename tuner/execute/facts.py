"""What an executor knows of a sweep's task once a worker has loaded the data: plain values, no tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuner.records import Direction, Json


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFacts:
    """Facts of the data, the objective and the machine."""

    metric: str
    direction: Direction
    data: Mapping[str, Json]
    """The fields of `tuner.data.dataset.DataInfo`, as JSON."""
    device: str
    calibration: Mapping[str, float]
    """`overhead_seconds` of one small tensor operation, `flops_per_second` of a matrix product, on one worker."""
    code: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file of the user's code, by path; see `tuner.spec.own_code`."""
    weights: str = ""
    """SHA-256 of the file that `model.init_from` names; empty without one."""
