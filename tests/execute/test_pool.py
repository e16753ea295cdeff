"""A pool of very many workers, in one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.execute.devices import WorkerPlace
from tuner.execute.facts import TaskFacts
from tuner.execute.pool import WorkerPool
from tuner.execute.scarcity import Scarcity
from tuner.execute.watched import Worker
from tuner.paths import StudyPaths
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
)
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec

FACTS = TaskFacts(
    metric="accuracy",
    direction=Direction.MAXIMIZE,
    data={"input_shape": [20], "num_outputs": 2, "num_train": 4000, "num_dev": 1000},
    device="cpu",
    calibration={"overhead_seconds": 1e-6, "flops_per_second": 1e9},
)


class Told:
    """A process that a test speaks for."""

    was_killed = went_with_its_machine = False
    scarcity = Scarcity()

    def __init__(self) -> None:
        self.printed = self
        self.inbox: deque[tuple[Any, ...]] = deque([("ready", FACTS)])
        self.asked = 0
        self.given: list[TrialJob] = []

    def send(self, *message: Any) -> None:
        match message:
            case ("train" | "join", jobs):
                self.given += jobs

    def received(self) -> Iterator[tuple[Any, ...]]:
        self.asked += 1
        while self.inbox:
            yield self.inbox.popleft()

    def ask_to_end(self) -> None: ...

    def join(self, timeout_seconds: float) -> None: ...

    def kill(self) -> None: ...

    def bury(self) -> tuple[FailureReason, str, bool]:
        return FailureReason.KILLED, "", True

    def take(self) -> bytes:
        return b""

    def close(self) -> None: ...


class Pool(WorkerPool):
    def __init__(self, folder: Path, *, workers: int) -> None:
        super().__init__(SweepSpec(study="s", data=DataSpec(source="made up")), StudyPaths(folder))
        self.processes = [Told() for _ in range(workers)]
        place = WorkerPlace("cpu", 1, None, False)
        self.workers = [Worker(number, place, process) for number, process in enumerate(self.processes)]

    def _another(self, lost: Worker) -> Worker | None:
        raise AssertionError("none is lost")

    def _wait(self, timeout_seconds: float) -> list[Worker]:
        return [w for w, process in zip(self.workers, self.processes, strict=True) if process.inbox]

    def begin(self) -> list[TrialEvent]:
        """One job for each worker, of a minute."""
        assert self.facts
        self.submit([job(trial) for trial in range(len(self.workers))])
        for _ in range(8):
            self.planner.note_seconds(60.0)
        return self.events(0.0)

    def end(self, worker: int) -> None:
        (running,) = self.processes[worker].given
        self.processes[worker].inbox.append(("events", ends(running.trial)))


def job(trial: int) -> TrialJob:
    return TrialJob(trial=trial, params={}, seed=trial, to_epoch=1, folder="")


def ends(trial: int) -> list[TrialEvent]:
    result = EpochResult(
        epoch=1, train_loss=0.5, dev_loss=0.5, train_metric=0.5, dev_metric=0.5, learning_rate=0.1, seconds=60.0
    )
    return [EpochsFinished(trial=trial, results=(result,)), TrialFinished(trial=trial, reason="all epochs")]


def test_a_job_that_waits_for_the_worker_that_keeps_its_program_takes_room(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=2)
    assert pool.facts
    pool.processes[0].inbox.append(("kept", frozenset({"paused"})))
    pool.events(0.0)
    pool.submit([job(trial) for trial in range(2)])
    room = pool.room()
    assert room > 1
    pool.submit([replace(job(2), folder="paused")])
    assert sum(len(process.given) for process in pool.processes) == 2
    assert pool.room() == room - 1


def test_a_worker_that_has_nothing_to_do_waits_for_no_other(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=8)
    pool.begin()
    assert [len(process.given) for process in pool.processes] == [1] * 8
    assert pool.room() == 0
    pool.end(3)
    assert isinstance(pool.events(0.0)[-1], TrialFinished)
    assert pool.room() == 1
    pool.submit([job(8)])
    assert pool.room() == 0
    assert [j.trial for j in pool.processes[3].given] == [3, 8]


def test_it_waits_for_none_of_those_that_have_more_than_they_would_be_given_now(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=4)
    assert pool.facts
    pool.submit([job(trial) for trial in range(12)])  # three for each, as long as nobody knows what they take
    for _ in range(8):
        pool.planner.note_seconds(60.0)
    ended = pool.processes[2]
    assert len(ended.given) == 3
    for running in ended.given:
        ended.inbox.append(("events", ends(running.trial)))
    pool.events(0.0)
    assert pool.room() == 1


def test_of_very_many_workers_one_in_a_hundred_may_wait_for_the_next(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=300)
    pool.begin()
    for count in range(1, 5):
        pool.end(count)
        pool.events(0.0)
        assert pool.room() == (count if count > 3 else 0)


def test_only_workers_that_have_said_something_are_listened_to(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=200)
    pool.begin()
    asked = [process.asked for process in pool.processes]
    for worker in (17, 180):
        pool.end(worker)
    events = pool.events(0.0)
    assert {event.trial for event in events if isinstance(event, TrialFinished)} == {
        pool.processes[worker].given[0].trial for worker in (17, 180)
    }
    more = [process.asked - before for process, before in zip(pool.processes, asked, strict=True)]
    assert [number for number, count in enumerate(more) if count] == [17, 180]


def test_what_waits_is_told_of_when_all_is_interrupted(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=2)
    assert pool.facts
    pool.submit([job(trial) for trial in range(40)])
    given = {j.trial for process in pool.processes for j in process.given}
    assert len(given) < 40
    pool.interrupt()
    told = [event.trial for event in pool.events(0.0) if isinstance(event, TrialInterrupted)]
    assert sorted(told) == sorted(set(range(40)) - given)
    assert pool.room() == 0


def test_a_gpu_that_has_nothing_to_do_is_given_a_whole_cohort(tmp_path: Path) -> None:
    pool = Pool(tmp_path, workers=2)
    pool.spec = pool.spec.model_copy(update={"search": SearchSpec(trials=64)})
    calibration = {"overhead_seconds": 5e-6, "flops_per_second": 2e13}
    for process in pool.processes:
        process.inbox = deque([("ready", replace(FACTS, device="cuda:0", calibration=calibration))])
    assert pool.facts
    pool.events(0.0)
    assert pool.room() == 18
    pool.submit(
        [replace(job(n), params={"batch_size": 64 if n < 9 else 128, "hidden_units": 16 + n}) for n in range(18)]
    )
    assert [[j.trial for j in process.given] for process in pool.processes] == [[*range(9)], [*range(9, 18)]]
    pool.processes[0].inbox.append(("events", [event for trial in range(8) for event in ends(trial)]))
    pool.events(0.0)
    assert pool.room() == 0  # one of them still trains
    pool.processes[0].inbox.append(("events", ends(8)))
    pool.events(0.0)
    assert pool.room() == 9
