"""What the local executor does when users' code, or somebody else, does its workers harm."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.executor_contract import TERMINAL, curve, drain, ends, figures, starts
from tests.depth import but_deep
from tests.execute.processes import eventually, group, parent_of, zombies
from tests.execute.sweeps import drain_stalled, local_executor, make_job, small_sweep, user_sweep
from tuner.errors import DataError, StudyMismatchError, TunerError, UserCodeError
from tuner.execute.inline import InlineExecutor
from tuner.execute.local import LocalExecutor
from tuner.execute.suspects import Suspects
from tuner.execute.waiting import PlannedJob
from tuner.paths import StudyPaths, TrialPaths
from tuner.records import (
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
)
from tuner.spec.model import LimitsSpec
from tuner.train.loop.checkpoint import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.slow

CULPRIT = {"l1": 1e-9}
SLOW = 0.02
"""Seconds of one step: a tenth of a second for an epoch of one trial."""
QUICK = 1e-9
"""The same for the same network at once: one that does not wait is trained as rows of a stack, which on some processors
gives other last bits than layers one by one."""

Open = Callable[..., LocalExecutor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """Start a local executor for models of `trial_code`."""
    opened: list[LocalExecutor] = []

    def open_one(*, workers: int = 1, **changes: Any) -> LocalExecutor:
        opened.append(local_executor(user_sweep(**changes), tmp_path / "small", workers=workers))
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.close()


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., TrialJob]:
    def make(trial: int, **changes: Any) -> TrialJob:
        return make_job(tmp_path / "small", trial, **changes)

    return make


def unbroken(folder: Path, job: TrialJob, **changes: Any) -> list[tuple[float, ...]]:
    """The curve of a trial that nothing happens to."""
    inline = InlineExecutor(user_sweep(**changes), StudyPaths(folder))
    calm = TrialJob(
        trial=job.trial, params=job.params, seed=job.seed, to_epoch=job.to_epoch, folder=str(folder / "calm")
    )
    inline.submit([calm])
    return figures(curve(drain(inline, [calm]), job.trial))


def log_of(job: TrialJob) -> str:
    return TrialPaths(Path(job.folder)).log.read_text()


ENDS = [
    ("raise", FailureReason.ERROR, "ValueError: this trial is broken", False),
    ("exit", FailureReason.EXITED, "sys.exit(3)", False),
    pytest.param(
        "hard exit", FailureReason.EXITED, "its process ended with exit code 4", False, marks=pytest.mark.deep
    ),
    pytest.param(
        "interrupt", FailureReason.EXITED, "its process ended with exit code 1", False, marks=pytest.mark.deep
    ),
    ("segfault", FailureReason.KILLED, "its process was killed by SIGSEGV (11)", False),
    pytest.param("killed", FailureReason.KILLED, "its process was killed by SIGKILL (9)", True, marks=pytest.mark.deep),
    ("memory", FailureReason.OUT_OF_MEMORY, "OutOfMemoryError: CUDA out of memory.", False),
]
DEAR = [end for end in ENDS if end[0] in ("hard exit", "interrupt", "killed")]


@pytest.mark.parametrize(("fault", "reason", "message", "retryable"), but_deep(ENDS, *DEAR))
def test_the_culprit_of_a_cohort_fails_and_the_others_finish(
    start: Open,
    job: Callable[..., TrialJob],
    tmp_path: Path,
    fault: str,
    reason: FailureReason,
    message: str,
    retryable: bool,
) -> None:
    executor = start(fault=fault)
    jobs = [job(0), job(1, **CULPRIT), job(2)]
    executor.submit(jobs)
    events = drain(executor, jobs)
    assert len([e for e in events if isinstance(e, TERMINAL)]) == 3
    failed = ends(events)[1]
    assert isinstance(failed, TrialFailed)
    assert failed.reason is reason
    assert failed.message.startswith(message)
    assert failed.retryable == retryable
    for innocent in (jobs[0], jobs[2]):
        assert isinstance(ends(events)[innocent.trial], TrialFinished)
        assert figures(curve(events, innocent.trial)) == unbroken(tmp_path, innocent)
    if fault in ("raise", "exit", "memory"):
        assert "in commit" in failed.traceback


def test_a_trial_that_hangs_is_ended_and_the_others_finish(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(fault="hang")
    jobs = [job(0), job(1, **CULPRIT), job(2)]
    executor.submit(jobs)
    found = ends(drain_stalled(executor, jobs, culprit=1))
    failed = found[1]
    assert isinstance(failed, TrialFailed)
    assert (failed.reason, failed.message) == (FailureReason.STALLED, "it finished no epoch for 2 s")
    assert isinstance(found[0], TrialFinished)
    assert isinstance(found[2], TrialFinished)


def test_a_trial_whose_epoch_is_long_does_not_stall(start: Open, job: Callable[..., TrialJob], tmp_path: Path) -> None:
    hurry = tmp_path / "hurry"
    hurry.touch()
    executor = start(epochs=1, slow=1.5, hurry=str(hurry), fuse="off")
    first, slow = job(0, to_epoch=1), job(1, to_epoch=1)
    executor.submit([first])
    drain(executor, [first])
    hurry.unlink()
    executor.spec = executor.spec.model_copy(
        update={"limits": LimitsSpec(stall_seconds=6)}
    )  # not before: a new worker may take its time
    executor.submit([slow])
    events = drain(executor, [slow])
    assert isinstance(ends(events)[1], TrialFinished)
    assert curve(events, 1)[0].seconds > 6


def test_a_trial_that_has_trained_too_long_times_out_at_the_end_of_an_epoch(
    start: Open, job: Callable[..., TrialJob]
) -> None:
    executor = start(workers=2, epochs=1000, slow=SLOW, limits={"trial_seconds": 500.0})
    begun, late, other = job(0, to_epoch=1), job(0, to_epoch=1000), job(1, to_epoch=1)
    executor.submit([begun])
    drain(executor, [begun])
    paths = TrialPaths(Path(begun.folder))
    found = read_checkpoint(paths)
    assert found is not None
    write_checkpoint(paths, replace(found, curve=(replace(found.curve[0], seconds=1000.0),)))
    executor.submit([late, other])
    events = drain(executor, [late, other])
    failed = ends(events)[0]
    assert isinstance(failed, TrialFailed)
    assert failed.reason is FailureReason.TIMEOUT
    assert "limits.trial_seconds is 500" in failed.message
    assert [result.epoch for result in curve(events, 0)] == [1, 2]
    assert not isinstance(ends(events)[1], TrialFailed)


def test_a_trial_times_out_in_the_middle_of_a_long_epoch(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(slow=600.0, limits={"trial_seconds": 0.5})
    executor.submit([job(0)])
    failed = ends(drain(executor, [job(0)]))[0]
    assert isinstance(failed, TrialFailed)
    assert failed.reason is FailureReason.TIMEOUT
    assert "still in an epoch" in failed.message


def test_a_worker_killed_in_mid_cohort_is_replaced_and_its_trials_go_on(
    start: Open, job: Callable[..., TrialJob], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = start(workers=2, epochs=12, slow=SLOW)
    jobs = [job(trial, to_epoch=12) for trial in range(4)]
    executor.submit(jobs)
    victim, bystander = executor.workers
    events = drain(executor, jobs, until=lambda: bool(victim.jobs))
    mine = list(victim.jobs)
    checkpoints = [TrialPaths(Path(jobs[trial].folder)).checkpoint for trial in mine]
    events += drain(executor, jobs, until=lambda: all(c.exists() for c in checkpoints))
    os.kill(victim.process.pid, signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        events += drain(executor, [j for j in jobs if j.trial not in ends(events)])
    assert executor.workers[1] is bystander
    assert executor.workers[0].process.pid != victim.process.pid
    assert "worker 0 was lost with 2 trials in training (its process was killed by SIGKILL (9))" in caplog.text
    assert "one by one" not in caplog.text
    for each in jobs:
        assert isinstance(ends(events)[each.trial], TrialFinished)
        assert figures(curve(events, each.trial)) == unbroken(tmp_path, each, epochs=12, slow=QUICK)
        came_back = [s for s in starts(events) if s.trial == each.trial][1:]
        assert [s.from_epoch > 0 for s in came_back] == ([True] if each.trial in mine else [])


def test_trials_whose_workers_are_killed_twice_go_on_one_by_one(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(epochs=6, slow=SLOW)
    jobs = [job(trial, to_epoch=6) for trial in range(2)]
    executor.submit(jobs)
    events: list[TrialEvent] = []
    for _ in range(2):
        events += drain(executor, jobs, until=lambda: _begun(executor))
        worker = executor.workers[0]
        assert len(worker.jobs) == 2
        os.kill(worker.process.pid, signal.SIGKILL)
        while executor.workers[0] is worker:
            events += executor.events(0.1)
    events += drain(executor, jobs)
    assert all(isinstance(end, TrialFinished) for end in ends(events).values())
    assert [s.cohort_width for s in starts(events)][-2:] == [1, 1]


def test_the_deaths_of_a_trial_are_not_those_of_the_finalist_that_has_its_number(tmp_path: Path) -> None:
    suspects, alone = Suspects(), []
    for folder in ("trials", "finalists", "trials"):
        jobs = {trial: PlannedJob(make_job(tmp_path / folder, trial), None, {}, 1.0) for trial in range(2)}
        suspects.after_death(jobs, from_outside=True)
        alone.append([trial in suspects for trial in range(2)])
    assert alone == [[False, False], [False, False], [True, True]]


def _begun(executor: LocalExecutor) -> bool:
    return executor.workers[0].ready and len(executor.workers[0].jobs) == 2


@pytest.mark.deep
def test_the_fork_server_may_be_killed(start: Open, job: Callable[..., TrialJob], tmp_path: Path) -> None:
    executor = start(epochs=6, slow=SLOW)
    jobs = [job(trial, to_epoch=6) for trial in range(2)]
    executor.submit(jobs)
    events = executor.events(30.0)
    os.kill(parent_of(executor.workers[0].process.pid), signal.SIGKILL)
    events += drain(executor, jobs)
    assert all(isinstance(end, TrialFinished) for end in ends(events).values())
    assert figures(curve(events, 0)) == unbroken(tmp_path, jobs[0], epochs=6, slow=QUICK)


def test_what_code_prints_is_in_the_logs_of_its_cohort_and_nowhere_else(
    start: Open, job: Callable[..., TrialJob], capfd: pytest.CaptureFixture[str]
) -> None:
    executor = start(fault="print")
    jobs = [job(0, **CULPRIT), job(1)]
    executor.submit(jobs)
    drain(executor, jobs)
    lines = {"printed by Python", "written to descriptor 1", "written to descriptor 2", "printed by a child"}
    for each in jobs:
        assert set(log_of(each).splitlines()) >= lines
    assert capfd.readouterr() == ("", "")


def test_the_last_words_of_a_worker_are_in_its_trials_log(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(fault="print and die")
    executor.submit([job(0, **CULPRIT)])
    drain(executor, [job(0)])
    assert "my last words" in log_of(job(0))
    assert "Fatal Python error: Segmentation fault" in log_of(job(0))
    assert "trial_code.py" in log_of(job(0))


def test_a_fork_that_comes_back_trains_nothing_twice(start: Open, job: Callable[..., TrialJob], tmp_path: Path) -> None:
    executor = start(fault="fork and come back")
    executor.submit([job(0, **CULPRIT)])
    events = drain(executor, [job(0)])
    assert isinstance(ends(events)[0], TrialFinished)
    assert len(starts(events)) == 1
    worker = executor.workers[0].process.pid
    assert eventually(lambda: group(worker) == [worker])
    executor.submit([job(1)])
    assert isinstance(ends(drain(executor, [job(1)]))[1], TrialFinished)


def test_what_a_trial_started_ends_with_its_worker_and_no_zombie_is_left(
    start: Open, job: Callable[..., TrialJob]
) -> None:
    executor = start(workers=2, fault="leave a child")
    executor.submit([job(0, **CULPRIT)])
    drain(executor, [job(0)])
    pids = [worker.process.pid for worker in executor.workers]
    server = parent_of(pids[0])
    assert sum(len(group(pid)) for pid in pids) > 2
    executor.close()
    assert eventually(lambda: not any(group(pid) for pid in pids))
    assert eventually(lambda: not zombies(server))
    assert not [pid for pid in zombies(os.getpid()) if pid != server]


COORDINATOR = """
import sys, time
from pathlib import Path
from tests.execute.sweeps import local_executor, make_job, small_sweep, user_sweep
if __name__ == "__main__":
    folder, fault = Path(sys.argv[1]), sys.argv[2]
    executor = local_executor(user_sweep(fault=fault, epochs=1000, slow=0.01), folder)
    executor.submit([make_job(folder, t, to_epoch=1000, l1=1e-9) for t in range(2)])
    print(*(w.process.pid for w in executor.workers), flush=True)
    while True:
        executor.events(0.1)
