"""How often the host of a GPU launches and waits: a step is one graph, and what cannot be one is run by Python."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.pretend_cuda import HAS_GPU, MACHINE
from tests.train.cohorts import curves, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import TWO_LAYERS
from tests.train.test_gpu import assert_close, in_depth, slow
from tuner.models import keyed
from tuner.models.keyed import dropout_field, fields_held
from tuner.train.loop.member import Run
from tuner.train.loop.slices import epoch_plan
from tuner.train.program import Program
from tuner.train.programs.modules.vmapped import RECORD_AFTER_RUNS, ModuleProgram
from tuner.train.task import Task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.deep,
    pytest.mark.skipif(HAS_GPU, reason="counts what the pretended machine is asked for"),
]

CASES: Mapping[str, tuple[Mapping[str, object], int]] = {
    "mlp": ({}, 4),
    "augmented, mixup, input dropout": ({"augment": 0.5, "augment_noise": True, "mixup": 0.2, "input_dropout": 0.1}, 7),
    "ema, batch norm": ({"averaging": "ema", "settings": {"norm": "batch"}}, 5),
    "swa": ({"averaging": "swa"}, 5),
    "users' module": ({"model": TWO_LAYERS}, 4),
    "users' module, ema, mixup": (
        {"model": "tests/train/user_modules.py:normed", "averaging": "ema", "mixup": 0.2}, 6,
    ),
}  # fmt: skip
"""Each with the launches of a step: its reads of the tables, and the graph."""


def after_an_epoch(task: Task, folder: Path) -> tuple[Program, list[Run]]:
    runs = [Run.of(job, task) for job in jobs(folder, slow(3))]
    program = task.program([run.member for run in runs])
    for _ in range(1 + RECORD_AFTER_RUNS // 9):
        plan = epoch_plan(task, runs)
        program.train_steps(plan, 0, len(plan.step_SK))
    return program, runs


@pytest.mark.slow
@pytest.mark.parametrize("name", in_depth(CASES, but=["users' module, ema, mixup"]))
def test_a_step_is_one_graph(gpu: str, name: str, tmp_path: Path) -> None:
    settings, launches = CASES[name]
    task = make_task(device=gpu, batch_size=30, **settings)
    program, runs = after_an_epoch(task, tmp_path)
    plan = epoch_plan(task, runs)
    program.train_steps(plan, 0, 1)  # which brings the tables of the epoch to the device
    MACHINE.counts.clear()
    program.train_steps(plan, 1, 5)
    assert MACHINE.waits == {}
    assert MACHINE.counts["replay"] == 4
    assert MACHINE.counts["launch"] <= 4 * launches


@pytest.mark.slow
@pytest.mark.parametrize("name", in_depth(CASES, but=["ema, batch norm"]))
def test_what_is_captured_trains_as_a_cpu_does(gpu: str, name: str, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", gpu):
        task = make_task(device=device, batch_size=30, **CASES[name][0])
        found[device] = curves(run_cohort(task, jobs(tmp_path / device, slow(3))))
    for trial in range(3):
        assert_close(found[gpu][trial], found["cpu"][trial], rel=1e-5)


class Asking(nn.Module):
    """It brings numbers from the host in its forward, for which the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) * torch.tensor([1.0] * 9 + [2.0], device=x.device)


def asking(params: Mapping[str, object], data: object) -> nn.Module:
    return Asking()


@pytest.mark.slow
def test_a_module_for_which_the_host_waits_is_run_by_python(gpu: str, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", gpu):
        task = make_task(device=device, model="tests/train/test_gpu_launches.py:asking", batch_size=30, epochs=2)
        members = jobs(tmp_path / device, slow(2), to_epoch=2)
        program = task.program([task.member(job) for job in members])
        assert program.path(0) == "vmap"
        MACHINE.counts.clear()
        found[device] = curves(run_cohort(task, members))
        assert not MACHINE.counts["capture"]
        assert MACHINE.sync_debug_mode == 0
    for trial in range(2):
        assert_close(found[gpu][trial], found["cpu"][trial], rel=1e-5)


@pytest.mark.slow
def test_steps_that_python_ran_and_replays_are_of_one_curve(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a trial computes must not depend on when a stack's step was captured."""
    found = []
    for runs_before in (1, 1000):
        task = make_task(device=gpu, model=TWO_LAYERS, batch_size=30, averaging="ema")
        monkeypatch.setitem(ModuleProgram.__init__.__kwdefaults__, "record_after", runs_before)
        found.append(curves(run_cohort(task, jobs(tmp_path / str(runs_before), slow(2)))))
    for trial in range(2):
        assert figures(found[0][trial]) == figures(found[1][trial])


@pytest.mark.slow
def test_fields_are_limited_by_their_bytes_and_are_there_while_a_graph_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyed, "_fields", type(keyed._fields)())
    monkeypatch.setattr(keyed, "FIELD_BYTES", 4 * 5000)
    device = torch.device("cuda:0")
    before = MACHINE.in_use()
    with fields_held() as held:
        first = dropout_field(4000, device)
        dropout_field(3000, device)
    assert held[0] is first
    assert sum(4 * size for size, _ in keyed._fields) <= 4 * 5000
    for size in range(2000, 2500):
        dropout_field(size, device)
    del first, held
    gc.collect()
    assert MACHINE.in_use() - before <= 4 * 5000


@pytest.mark.slow
def test_the_next_epoch_is_drawn_while_this_one_trains_and_makes_no_difference(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders and augmentations come from threads, and are the same; members that leave and join change nothing."""
    asked = threading.local()
    drawn_here: list[int] = []
    batch_order = keyed.batch_order

    def noting(seed: int, epoch: int, num_examples: int) -> Tensor:
        if getattr(asked, "main", False):
            drawn_here.append(epoch)
        return batch_order(seed, epoch, num_examples)

    asked.main = True
    monkeypatch.setattr("tuner.train.batch.order.batch_order", noting)
    settings = {"augment": 0.5, "batch_size": 100}
    members = jobs(tmp_path / "gpu", slow(3))
    members[1] = replace(members[1], to_epoch=2)
    found = curves(run_cohort(make_task(device=gpu, **settings), members))
    assert drawn_here == [0, 0, 0]  # and all later ones elsewhere
    expected = curves(run_cohort(make_task(**settings), jobs(tmp_path / "cpu", slow(3))))
    for trial in range(3):
        assert_close(found[trial], expected[trial][: len(found[trial])], rel=1e-5)


def test_what_an_epoch_needs_is_sent_without_waiting(gpu: str, tmp_path: Path) -> None:
    task = make_task(device=gpu, batch_size=100, mixup=0.2, averaging="ema", dropout=0.2)
    program, runs = after_an_epoch(task, tmp_path)
    MACHINE.counts.clear()
    program.train_steps(epoch_plan(task, runs), 0, 3)
    assert MACHINE.waits == {}
