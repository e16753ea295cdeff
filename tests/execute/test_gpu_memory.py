"""A GPU's memory: what a group may have, what is said where others hold it, and what ended trials leave."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.contracts.executor_contract import drain, ends
from tests.depth import but_deep
from tests.execute.sweeps import make_job, small_sweep
from tests.pretend_cuda import HAS_GPU, MACHINE
from tests.pretend_cuda.machine import TOTAL_BYTES
from tests.train.cohorts import digits, jobs, make_task
from tuner.errors import DataError
from tuner.execute import training
from tuner.execute.devices import WorkerPlace
from tuner.execute.inline import InlineExecutor
from tuner.execute.memory import room_bytes
from tuner.execute.planner import FIRST_ROOM, LEAST_ROOM, MAX_WIDTH_GPU
from tuner.execute.runner import CohortRunner
from tuner.execute.training import open_task
from tuner.execute.widths import Footprint
from tuner.paths import StudyPaths
from tuner.records import TrialFinished, TrialStarted
from tuner.spec.model import SweepSpec
from tuner.train.task import Task

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.deep,
    pytest.mark.skipif(HAS_GPU, reason="limits the memory of the pretended machine"),
]

GPU = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def all_memory() -> Iterator[None]:
    yield
    MACHINE.limit_bytes = float("inf")


@pytest.mark.slow
@pytest.mark.parametrize("model", but_deep(["mlp", "cnn"], "cnn"))
def test_of_sixteen_trials_six_fit_and_all_finish_after_one_that_was_refused(
    model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(device="cuda", model=model, epochs=1, batch_size=128, optimizer="adam")
    found: list[Footprint] = []
    refused: list[int] = []
    runner = CohortRunner(task, worker="test", too_wide=refused.append, measured=found.append)
    before = MACHINE.in_use()

    def train(folder: str, count: int) -> list[object]:
        members = jobs(tmp_path / folder, [{"learning_rate": 1e-4}] * count, to_epoch=1)
        return [event for events in runner.train(members) for event in events]

    train("alone", 6)
    assert found[-1].per_trial_bytes > 0
    MACHINE.limit_bytes = before + 6.5 * found[-1].per_trial_bytes
    with caplog.at_level(logging.WARNING):
        events = train("all", 16)
    assert sorted(e.trial for e in events if isinstance(e, TrialFinished)) == list(range(16))
    assert refused == [16]
    assert max(e.cohort_width for e in events if isinstance(e, TrialStarted)) in range(3, 7)
    assert all(measured.most <= 6 for measured in found[1:])


@pytest.mark.slow
def test_what_cannot_be_fused_is_asked_for_one_by_one(tmp_path: Path) -> None:
    spec = small_sweep(model="recurrent", epochs=1)
    executor = InlineExecutor(spec, StudyPaths(tmp_path), device="cuda")
    assert executor.room() == FIRST_ROOM
    first = [make_job(tmp_path, trial, to_epoch=1) for trial in range(3)]
    executor.submit(first)
    assert all(isinstance(end, TrialFinished) for end in ends(drain(executor, first)).values())
    executor.events(0.0)  # which finds the cohort at its end
    assert executor.room() == LEAST_ROOM
    assert executor.planner.max_width(executor.planner.describe(first[0])) == 1


@pytest.mark.slow
def test_a_planner_knows_a_gpus_memory_from_the_start_and_measures_its_cohorts(tmp_path: Path) -> None:
    MACHINE.limit_bytes = MACHINE.in_use() + 2**24
    executor = InlineExecutor(small_sweep(epochs=1), StudyPaths(tmp_path), device="cuda")
    planned = executor.planner.describe(make_job(tmp_path, 0, to_epoch=1))
    estimated = executor.planner.max_width(planned)
    assert 1 < estimated < MAX_WIDTH_GPU
    members = [make_job(tmp_path, trial, to_epoch=1) for trial in range(2)]
    executor.submit(members)
    drain(executor, members)
    measured = executor.planner.max_width(planned)
    assert 1 < measured < MAX_WIDTH_GPU
    assert executor.planner.widths._footprints  # which it goes by from now on


def test_data_that_a_gpu_has_no_room_for_are_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "load_training_data", lambda spec, **_: digits())
    MACHINE.limit_bytes = MACHINE.in_use() + 1000
    with pytest.raises(DataError) as error:
        open_task(small_sweep(), WorkerPlace("cuda:1", 1, None), alone=False)
    said = str(error.value)
    assert said.startswith("the data (0.00 GiB) do not fit on cuda:1: 128.0 of its 128.0 GiB are free")
    for remedy in ("--devices", "data.stream"):
        assert remedy in said


def test_a_worker_that_shares_a_gpu_plans_with_its_share_or_less_where_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "load_training_data", lambda spec, **_: digits())
    place = WorkerPlace("cuda:0", 1, None, sharers=4)
    task = open_task(small_sweep(), place, alone=False)
    assert isinstance(task, Task)
    assert 0.24 < training.facts_of(task).calibration["room_bytes"] / TOTAL_BYTES < 0.25
    torch.cuda.set_per_process_memory_fraction(0.1, GPU)
    open_task(small_sweep(), place, alone=False)
    assert torch.cuda.get_per_process_memory_fraction(GPU) == pytest.approx(0.1)


def test_others_on_a_gpu_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(training, "load_training_data", lambda spec, **_: digits())
    open_task(small_sweep(), WorkerPlace("cuda:0", 1, None), alone=False)
    assert "other processes" not in caplog.text
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**33, 2**37))
    open_task(small_sweep(), WorkerPlace("cuda:0", 1, None), alone=False)
    assert "other processes hold 120 of the 128 GiB of cuda:0" in caplog.text


def trainer(trial: object) -> None:
    """Leaves a tensor in a reference cycle."""
    held: list[object] = [torch.zeros(2**24, device="cuda")]
    held.append(held)
    trial.report(epoch=1, own_metric=0.5)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_what_a_trainer_leaves_in_cycles_is_gone_before_the_next_trial(tmp_path: Path) -> None:
    spec = SweepSpec.model_validate(
        {
            "study": "own", "trainer": "tests/execute/test_gpu_memory.py:trainer", "root": ".",
            "space": {"learning_rate": {"low": 1e-3, "high": 1.0}}, "training": {"epochs": 1},
            "objective": {"metric": "own_metric", "direction": "maximize"},
        }
    )  # fmt: skip
    gc.collect()
    gc.disable()
    try:
        executor = InlineExecutor(spec, StudyPaths(tmp_path), device="cuda")
        before, room = MACHINE.in_use(), room_bytes(GPU)
        for trial in range(3):
            job = make_job(tmp_path, trial, to_epoch=1)
            executor.submit([job])
            assert isinstance(ends(drain(executor, [job]))[trial], TrialFinished)
            executor.events(0.0)
            assert MACHINE.in_use() - before < 2**20
        assert room_bytes(GPU) == room
    finally:
        gc.enable()
