"""Phase 2: what must hold of the results before any of the times mean anything."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import torch

from gpu.setting import DEVICE, Figures, Setting, jobs, made_up, runs, task_of
from tuner.data.dataset import TrainingData
from tuner.records import EpochsFinished
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.slices import epoch_plan
from tuner.train.replay.cuda_graph import GraphedOperations

EAGER = patch.object(GraphedOperations, "__call__", lambda step: step._operations())
"""Steps as single launches in place of a graph."""
NORMED = "networks.py:normed"


def kinds(setting: Setting) -> dict[str, tuple[tuple[int, ...], dict[str, Any]]]:
    """Shape of an example, and the rest of the task."""
    image, width = (3, 16, 16), setting.pick(64, 8)
    return {
        "mlp": ((64,), {"settings": {"hidden_units": width}}),
        "mlp, batch norm, adam": (
            (64,),
            {"settings": {"hidden_units": width, "norm": "batch"}, "optimizer": "adam", "learning_rate": 0.001},
        ),
        "cnn": (image, {"model": "cnn", "settings": {"channels": setting.pick(8, 2), "norm": "batch"}}),
        "resnet": (image, {"model": "resnet", "settings": {"channels": setting.pick(8, 2)}}),
        "users' module": ((64,), {"model": NORMED, "settings": {"hidden_units": width}}),
    }


def truth(setting: Setting) -> Iterator[Figures]:
    data = {shape: made_up(setting.pick(500, 80), setting.pick(250, 20), shape) for shape in ((64,), (3, 16, 16))}
    for name, (shape, spec) in kinds(setting).items():
        graphed = losses(data[shape], setting, **spec)
        yield verdict(f"curve of the CPU: {name}", far(graphed, losses(data[shape], setting, "cpu", **spec)), 1e-4)
        with EAGER:
            yield verdict(f"graph = eager: {name}", far(graphed, losses(data[shape], setting, **spec)), 1e-5)
    yield neighbours_of_nan(setting, data[(64,)])
    yield memory_after_resizes(setting, data[(64,)])


def losses(data: TrainingData, setting: Setting, device: str = DEVICE, **spec: Any) -> dict[int, list[float]]:
    """Train and dev losses of a few trials by epoch."""
    epochs = setting.pick(3, 1)
    cohort = Cohort(task_of(data, device=device, **spec), jobs(setting.pick(4, 2), to_epoch=epochs), worker="gpu")
    found: dict[int, list[float]] = {}
    for events in cohort.epochs():
        for event in events:
            if isinstance(event, EpochsFinished):
                found.setdefault(event.trial, []).extend(v for r in event.results for v in (r.train_loss, r.dev_loss))
    return found


def far(ours: Mapping[int, list[float]], theirs: Mapping[int, list[float]]) -> float:
    """The largest relative difference; infinite where one has no value for a value of the other."""
    if {t: len(c) for t, c in ours.items()} != {t: len(c) for t, c in theirs.items()} or not ours:
        return float("inf")
    pairs = ((a, b) for trial, curve in ours.items() for a, b in zip(curve, theirs[trial], strict=True))
    return max(abs(a - b) / abs(b) for a, b in pairs)


def verdict(what: str, found: float, most: float) -> Figures:
    return {"what": what, "found": found, "most": most, "holds": found <= most}


def neighbours_of_nan(setting: Setting, data: TrainingData) -> Figures:
    """A row of NaN leaves all others as they are, bit for bit."""
    task, count = task_of(data), setting.pick(64, 4)
    states = []
    for spoilt in (False, True):
        members = runs(task, count)
        program = task.program([run.member for run in members])
        if spoilt:
            state = program.state(1)
            program.load_state(1, {name: torch.full_like(t, float("nan")) for name, t in state.items()})
        program.train_steps(epoch_plan(task, members), 0, 3)
        states.append([program.state(row)["parameters"] for row in range(count)])
    differing = sum(not torch.equal(a, b) for row, (a, b) in enumerate(zip(*states, strict=True)) if row != 1)
    is_spoilt = bool(states[1][1].isnan().any())
    return verdict("rows that a neighbour of NaN alters", float(differing), 0.0) | {"neighbour_is_nan": is_spoilt}


def memory_after_resizes(setting: Setting, data: TrainingData) -> Figures:
    """Bytes that are in use more than before when programs of twenty widths have come and gone."""
    task, count = task_of(data), setting.pick(21, 4)
    members = runs(task, count)
    gc.collect()
    torch.cuda.synchronize()
    base = torch.cuda.memory_allocated(DEVICE)
    program = task.program([run.member for run in members])
    for width in range(count, 0, -1):
        program.train_steps(epoch_plan(task, members[:width]), 0, 1)
        task.evaluate(program)
        if width > 1:
            program = program.resized(list(range(width - 1)), [])
    del program
    gc.collect()
    torch.cuda.synchronize()
    more = torch.cuda.memory_allocated(DEVICE) - base
    return verdict("bytes in use more than before, after resizes", float(more), 2.0**20)
