"""What a trial is measured by beside its metric: further metrics of its best epoch, and the costs of its network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tuner.records import FailureReason, Json, TrialFailed, TrialJob
from tuner.spec.known.metrics import COSTS, METRICS
from tuner.spec.model import ConstraintSpec
from tuner.spec.objectives import measured_names, violation
from tuner.train.device.gpus import wait_for
from tuner.train.loop.member import Run
from tuner.train.measure.metrics import Evaluation
from tuner.train.task import Task

_KNOWN_BEFORE = ("parameters", "flops")
"""Costs that a network has before it is trained."""
BATCH = 256
"""Dev examples whose forward pass is timed, at most."""
_REPEATS = 7


def trade_offs(task: Task, run: Run) -> dict[str, Json]:
    """The facts `objectives` and `violation` of a trial at the end of its job; nothing if none are asked for."""
    names = measured_names(task.spec)
    if not names or run.kept is None or run.kept_outputs is None:
        return {}
    values = {task.metric.name: run.kept.dev_metric}
    module = run.member.make_module().to(task.device).eval()
    for name in names:
        if name in COSTS:
            values[name] = float(_cost(name, module, task))
    for name in (name for name in names if name not in values):
        loss, std, mean = task.problem.loss, task.info.target_std, task.info.target_mean
        targets = task.data.dev.targets
        score = Evaluation(targets, loss=loss, metric=METRICS[name], target_std=std, target_mean=mean)
        values[name] = float(score(run.kept_outputs.unsqueeze(0)).metric[0])
    return {"objectives": {name: values[name] for name in names}, "violation": violation(task.spec.constraints, values)}


def infeasible(task: Task, job: TrialJob) -> TrialFailed | None:
    """Why a trial is not worth training: its network breaks a constraint on what is known before. None if it keeps all.

    What cannot be built is not refused here: its training says why.
    """
    bounds = [c for c in task.spec.constraints if c.metric in _KNOWN_BEFORE]
    if not bounds:
        return None
    member = task.member(job)
    values = {"parameters": float(task.num_parameters(member))}
    if any(c.metric == "flops" for c in bounds) and not _broken(bounds, values):
        module = member.make_module().to(task.device).eval()
        values["flops"] = float(flops(module, task.data.dev.inputs[:1]))
    broken = _broken(bounds, values)
    if not broken:
        return None
    shown = ", ".join(f"{c.metric} is {values[c.metric]:,.0f}, which breaks {_bounds(c)}" for c in broken)
    return TrialFailed(
        trial=job.trial,
        reason=FailureReason.INFEASIBLE,
        message=f"{shown}; it was not trained",
        facts={"objectives": values, "violation": violation(broken, values)},
    )


def _broken(bounds: Sequence[ConstraintSpec], values: Mapping[str, float]) -> list[ConstraintSpec]:
    return [c for c in bounds if c.metric in values and violation([c], values)]


def _bounds(constraint: ConstraintSpec) -> str:
    ends = (("min", constraint.min), ("max", constraint.max))
    return " and ".join(f"{name}: {end:,.10g}" for name, end in ends if end is not None)


def _cost(name: str, module: nn.Module, task: Task) -> float:
    inputs = task.data.dev.inputs
    match name:
        case "parameters":
            return sum(p.numel() for p in module.parameters())
        case "flops":
            return flops(module, inputs[:1])
        case _:
            return latency_ms(module, inputs[:BATCH])


@torch.no_grad()
def flops(module: nn.Module, inputs: torch.Tensor) -> int:
    """Floating-point operations of the matrix products and convolutions of one forward pass."""
    with FlopCounterMode(display=False) as counter:
        module(inputs.clone())
    return int(counter.get_total_flops())


@torch.no_grad()
def latency_ms(module: nn.Module, inputs: torch.Tensor) -> float:
    """Milliseconds of a forward pass of these inputs: the median of several, after one that is not counted."""
    taken = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        module(inputs.clone())
        wait_for(inputs.device)
        taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken[1:])
