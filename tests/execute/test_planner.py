"""Which jobs train together."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.execute.sweeps import small_sweep
from tests.train.cohorts import make_task
from tests.train.test_program_memory import trained
from tuner.execute.facts import TaskFacts
from tuner.execute.planner import (
    AHEAD_SECONDS,
    FIRST_ROOM,
    LEAST_ROOM,
    MAX_WIDTH_CPU,
    MAX_WIDTH_GPU,
    Planner,
)
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.execute.widths import COHORTS_AHEAD, FIRST_AHEAD, SHARE, Footprint
from tuner.records import Direction, TrialJob
from tuner.spec.model import DataSpec, DimensionSpec, ModelSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.train.programs.stacked.program import StackedProgram


def planner(*, device: str = "cpu", workers: int = 1, spec: SweepSpec | None = None, **data: Any) -> Planner:
    facts = TaskFacts(
        metric="accuracy",
        direction=Direction.MAXIMIZE,
        data={"input_shape": [64], "num_outputs": 10, "num_train": 1000, "num_dev": 300} | data,
        device=device,
        calibration={"overhead_seconds": 2e-6, "flops_per_second": 4e10},
    )
    return Planner(spec or SweepSpec(study="s", data=DataSpec(source="x.csv")), facts, num_workers=workers)


def quick_gpu(spec: SweepSpec | None = None) -> Planner:
    """Which works so quickly that what small networks wait for is the launch of operations."""
    found = planner(device="cuda:0", spec=spec)
    calibration = {"overhead_seconds": 5e-6, "flops_per_second": 2e13}
    return Planner(found.spec, replace(found.facts, calibration=calibration), num_workers=1)


def of_trials(num: int) -> SweepSpec:
    return SweepSpec(study="s", data=DataSpec(source="x.csv"), search=SearchSpec(trials=num))


def job(trial: int, *, to_epoch: int = 10, **params: Any) -> TrialJob:
    return TrialJob(trial=trial, params=params, seed=trial, to_epoch=to_epoch, folder="")


def trials(jobs: tuple[PlannedJob, ...]) -> list[int]:
    return [planned.job.trial for planned in jobs]


def test_jobs_that_differ_in_shape_do_not_train_together() -> None:
    plan = planner()
    pending = [plan.describe(job(i, hidden_units=width)) for i, width in enumerate((16, 200, 16, 200, 200))]
    cohort = plan.next_cohort(Waiting(pending), idle=1)
    assert cohort is not None
    assert trials(cohort.jobs) == [1, 3, 4]  # the most work first


def test_jobs_that_differ_in_what_is_a_vector_do() -> None:
    plan = planner()
    pending = [plan.describe(job(i, learning_rate=0.1**i, dropout=0.1 * i, weight_decay=1e-4 * i)) for i in range(4)]
    cohort = plan.next_cohort(Waiting(pending), idle=1)
    assert cohort is not None
    assert trials(cohort.jobs) == [0, 1, 2, 3]


@pytest.mark.parametrize(("idle", "share"), [(1, 10), (2, 5), (3, 4), (20, 1)])
def test_one_group_is_shared_among_the_idle_workers(idle: int, share: int) -> None:
    plan = planner(workers=idle)
    cohort = plan.next_cohort(Waiting(plan.describe(job(i)) for i in range(10)), idle=idle)
    assert cohort is not None
    assert len(cohort.jobs) == share


def test_many_groups_are_given_whole() -> None:
    plan = planner(workers=2)
    pending = [plan.describe(job(i, batch_size=2 ** (3 + i % 4))) for i in range(16)]
    cohort = plan.next_cohort(Waiting(pending), idle=2)
    assert cohort is not None
    assert len(cohort.jobs) == 4


def test_jobs_with_the_longest_way_to_go_come_first() -> None:
    plan = planner(workers=2)
    pending = [plan.describe(job(i, to_epoch=epochs)) for i, epochs in enumerate((1, 9, 3, 27))]
    cohort = plan.next_cohort(Waiting(pending), idle=2)
    assert cohort is not None
    assert trials(cohort.jobs) == [3, 1]


def test_no_job_no_cohort() -> None:
    assert planner().next_cohort(Waiting(), idle=1) is None


def test_a_cohort_is_as_wide_as_its_state_fits_the_cache_on_a_cpu_and_wider_on_cuda() -> None:
    small, large = job(0, hidden_units=64, hidden_layers=2), job(1, hidden_units=1024, hidden_layers=3)
    on_cpu, on_cuda = planner(), planner(device="cuda:0")
    assert on_cpu.max_width(on_cpu.describe(small)) == MAX_WIDTH_CPU
    assert on_cpu.max_width(on_cpu.describe(large)) == 1
    assert on_cuda.max_width(on_cuda.describe(large)) == MAX_WIDTH_GPU


def test_out_of_memory_halves_the_width_of_the_same_key_only() -> None:
    plan = planner(device="cuda:0")
    mine, other = plan.describe(job(0, batch_size=64)), plan.describe(job(1, batch_size=128))
    plan.too_wide(mine.key, 100)
    assert plan.max_width(mine) == 50
    assert plan.max_width(other) == MAX_WIDTH_GPU
    plan.too_wide(mine.key, 1)
    assert plan.max_width(mine) == 1


def test_without_fusion_trials_train_one_by_one_and_none_is_asked_for_ahead() -> None:
    plan = planner(spec=small_sweep(fuse="off"))
    assert plan.max_width(plan.describe(job(0))) == 1
    assert plan.room_per_worker == plan.most_room == LEAST_ROOM


def test_estimates_grow_with_what_there_is_to_do() -> None:
    plan = planner()

    def seconds(*jobs: TrialJob) -> float:
        return plan.seconds([plan.describe(j) for j in jobs])

    assert seconds(job(0, to_epoch=20)) == pytest.approx(2 * seconds(job(0, to_epoch=10)))
    assert seconds(job(0, batch_size=16)) > seconds(job(0, batch_size=256))
    assert seconds(job(0, hidden_units=256)) > seconds(job(0, hidden_units=16))
    assert seconds(job(0)) < seconds(job(0), job(1)) < 2 * seconds(job(0))


def test_a_convolution_is_costed_by_its_positions() -> None:
    spec = small_sweep(model="cnn")
    small, large = planner(spec=spec, input_shape=[1, 8, 8]), planner(spec=spec, input_shape=[1, 32, 32])
    values = small.describe(job(0)).values
    assert large.multiplications(values) > 10 * small.multiplications(values)
    assert small.num_parameters(values) < small.multiplications(values)


@given(
    widths=st.lists(st.sampled_from((16, 32, 64, 128)), max_size=40),
    workers=st.integers(1, 5),
)
def test_a_whole_plan_holds_every_job_once(widths: list[int], workers: int) -> None:
    plan = planner(workers=workers)
    jobs = [job(i, hidden_units=width) for i, width in enumerate(widths)]
    cohorts, seconds = plan.whole_plan(jobs)
    assert sorted(t for cohort in cohorts for t in trials(cohort.jobs)) == list(range(len(jobs)))
    assert all(len({p.key for p in cohort.jobs}) == 1 for cohort in cohorts)
    assert all(len(cohort.jobs) <= plan.max_width(cohort.jobs[0]) for cohort in cohorts)
    total = sum(cohort.seconds for cohort in cohorts)
    assert total / workers <= seconds * (1 + 1e-9) <= total * (1 + 1e-9) + 1e-12


def test_on_a_cpu_room_is_for_a_part_of_a_second_of_training() -> None:
    plan = planner()
    assert plan.most_room == MAX_WIDTH_CPU
    assert plan.room_per_worker == FIRST_ROOM
    for seconds, room in ((10.0, LEAST_ROOM), (AHEAD_SECONDS / 5, 5), (0.001, MAX_WIDTH_CPU), (0.0, MAX_WIDTH_CPU)):
        for _ in range(8):
            plan.note_seconds(seconds)
        assert plan.room_per_worker == room


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_on_an_accelerator_room_grows_as_far_as_cohorts_fill(device: str) -> None:
    plan = planner(device=device, spec=of_trials(1000))
    plan.note_seconds(10.0)
    found = []
    for _ in range(4):
        found.append(plan.room_per_worker)
        plan.widths.note_cohort(plan.room_per_worker)  # all share a shape
    assert found[0] == FIRST_AHEAD
    assert found == sorted(found)
    assert found[-1] > 100
    for _ in range(10):
        plan.widths.note_cohort(1)  # each has one of its own
    assert plan.room_per_worker == COHORTS_AHEAD


@pytest.mark.parametrize(("num", "workers", "room"), [(20, 1, FIRST_AHEAD), (100, 1, 25), (101, 1, 26), (200, 2, 25)])
def test_on_an_accelerator_a_search_learns_from_a_part_of_its_trials_before_the_next(
    num: int, workers: int, room: int
) -> None:
    plan = planner(device="cuda:0", workers=workers, spec=of_trials(num))
    plan.widths.note_cohort(MAX_WIDTH_GPU)
    assert plan.room_per_worker == room


@pytest.mark.parametrize(("changes", "room"), [({}, MAX_WIDTH_GPU), ({"pruner": "asha"}, FIRST_AHEAD)])
def test_a_search_that_looks_at_no_results_is_asked_for_a_full_cohort(changes: dict[str, Any], room: int) -> None:
    spec = small_sweep()
    search = spec.search.model_copy(update={"strategy": "random", **changes})
    assert planner(device="cuda:0", spec=spec.model_copy(update={"search": search})).room_per_worker == room


def test_what_cannot_be_fused_is_never_queued_on_an_accelerator() -> None:
    plan = planner(device="cuda:0", spec=small_sweep(model="net.py:build"))
    mine = plan.describe(job(0, batch_size=32))
    assert plan.room_per_worker == FIRST_ROOM  # nobody has seen it yet
    plan.widths.note_way(mine.key, fused=False)
    assert plan.room_per_worker == LEAST_ROOM
    assert plan.max_width(mine) == 1
    other = plan.describe(job(1, batch_size=64))
    plan.widths.note_way(other.key, fused=True)
    assert plan.room_per_worker == FIRST_AHEAD
    assert (plan.max_width(mine), plan.max_width(other)) == (1, MAX_WIDTH_GPU)


def test_memory_that_was_measured_limits_the_widths_of_its_key_and_of_others_by_their_sizes() -> None:
    plan = planner(device="cuda:0")
    small, large = plan.describe(job(0, hidden_units=64)), plan.describe(job(1, hidden_units=512))
    assert plan.max_width(small) == plan.max_width(large) == MAX_WIDTH_GPU  # nobody knows the memory
    room = 1e9
    plan.note_footprint([small], Footprint(per_trial_bytes=1e7, room_bytes=room))
    assert plan.max_width(small) == int(SHARE * room / 1e7)
    ratio = plan.num_bytes(large.values) / plan.num_bytes(small.values)
    assert plan.max_width(large) == int(SHARE * room / (1e7 * ratio))
    plan.note_footprint([large], Footprint(fixed_bytes=2e8, per_trial_bytes=2e8, room_bytes=room))
    assert plan.max_width(large) == 3


def test_the_first_cohort_is_limited_by_what_its_layers_need() -> None:
    spec = small_sweep(model="cnn")
    plan = planner(device="cuda:0", spec=spec, input_shape=[3, 32, 32])
    assert plan.max_width(plan.describe(job(0))) == MAX_WIDTH_GPU
    little = replace(plan.facts, calibration={**plan.facts.calibration, "room_bytes": 1e9})
    narrow = Planner(spec, little, num_workers=1)
    assert 1 < narrow.max_width(narrow.describe(job(0))) < 64
    assert narrow.max_width(narrow.describe(job(1, channels=64))) < narrow.max_width(narrow.describe(job(0)))


@pytest.mark.parametrize(("device", "widest"), [("cpu", MAX_WIDTH_CPU), ("cuda:0", MAX_WIDTH_GPU)])
def test_the_networks_of_all_folds_count_towards_the_width_of_a_cohort(device: str, widest: int) -> None:
    folded = planner(device=device, folds=5)
    small = folded.describe(job(0, hidden_units=16, hidden_layers=1))
    assert folded.max_width(small) == folded.most_room == widest // 5
    folded.too_wide(small.key, 4)
    assert folded.max_width(small) == 2
    many = planner(device=device, folds=2 * widest)
    assert many.max_width(many.describe(job(0))) == many.most_room == 1


@pytest.mark.parametrize(
    ("shape", "channels", "widest"), [([1, 8, 8], 16, 16), ([3, 32, 32], 16, 2), ([3, 224, 224], 8, 1)]
)
@pytest.mark.parametrize("model", ["cnn", "resnet"])
def test_on_a_cpu_what_layers_give_counts_towards_the_width(
    model: str, shape: list[int], channels: int, widest: int
) -> None:
    plan = planner(spec=small_sweep(model=model), input_shape=shape)
    assert plan.max_width(plan.describe(job(0, channels=channels, batch_size=64))) <= widest
    assert widest < 16 or plan.max_width(plan.describe(job(0, channels=channels, batch_size=64))) > 2


def bytes_of_tensors() -> int:
    """Of all that this process holds; not of what compilers leave, which looks like tensors and has no memory."""
    gc.collect()
    tensors = (found for found in gc.get_objects() if type(found) in (Tensor, nn.Parameter))
    memories = [t.untyped_storage() for t in tensors if not torch._C._functorch.is_functorch_wrapped_tensor(t)]
    return sum({memory.data_ptr(): memory.nbytes() for memory in memories}.values())


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_the_memory_of_a_trial_is_about_what_is_estimated(model: str, norm: str, tmp_path: Path) -> None:
    settings = {"norm": norm, "hidden_units": 128}
    task = make_task(model=model, settings=settings, batch_size=128)
    trained(task, tmp_path, count=1)  # what is made once for all programs
    before = bytes_of_tensors()
    program = trained(task, tmp_path, count=1)
    assert isinstance(program, StackedProgram)
    taken = bytes_of_tensors() - before
    spec = small_sweep(model=model, **settings)
    plan = planner(spec=spec, input_shape=[1, 8, 8], num_train=300, num_dev=100)
    estimated = plan.num_bytes(plan.describe(job(0, batch_size=128)).values)
    assert 0.5 < taken / estimated < 2.5


def test_networks_of_several_sizes_train_together_on_a_gpu_where_that_pays() -> None:
    sizes = [{"hidden_units": 16, "hidden_layers": 1}, {"hidden_units": 200, "hidden_layers": 4}, {"hidden_units": 64}]
    for plan, width in ((planner(), 1), (planner(device="mps"), 1), (quick_gpu(), 3)):
        cohort = plan.next_cohort(Waiting(plan.describe(job(i, **own)) for i, own in enumerate(sizes)), idle=1)
        assert cohort is not None
        assert len(cohort.jobs) == width
    # A large network would take its time of all the small ones, in their padding.
    plan = quick_gpu()
    small = [plan.describe(job(i, hidden_units=16)) for i in range(20)]
    large = plan.describe(job(20, hidden_units=8192, hidden_layers=4))
    waiting = Waiting([*small, large])
    cohort = plan.next_cohort(waiting, idle=1)
    assert cohort is not None
    assert trials(cohort.jobs) == list(range(20))
    assert plan.joining([large], members=cohort.jobs) == []
    assert plan.joining([small[0]], members=cohort.jobs) == [small[0]]
    with_large = plan.seconds([small[0], large])
    assert with_large > plan.seconds([large])
    assert with_large == pytest.approx(plan.seconds([large, large]))


@pytest.mark.parametrize(
    ("training", "values"),
    [
        (TrainingSpec(), {"weight_noise": 0.1}),
        (TrainingSpec(), {"weight_decay": "[0.1, 0.1, 0.2]"}),
        (TrainingSpec(freeze=["0.*"]), {}),
    ],
)
def test_networks_of_several_depths_do_not_where_a_layer_has_a_name(
    training: TrainingSpec, values: dict[str, Any]
) -> None:
    plan = planner(device="cuda:0", spec=SweepSpec(study="s", data=DataSpec(source="x.csv"), training=training))

    def key(**params: Any) -> object:
        return plan.describe(job(0, **values, **params)).key

    assert key(hidden_layers=1) != key(hidden_layers=2)
    assert key(hidden_layers=2, hidden_units=16) == key(hidden_layers=2, hidden_units=200)


def test_networks_with_and_without_hidden_layers_do_not_either() -> None:
    plan = planner(device="cuda:0")
    keys = [plan.describe(job(0, hidden_layers=depth)).key for depth in (0, 1, 2)]
    assert keys[0] != keys[1] == keys[2]


def test_a_search_is_asked_for_cohorts_on_a_gpu_where_they_are_nearly_free() -> None:
    def asked(device: str = "cuda:0", **changes: Any) -> tuple[int, list[str]] | None:
        search = SearchSpec(**{"trials": 64, **changes.pop("search", {})})
        spec = SweepSpec(study="s", data=DataSpec(source="x.csv"), search=search, **changes)
        found = (quick_gpu(spec) if device == "cuda:0" else planner(device=device, spec=spec)).cohorts
        return None if found is None else (found.size, sorted(found.alike))

    assert asked() == (9, ["batch_size"])
    assert asked(search={"trials": 256}) == (18, ["batch_size"])
    assert asked(search={"trials": 11}) is None
    assert asked(device="cpu") is None
    assert asked(training=TrainingSpec(fuse="off")) is None
    assert asked(model=ModelSpec(kind="cnn")) is None
    assert asked(search={"strategy": "tpe"}) is None
    assert asked(search={"pruner": "asha"}) is None
    wide = {"hidden_units": DimensionSpec(choices=[16, 8192]), "batch_size": DimensionSpec(choices=[256])}
    assert asked(space=wide) is None


def test_a_gpu_asks_for_a_cohort_when_it_has_nothing_to_do() -> None:
    assert quick_gpu(of_trials(64)).room_per_worker == 9
    assert planner(device="cuda:0", spec=of_trials(64)).cohorts is None  # slower than the launches
