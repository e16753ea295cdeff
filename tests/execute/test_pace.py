"""Whether a CPU is quicker than an accelerator is measured by `tuner check`, and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.execute.sweeps import make_job, small_sweep
from tests.train.cohorts import jobs, make_task
from tuner.cli.check import _pace
from tuner.execute import cores, preflight
from tuner.execute.devices import WorkerPlace
from tuner.execute.training import facts_of, open_task
from tuner.records import EpochResult, TrialJob
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.train.before import pace, rehearsal
from tuner.train.before.pace import CohortPace, cohort_pace, trial_epoch_seconds
from tuner.train.programs.fusion import fusion_key
from tuner.train.task import Task


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


class Paced:
    """A program by whose clock each of the first steps takes 5 s, later ones 2 s, and each evaluated example .01 s."""

    def __init__(self) -> None:
        self.now, self.num_steps, self.num_evaluated = 0.0, 0, 0

    def train_steps(self, plan: object, first: int, last: int) -> None:
        for _ in range(first, last):
            self.now += 5.0 if self.num_steps < pace.WARM_UP_STEPS else 2.0
            self.num_steps += 1

    def evaluate_some(self, program: object, count: int) -> None:
        self.now += 0.01 * count
        self.num_evaluated += count


def paced(monkeypatch: pytest.MonkeyPatch, *, steps: int, examples: int) -> tuple[Paced, float]:
    """What was done to time an epoch of two trials, and the seconds that were found."""
    clock = Paced()
    plan = SimpleNamespace(step_SK=range(steps))
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(pace, "first_epoch", lambda task, jobs: (clock, plan))
    task = SimpleNamespace(
        device=torch.device("cpu"), num_evaluated=examples, evaluate_some=clock.evaluate_some,
        evaluate=lambda program: clock.evaluate_some(program, examples),
    )  # fmt: skip
    seconds = trial_epoch_seconds(task, [None, None])  # type: ignore[arg-type, list-item]
    assert seconds is not None
    return clock, seconds


def test_what_is_timed_is_an_epoch_of_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LEAST_SECONDS", 100.0)
    monkeypatch.setattr(pace, "_WARM_UP_SECONDS", 1000.0)
    _, seconds = paced(monkeypatch, steps=12, examples=100)
    assert seconds == pytest.approx((12 * 2.0 + 100 * 0.01) / 2)


def test_of_long_steps_and_many_examples_a_few_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LEAST_SECONDS", 0.3)
    clock, seconds = paced(monkeypatch, steps=1000, examples=1_000_000)
    assert seconds == pytest.approx((1000 * 5.0 + 1_000_000 * 0.01) / 2)
    assert clock.num_steps == 3
    assert clock.num_evaluated < 200


@pytest.mark.parametrize(("on_core", "said"), [(0.008, "--devices cpu is about 2 times"), (0.04, "--devices cuda is")])
def test_the_quicker_one_is_named(on_core: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "num_cores", lambda: 8)
    words = _pace({"cuda:0": 0.004, "cpu": on_core}, num_accelerators=2)
    assert words.startswith("pace: the default configuration takes 4 ms for a trial and an epoch on cuda:0, and ")
    assert said in words


@pytest.mark.parametrize(
    ("space", "timed"),
    [
        ({"learning_rate": {"low": 1e-4, "high": 1e-2}}, 1),
        ({"batch_size": {"choices": [16, 32, 64, 128]}, "hidden_units": {"low": 16, "high": 256}}, 3),
    ],
)  # fmt: skip
def test_one_configuration_of_each_fusion_key_is_timed(
    space: dict[str, object], timed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SweepSpec.model_validate(small_sweep(epochs=1).model_dump() | {"space": space})
    task = open_task(spec, WorkerPlace("cpu", 1, None), alone=False)
    assert isinstance(task, Task)
    shapes = []

    def found(task: Task, jobs: list[TrialJob]) -> CohortPace:
        shapes.append(fusion_key(spec, settings_for(spec, jobs[0].params)))
        return CohortPace(1.0, 0.5)

    monkeypatch.setattr(pace, "cohort_pace", found)
    facts = preflight._paced(spec, task, make_job(tmp_path, 0, to_epoch=1), facts_of(task))
    assert len(shapes) == len(set(shapes)) >= timed
    assert facts.calibration["begin_seconds"] == 0.5
    shapes.clear()
    monkeypatch.setattr(preflight, "_PACING_SECONDS", -1.0)
    preflight._paced(spec, task, make_job(tmp_path, 0, to_epoch=1), facts_of(task))
    assert len(shapes) == 1


def in_folders(members: list[TrialJob], *, to_epoch: int) -> list[TrialJob]:
    return [replace(job, to_epoch=to_epoch) for job in members]


def test_the_pace_of_a_cohort_is_that_of_its_later_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 5.0, 6.0, 7.0, *range(8, 99)])
    monkeypatch.setattr(pace, "time", SimpleNamespace(perf_counter=lambda: next(moments)))
    monkeypatch.setattr("tuner.train.loop.stretch.SHARE", 0.0)
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


def test_what_own_code_does_but_once_is_no_epoch() -> None:
    zeros = dict.fromkeys(("train_loss", "dev_loss", "train_metric", "dev_metric", "learning_rate"), 0.0)
    curve = [EpochResult(epoch=n, seconds=seconds, **zeros) for n, seconds in ((1, 12.0), (2, 14.5), (3, 16.5))]
    assert rehearsal._pace(curve) == (2.0, 10.0)
    assert rehearsal._pace(curve[:1]) == (12.0, 0.0)
