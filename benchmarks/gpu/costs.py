"""Phase 3: what a new program, a step, an evaluation and the host's plan cost, by width and network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from gpu.setting import DEVICE, Figures, Setting, busy_share, gpu_ms, made_up, runs, spread, task_of, wall_ms
from gpu.truth import EAGER, NORMED
from tuner.train.loop.slices import epoch_plan
from tuner.train.program import Program
from tuner.train.task import Task

REPEATS = 3


def costs(setting: Setting) -> Iterator[Figures]:
    flat = made_up(setting.pick(20_000, 64), setting.pick(4_000, 20), (setting.pick(784, 16),))
    images = made_up(setting.pick(5_000, 64), setting.pick(1_000, 20), (3, setting.pick(32, 8), setting.pick(32, 8)))
    channels = {"channels": setting.pick(16, 2)}
    networks: dict[str, tuple[Task, list[int]]] = {}
    for units in setting.pick((64, 512), (4,)):
        task = task_of(flat, settings={"hidden_units": units, "hidden_layers": 2}, batch_size=setting.pick(128, 16))
        networks[f"mlp 2x{units}"] = task, setting.pick([1, 8, 64, 256], [2])
    own = {"model": NORMED, "settings": {"hidden_units": setting.pick(64, 4)}}
    networks["users' module 2x64"] = task_of(flat, batch_size=setting.pick(128, 16), **own), setting.pick([8, 64], [2])
    for model in ("cnn", "resnet"):
        task = task_of(images, model=model, settings=channels, batch_size=setting.pick(128, 16))
        networks[model] = task, setting.pick([1, 8, 64], [2])
    widths = sorted({width for _, chosen in networks.values() for width in chosen}, key=lambda w: (w != 64, w))
    for width in widths:  # 64 of all networks first: if time runs out, it is the others that are missing
        for name, (task, chosen) in networks.items():
            if width in chosen and setting.has(0.05):
                yield {"what": name, "width": width, **costs_of(task, width, setting)}


def costs_of(task: Task, width: int, setting: Setting) -> Figures:
    members = runs(task, width)
    steps = setting.pick(100, 2)
    made: list[Program] = []
    torch.cuda.reset_peak_memory_stats(DEVICE)
    plan: Any = None

    def make() -> None:
        made[:] = [task.program([run.member for run in members])]

    def make_plan() -> None:
        nonlocal plan
        plan = epoch_plan(task, members)

    new_ms = wall_ms(make)
    make_plan()
    capture_ms = wall_ms(lambda: made[0].train_steps(plan, 0, 1))
    (program,) = made
    last = min(steps + 1, len(plan.step_SK) - 1)

    def train() -> None:
        program.train_steps(plan, 1, last)

    train()  # what is done once: replays are recorded, kernels chosen
    step = [gpu_ms(train) / (last - 1) for _ in range(REPEATS)]
    host = [wall_ms(train) / (last - 1) for _ in range(REPEATS)]
    with EAGER:
        eager = [gpu_ms(train) / (last - 1) for _ in range(REPEATS)]
    evaluate = lambda: task.evaluate(program)  # noqa: E731
    evaluation = [wall_ms(evaluate) for _ in range(1 + REPEATS)]
    planning = [wall_ms(make_plan) for _ in range(REPEATS)]
    return {
        "path": program.path(0),
        "new_program_ms": round(new_ms, 3),
        "first_step_ms": round(capture_ms, 3),
        "step_ms": spread(step),
        "step_wall_ms": spread(host),
        "step_without_graph_ms": spread(eager),
        "busy_share": busy_share(train),
        "steps_of_an_epoch": len(plan.step_SK),
        "evaluation_ms": spread(evaluation[1:]),
        "first_evaluation_ms": round(evaluation[0], 3),
        "plan_of_an_epoch_ms": spread(planning),
        "peak_gib": round(torch.cuda.max_memory_allocated(DEVICE) / 2**30, 3),
    }