"""


@pytest.mark.parametrize("fault", but_deep(["leave a child", "hold the interpreter"], "hold the interpreter"))
def test_workers_and_what_they_started_end_when_the_coordinator_is_killed(tmp_path: Path, fault: str) -> None:
    script = tmp_path / "coordinator.py"
    script.write_text(COORDINATOR)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "small"), fault],
        stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
    ) as coordinator:  # fmt: skip
        assert coordinator.stdout is not None
        pids = [int(text) for text in coordinator.stdout.readline().split()]
        assert eventually(lambda: all(_in_training(pid) for pid in pids))
        coordinator.kill()
    assert eventually(lambda: not any(group(pid) for pid in pids))


def _in_training(pid: int) -> bool:
    """Whether a worker has got to its trial: sleeping in it, or having a child of its."""
    return len(group(pid)) > 1 or "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


def test_an_interrupt_ends_what_waits_and_checkpoints_what_trains(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(epochs=1000, slow=SLOW, fuse="off")
    jobs = [job(trial, to_epoch=1000) for trial in range(4)]
    executor.submit(jobs)
    events = drain(executor, jobs, until=lambda: any(w.seconds for w in executor.workers))
    executor.interrupt()
    at_once = executor.events(0.0)
    assert {e.trial for e in at_once if isinstance(e, TrialInterrupted)} >= {1, 2, 3}
    events += at_once + drain(executor, jobs[:1])
    end = ends(events)[0]
    assert isinstance(end, TrialInterrupted)
    assert curve(events, 0)[-1].epoch > 0
    assert TrialPaths(Path(jobs[0].folder)).checkpoint.exists()
    assert not Path(jobs[1].folder).exists()


def test_an_interrupt_right_behind_jobs_that_join_ends_them_too(start: Open, job: Callable[..., TrialJob]) -> None:
    executor = start(epochs=1000, slow=SLOW)
    first, second = [job(0, to_epoch=1000)], [job(1, to_epoch=1000), job(2, to_epoch=1000)]
    executor.submit(first)
    events = executor.events(30.0)
    executor.submit(second)
    executor.interrupt()
    events += drain(executor, [*first, *second])
    assert all(isinstance(end, TrialInterrupted) for end in ends(events).values())
    assert len([e for e in events if isinstance(e, TERMINAL)]) == 3


def test_a_worker_that_dies_while_it_is_interrupted_leaves_its_trials_to_the_next_run(
    start: Open, job: Callable[..., TrialJob]
) -> None:
    executor = start(slow=600.0)
    executor.submit([job(0), job(1)])
    assert eventually(lambda: not executor.events(0.1) and bool(executor.workers[0].jobs))
    executor.interrupt()
    os.kill(executor.workers[0].process.pid, signal.SIGKILL)
    found = ends(drain(executor, [job(0), job(1)]))
    assert all(isinstance(end, TrialInterrupted) for end in found.values())
    assert not executor.workers


def test_a_cohort_out_of_memory_goes_on_in_halves_and_the_next_ones_are_narrower(
    start: Open, job: Callable[..., TrialJob], caplog: pytest.LogCaptureFixture
) -> None:
    executor = start(fault="memory")
    jobs = [job(trial, **(CULPRIT if trial == 3 else {})) for trial in range(4)]
    planned = executor.planner.describe(jobs[0])
    assert executor.planner.max_width(planned) > 4
    executor.submit(jobs)
    with caplog.at_level(logging.WARNING):
        found = ends(drain(executor, jobs))
    assert "a cohort of 4 ended with OutOfMemoryError" in caplog.text
    assert "2 at a time" in caplog.text
    assert [isinstance(found[trial], TrialFinished) for trial in range(4)] == [True, True, True, False]
    assert executor.planner.max_width(planned) == 1


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"source": "missing.csv"}, DataError, "missing.csv"),
        ({"source": "trial_code.py:no_data"}, UserCodeError, "the disk with the data is not there"),
        ({"model": "mlp", "init_from": "no_weights.pt"}, DataError, "no_weights.pt"),
        ({"model": "trial_code.py:bild"}, UserCodeError, 'Did you mean "build"?'),
        ({"model": "no_such_file.py:build"}, UserCodeError, "no such file"),
    ],
)
def test_data_and_code_that_cannot_be_loaded_are_refused_in_the_worker_s_words(
    tmp_path: Path, changes: dict[str, str], error: type[TunerError], words: str
) -> None:
    from tests.execute.sweeps import small_sweep

    executor = local_executor(small_sweep(**{"model": "trial_code.py:build", **changes}), tmp_path / "small")
    try:
        with pytest.raises(error, match=words.replace("?", r"\?")):
            executor.facts  # noqa: B018
    finally:
        executor.close()
    assert not (tmp_path / "small").exists()


def test_workers_that_load_different_data_end_the_run(tmp_path: Path) -> None:
    (tmp_path / "drawn.py").write_text(
        "import numpy as np\n\ndef load():\n    draw = np.random.default_rng()\n"
        "    return draw.normal(size=(90, 3)), np.arange(90) % 3\n"
    )
    with (
        closing(local_executor(small_sweep(source=f"{tmp_path}/drawn.py:load"), tmp_path / "small")) as executor,
        pytest.raises(StudyMismatchError, match="a worker has loaded other data than the one before it"),
    ):
        _hear_of_both_workers(executor)


def _hear_of_both_workers(executor: LocalExecutor) -> None:
    assert executor.facts.data["num_train"] > 0  # of the first, unless both have come at once
    while True:
        executor.events(1.0)


def test_what_several_workers_say_is_passed_on_once(
    start: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executor = start()
    (worker,) = executor.workers
    said = [("log", logging.WARNING, "trained one at a time"), ("log", logging.WARNING, "and slowly")]
    monkeypatch.setattr(worker.process, "received", lambda: iter(said))
    with caplog.at_level(logging.WARNING):
        for ready in (False, True):
            worker.ready = ready
            executor._receive(worker)
    assert [record.message for record in caplog.records] == ["trained one at a time", "and slowly"]
    worker.ready = False


def test_a_worker_that_always_dies_while_it_loads_the_data_is_given_up(start: Open) -> None:
    executor = start(source="trial_code.py:deadly_data")
    with pytest.raises(TunerError, match="3 workers were lost one after the other") as caught:
        executor.facts  # noqa: B018
    assert "about to load" in str(caught.value)
    assert "SIGSEGV" in str(caught.value)
