"""What a sweep will take, from what was measured: table by table, and never nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.execute.facts import TaskFacts
from tuner.execute.foreseen import Plan
from tuner.execute.free_memory import free_bytes, taken_bytes
from tuner.execute.preflight import Preflight
from tuner.records import Direction
from tuner.spec.model import DataSpec, FinalistsSpec, SearchSpec, StopSpec, SweepSpec, TrainingSpec
from tuner.sweep import needs
from tuner.sweep.forecast import expected_epochs, forecast, memory_text, shown_seconds
from tuner.sweep.needs import MemoryNeed


def sweep(*, epochs: int = 20, finalists: FinalistsSpec | None = None, **search: Any) -> SweepSpec:
    return SweepSpec(
        study="s",
        data=DataSpec(source="d.csv"),
        training=TrainingSpec(epochs=epochs),
        search=SearchSpec(**{"trials": 10, "strategy": "random", **search}),
        finalists=finalists,
    )


FACTS = TaskFacts(metric="accuracy", direction=Direction.MAXIMIZE, data={}, device="cpu", calibration={})
FOUND = Preflight(
    facts=FACTS, default={}, num_parameters=1, baseline=0.1, checks=(), start_seconds=2.0, load_seconds=0.25,
    worker_bytes=500_000_000, shared_bytes=400_000_000,
)  # fmt: skip
PLAN = Plan(trials=10, cohorts=4, widest=3, seconds=30.0, begin_seconds=1.0)


@pytest.mark.parametrize(
    ("load", "seconds", "said"),
    [
        (0.25, 30.0, "about 37 s: start 2 s, loading under 1 s, training of 200 epochs 31 s, report 4 s"),
        (90.0, 30.0, "about 2 min: start 2 s, loading 90 s, training of 200 epochs 31 s, report 4 s"),
        (0.0, 0.0, "about 7 s: start 2 s, loading under 1 s, training of 200 epochs 1 s, report 4 s"),
        (0.0, 36000.0, "about 10.0 h: start 2 s, loading under 1 s, training of 200 epochs 10.0 h, report 4 s"),
    ],
)
def test_the_parts_are_said_and_add_up(load: float, seconds: float, said: str) -> None:
    found = forecast(sweep(), replace(FOUND, load_seconds=load), replace(PLAN, seconds=seconds))
    assert found.text == said


def test_what_others_take_of_the_machine_is_said_where_it_is_much() -> None:
    idle, busy = (forecast(sweep(), replace(FOUND, waited_share=share), PLAN).text for share in (0.1, 0.75))
    assert "busy" not in idle
    assert busy == f"{idle}; on a machine that is as busy as now, where others have the cores for 75% of it: alone 9 s"


def test_half_of_the_epochs_take_half_of_the_time() -> None:
    whole, half = (forecast(sweep(stop=StopSpec(epochs=epochs)), FOUND, PLAN) for epochs in (200, 100))
    assert whole.training - half.training == pytest.approx(15.0)
    assert half.epochs == 100


def test_no_sweep_takes_no_time() -> None:
    assert shown_seconds(0.0) == "under 1 s"
    nothing = replace(FOUND, start_seconds=0.0, load_seconds=0.0)
    assert forecast(sweep(), nothing, replace(PLAN, seconds=0.0, begin_seconds=0.0)).text.startswith("under 1 s: ")


def test_epochs_of_finalists_count_and_those_that_pausing_spares_do_not() -> None:
    assert expected_epochs(sweep()) == 200
    assert expected_epochs(sweep(finalists=FinalistsSpec(count=3, seeds=2))) == 200 + 6 * 20
    assert expected_epochs(sweep(trials=2, finalists=FinalistsSpec(count=3, seeds=2))) == 40 + 4 * 20
    for search in ({"strategy": "priority"}, {"pruner": "asha"}, {"strategy": "tpe", "pruner": "hyperband"}):
        assert 40 < expected_epochs(sweep(trials=24, **search)) < 24 * 20


def test_whole_cohorts_on_a_gpu_are_trained_in_full() -> None:
    data = {"input_shape": [64], "num_outputs": 10, "num_train": 1000, "num_dev": 300}
    gpu = replace(FACTS, data=data, device="cuda:0", calibration={"overhead_seconds": 5e-6, "flops_per_second": 2e13})
    spec = sweep(trials=24, strategy="priority")
    assert expected_epochs(spec, gpu) == 24 * 20
    assert expected_epochs(spec, replace(gpu, device="cpu")) == expected_epochs(spec)


@pytest.mark.slow
def test_a_long_search_is_played_through_in_part() -> None:
    short, long = (expected_epochs(sweep(trials=trials, pruner="median")) for trials in (200, 2000))
    assert long == 10 * short


@pytest.mark.parametrize(
    ("workers", "free", "said"),
    [
        (1, 12_000_000_000, "needs about 1.2 GB with 1 worker, 12.0 GB are free"),
        (4, 12_000_000_000, "needs about 2.7 GB with 4 workers, 12.0 GB are free"),
        (4, None, "needs about 2.7 GB with 4 workers"),
        (4, 2_000_000_000, "needs about 2.7 GB with 4 workers, 2.0 GB are free: too little; what takes less: "
                           "--workers 1; a smaller batch_size or network; data.stream: true, which leaves the examples "
                           "on disk; fewer columns (data.ignore)"),
    ],
)  # fmt: skip
def test_memory_is_that_of_all_processes(workers: int, free: int | None, said: str) -> None:
    assert memory_text(sweep(), FOUND, num_workers=workers, free_bytes=free) == said
    assert memory_text(sweep(), replace(FOUND, shared_bytes=0), num_workers=workers, free_bytes=free) == ""


def test_data_that_workers_map_count_once() -> None:
    mapped = replace(FOUND, worker_bytes=100_000_000, mapped_bytes=400_000_000)
    one, four = (memory_text(sweep(), mapped, num_workers=n, free_bytes=None) for n in (1, 4))
    assert (one, four) == ("needs about 1.2 GB with 1 worker", "needs about 1.5 GB with 4 workers")


def test_what_a_run_takes_is_said_once_when_each_worker_has_trained_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "taken_bytes", lambda: 1_240_000_000)
    monkeypatch.setattr(needs, "free_bytes", lambda: 12_000_000_000)
    said: list[str] = []
    need = MemoryNeed(num_workers=2, num_trials=10, say=said.append)
    for number, expected in ((0, 0), (0, 0), (1, 1), (2, 1)):
        need.epochs(SimpleNamespace(number=number), [])  # type: ignore[arg-type]
        assert len(said) == expected
    assert said == ["memory: needs about 1.2 GB with 2 workers, 12.0 GB are free beside that"]


def test_what_a_run_takes_is_that_of_its_descendants(tmp_path: Path) -> None:
    own = os.getpid()
    assert taken_bytes(processes=tmp_path) is None
    for pid, parent, kilobytes in ((own, 1, 100), (7000001, own, 20), (7000002, 7000001, 3), (7000003, 1, 500)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} 0")
        (tmp_path / str(pid) / "smaps_rollup").write_text(f"0-1 [rollup]\nRss: 900 kB\nPss: {kilobytes} kB\n")
    assert taken_bytes(processes=tmp_path) == 123 * 1024


def test_what_is_free_is_what_the_machine_and_the_group_allow(tmp_path: Path) -> None:
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    membership = tmp_path / "membership"
    membership.write_text("0::/jobs/7\n")
    inner = group / "jobs" / "7"
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) is None
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) == 4_096_000
    inner.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000000\n")
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) == 4_096_000
    (group / "memory.max").write_text("3000000\n")
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) == 2_000_000
    (inner / "memory.max").write_text("1000000\n")
    (inner / "memory.current").write_text("400000\n")
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) == 600_000
    (inner / "memory.stat").write_text("anon 150000\ninactive_file 250000\n")
    assert free_bytes(meminfo=meminfo, root=group, membership=membership) == 850_000


def test_what_a_control_group_of_version_1_allows(tmp_path: Path) -> None:
    """A group without a limit has an enormous one there."""
    group = tmp_path / "memory" / "docker" / "7"
    group.mkdir(parents=True)
    (tmp_path / "membership").write_text("4:memory:/docker/7\n0::/\n")
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    (tmp_path / "memory" / "memory.usage_in_bytes").write_text("3000000\n")
    (group / "memory.limit_in_bytes").write_text("2000000\n")
    (group / "memory.usage_in_bytes").write_text("1500000\n")
    (group / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 400000\n")
    found = free_bytes(meminfo=tmp_path / "meminfo", root=tmp_path, membership=tmp_path / "membership")
    assert found == 900_000
