"""Whether a CPU is quicker than an accelerator is measured by `tuner check`, and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.execute.sweeps import make_job, small_sweep
from tests.train.cohorts import jobs, make_task
from tuner.cli.check import _pace
from tuner.execute import cores, preflight
from tuner.execute.devices import WorkerPlace
from tuner.execute.training import open_task
from tuner.records import TrialJob
from tuner.train.before import pace
from tuner.train.before.pace import cohort_pace, trial_epoch_seconds


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LEAST_SECONDS", 1e-9)


@pytest.mark.gpu
@pytest.mark.slow
def test_an_epoch_is_timed_on_the_accelerator_and_on_a_core(tmp_path: Path) -> None:
    spec = small_sweep(epochs=1)
    job = make_job(tmp_path, 0, to_epoch=1)
    found = preflight._epoch_seconds(spec, open_task(spec, WorkerPlace("cuda:0", 1, None), alone=False), job)
    assert list(found) == ["cuda:0", "cpu"]
    assert all(seconds > 0.0 for seconds in found.values())
    assert preflight._epoch_seconds(spec, open_task(spec, WorkerPlace("cpu", 1, None), alone=False), job) == {}


def test_what_is_timed_is_an_epoch_of_one_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(float(n) for n in range(100))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(ticks))
    task = make_task(batch_size=25)  # 12 steps
    members = jobs(tmp_path, [{"learning_rate": 0.01}] * 2)
    # By this clock twelve steps take a second, and an evaluation another one; there are two trials.
    assert trial_epoch_seconds(task, members) == pytest.approx((1.0 / pace.WARM_UP_STEPS * 12 + 1.0) / 2)


@pytest.mark.parametrize(("on_core", "said"), [(0.008, "--devices cpu is about 2 times"), (0.04, "--devices cuda is")])
def test_the_quicker_one_is_named(on_core: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 8)
    words = _pace({"cuda:0": 0.004, "cpu": on_core}, num_accelerators=2)
    assert words.startswith("pace: the default configuration takes 4 ms for a trial and an epoch on cuda:0, and ")
    assert said in words


def in_folders(members: list[TrialJob], *, to_epoch: int) -> list[TrialJob]:
    return [replace(job, to_epoch=to_epoch) for job in members]


def test_the_pace_of_a_cohort_is_that_of_its_later_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 5.0, 6.0, 7.0, *range(8, 99)])
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    task = make_task(epochs=20)
    members = in_folders(jobs(tmp_path, [{"learning_rate": 0.01}] * 2), to_epoch=20)
    found = cohort_pace(task, members, limit_seconds=6.5)
    assert found is not None
    assert found.epoch_seconds == pytest.approx(1.0, abs=0.5)
    assert found.begin_seconds == pytest.approx(4.0, abs=0.5)


def test_an_epoch_that_is_not_waited_for_is_reckoned_from_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "Cohort", lambda task, jobs, worker: SimpleNamespace(epochs=lambda: iter([[]])))
    found = cohort_pace(make_task(), jobs(tmp_path, [{"learning_rate": 0.01}] * 2), limit_seconds=-1.0)
    assert found is not None
    assert found.epoch_seconds > 0
