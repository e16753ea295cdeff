"""A program's memory is free as soon as nobody holds it, and members that leave do not cost it twice."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretend_cuda import HAS_GPU, MACHINE
from tests.train.cohorts import jobs, make_task
from tests.train.test_exactness import TWO_LAYERS, per_trial
from tuner.records import Params
from tuner.train.loop.member import Run
from tuner.train.loop.slices import epoch_plan
from tuner.train.program import Program
from tuner.train.programs.row_program import RowProgram
from tuner.train.task import Task

CASES: Mapping[str, Mapping[str, object]] = {
    "stacked": {},
    "stacked, all techniques": {
        "augment": 0.5, "mixup": 0.2, "averaging": "ema", "max_norm": 0.7, "settings": {"norm": "batch"},
    },
    "vmap": {"model": TWO_LAYERS},
    "vmap, all techniques": {"model": TWO_LAYERS, "mixup": 0.2, "averaging": "ema", "max_norm": 0.7},
    "plain": {"fuse": "off"},
    "stacked, layer norm": {"settings": {"norm": "layer"}},
    "stacked, residual images": {"model": "resnet", "settings": {"channels": 4, "conv_layers": 1}},
}  # fmt: skip


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nobody looks for reference cycles."""
    torch.optim.SGD([torch.zeros(1)], lr=0.1)  # the first one in a process imports what keeps its callers' frames
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def trained(task: Task, folder: Path, *, count: int = 4) -> Program:
    """A program after an epoch and an evaluation."""
    configurations: list[Params] = [{**c, "learning_rate": 0.01} for c in per_trial(count)]
    runs = [Run.of(job, task) for job in jobs(folder, configurations)]
    program = task.program([run.member for run in runs])
    plan = epoch_plan(task, runs)
    program.train_steps(plan, 0, len(plan.step_SK))
    task.evaluate(program)
    program.save_best([0])
    return program


def num_tensors() -> int:
    return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())


def check_gone_with_its_last_reference(task: Task, folder: Path) -> None:
    trained(task, folder)  # what is made once for all programs
    before = num_tensors()
    program = trained(task, folder)
    smaller = program.resized([0, 2], [])
    gone = weakref.ref(program)
    del program
    assert gone() is None
    task.evaluate(smaller)
    del smaller
    assert num_tensors() <= before, "tensors of the programs are still there"


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_program_is_gone_with_its_last_reference(name: str, tmp_path: Path, no_collector: None) -> None:
    check_gone_with_its_last_reference(make_task(epochs=3, **CASES[name]), tmp_path)


@pytest.mark.gpu
@pytest.mark.deep
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_too(gpu: str, name: str, tmp_path: Path, no_collector: None) -> None:
    check_gone_with_its_last_reference(make_task(device=gpu, epochs=3, **CASES[name]), tmp_path)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(HAS_GPU, reason="counts bytes of the pretended machine")
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_members_that_leave_do_not_cost_the_program_twice(
    gpu: str, model: str, tmp_path: Path, no_collector: None
) -> None:
    task = make_task(device=gpu, model=model, batch_size=128)
    before = MACHINE.in_use()
    program = trained(task, tmp_path, count=8)
    whole = MACHINE.in_use() - before
    MACHINE.peak_bytes = 0
    program = program.resized(range(7), [])
    task.evaluate(program)
    assert MACHINE.peak_bytes - before < 1.3 * whole
    for left in range(6, 0, -1):
        program = program.resized(range(left), [])
    del program
    assert MACHINE.in_use() - before < 0.05 * whole


class NewMemory(TorchDispatchMode):
    """Counts the numbers that operations put into memory of their own."""

    def __init__(self, program: RowProgram) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in program._rows().values()}
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.untyped_storage().data_ptr() not in self.known:
            self.numbers += found.numel()
        return found


def test_weights_that_are_kept_as_the_best_are_copied_once(tmp_path: Path) -> None:
    program = trained(make_task(settings={"norm": "batch"}), tmp_path)
    assert isinstance(program, RowProgram)
    program.p_KP.normal_()
    before = program.best_KP.clone()
    with NewMemory(program) as some:
        program.save_best([0, 2])
    assert some.numbers > program.p_KP[0].numel()
    assert torch.equal(program.best_KP, torch.stack([program.p_KP[0], before[1], program.p_KP[2], before[3]]))
    with NewMemory(program) as all_of_them:
        program.save_best([0, 1, 2, 3])
    assert all_of_them.numbers == 0
    assert torch.equal(program.best_KP, program.p_KP)
    assert all(torch.equal(program.best_buffers[name], tensor) for name, tensor in program.buffers.items())
