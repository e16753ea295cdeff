from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from tuner.execute.suspects import Suspects
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.records import TrialJob


def planned(trial: int, *, key: str = "a", seconds: float = 1.0) -> PlannedJob:
    return PlannedJob(TrialJob(trial=trial, params={}, seed=0, to_epoch=1, folder=str(trial)), key, {}, seconds)


def numbers(jobs: Iterable[PlannedJob]) -> list[int]:
    return [p.job.trial for p in jobs]


def test_of_jobs_that_come_and_go_it_holds_what_is_left_in_order() -> None:
    waiting, left = Waiting(), dict[int, PlannedJob]()
    rng = random.Random(0)
    for trial in range(300):
        job = planned(trial, key=rng.choice("abc"), seconds=rng.random())
        waiting.add([job])
        left[trial] = job
        if rng.random() < 0.7:
            gone = left.pop(rng.choice(list(left)))
            waiting.take([gone])
        assert len(waiting) == len(left)
    for key in "abc":
        assert numbers(waiting.of(key)) == [trial for trial, job in left.items() if job.key == key]
    assert sorted(numbers(waiting)) == sorted(left)
    most = max("abc", key=lambda key: sum(job.seconds for job in left.values() if job.key == key))
    assert numbers(waiting.with_most_work()) == numbers(waiting.of(most))


def test_of_groups_with_equal_work_the_first_goes_first() -> None:
    waiting = Waiting([planned(0, key="b"), planned(1, key="a"), planned(2, key="c", seconds=0.1)])
    assert numbers(waiting.with_most_work()) == [0]
    waiting.take([planned(0, key="b")])
    assert waiting.num_groups == 2
    assert numbers(waiting.of("b")) == []


def test_a_job_waits_once() -> None:
    waiting = Waiting([planned(0)])
    with pytest.raises(AssertionError):
        waiting.add([planned(0)])
    assert numbers(waiting.take_all()) == [0]
    assert not waiting
    waiting.add([planned(0)])


def test_the_first_suspect_is_found_among_those_that_wait() -> None:
    suspects, waiting = Suspects(), Waiting(planned(trial) for trial in range(3))
    assert suspects.first_of(waiting) is None
    suspects.add(1)
    found = suspects.first_of(waiting)
    assert found is not None
    assert found.job.trial == 1
