"""Evaluation takes as much memory as examples are large, in one buffer, and the figures do not show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import jobs, make_task
from tuner.models.network import Network
from tuner.train.measure import portions as module
from tuner.train.measure.portions import EVALUATION_BYTES, EVALUATION_ROWS, evaluation_rows
from tuner.train.program import evaluation_chunks
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.task import Task

NETWORKS: Mapping[str, Mapping[str, object]] = {
    "mlp": {"model": "mlp", "settings": {"norm": "layer", "activation": "gelu", "residual": True}},
    "cnn": {"model": "cnn", "settings": {"norm": "batch", "activation": "tanh"}},
    "resnet": {"model": "resnet", "settings": {"norm": "layer", "channels": 4}},
}


def untrained(task: Task, folder: Path, *, count: int = 1) -> StackedProgram:
    members = [task.member(job) for job in jobs(folder, [{"learning_rate": 0.01}] * count)]
    program = task.program(members)
    assert isinstance(program, StackedProgram)
    return program


def held_bytes(program: StackedProgram) -> int:
    return sum(4 * t.numel() for t in program._evaluator._memory)


@pytest.mark.parametrize(("example_bytes", "rows"), [(1, 256), (2**19, 256), (2**20, 128), (9 * 2**20, 14), (2**30, 1)])
def test_so_many_examples_at_once_as_are_small(example_bytes: int, rows: int) -> None:
    assert evaluation_rows(example_bytes) == rows
    assert rows == 1 or rows * example_bytes <= EVALUATION_BYTES


def test_photographs_are_few_at_once_and_digits_many() -> None:
    photographs = torch.empty(30, 3, 224, 224, device="meta")
    assert [len(chunk) for chunk in evaluation_chunks(photographs)] == [13, 13, 4]
    assert [len(chunk) for chunk in evaluation_chunks(torch.empty(300, 1, 28, 28, device="meta"))] == [256, 44]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_knows_what_an_example_takes(name: str, tmp_path: Path) -> None:
    program = untrained(make_task(**NETWORKS[name]), tmp_path)
    program.outputs(torch.zeros(64, 1, 8, 8))
    assert isinstance(program.network, Network)
    assert 0.6 <= held_bytes(program) / (64 * 4 * program.network.num_activations) <= 1.1


@pytest.mark.parametrize("name", NETWORKS)
def test_one_memory_serves_every_number_of_examples(name: str, tmp_path: Path) -> None:
    task, inputs = make_task(**NETWORKS[name]), torch.randn(300, 1, 8, 8)
    program = untrained(task, tmp_path, count=2)
    first = program.outputs(inputs).clone()
    whole = held_bytes(program)
    tail = program.outputs(inputs[EVALUATION_ROWS:]).clone()
    assert torch.equal(tail, first[:, EVALUATION_ROWS:])
    assert torch.equal(program.outputs(inputs), first)
    assert held_bytes(program) == whole
    assert torch.equal(untrained(task, tmp_path, count=2).outputs(inputs[EVALUATION_ROWS:]), tail)


@pytest.mark.parametrize("name", NETWORKS)
def test_large_examples_are_evaluated_in_little_memory_to_the_same_figures(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, inputs = make_task(**NETWORKS[name]), torch.randn(100, 1, 8, 8)
    expected = untrained(task, tmp_path).outputs(inputs)
    monkeypatch.setattr(module, "EVALUATION_BYTES", 2**18)
    program, wide = untrained(task, tmp_path), untrained(task, tmp_path, count=3)
    found = program.outputs(inputs)
    assert torch.allclose(found, expected, atol=1e-5)
    assert held_bytes(program) <= 1.1 * 2**18
    assert torch.equal(wide.outputs(inputs)[:1], found), "a trial's figures depend on its neighbours"


@pytest.mark.slow
def test_dead_units_are_counted_in_portions_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"hidden_units": 64, "hidden_layers": 1}
    fused, written = make_task(settings=settings), make_task(settings=settings, fuse="off")
    inputs = torch.randn(40, 1, 8, 8)
    programs = [t.program([t.member(job) for job in jobs(tmp_path, [{}])]) for t in (fused, written)]
    expected = [next(iter(p.dead_units(inputs[:6]).values())).item() for p in programs]
    monkeypatch.setattr(module, "EVALUATION_BYTES", 2**13)
    for program, before in zip(programs, expected, strict=True):
        assert next(iter(program.dead_units(inputs[:6]).values())).item() == before
