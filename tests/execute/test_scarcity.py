"""Where memory ends, one line says what the limit is, who sets it, and what takes less."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.executor_contract import drain, ends
from tests.execute.processes import parent_of
from tests.execute.sweeps import local_executor, make_job, small_sweep, user_sweep
from tuner.errors import DataError, TunerError, memory_error_in
from tuner.execute import scarcity
from tuner.execute.devices import WorkerPlace
from tuner.execute.inline import InlineExecutor
from tuner.execute.local import LocalExecutor
from tuner.execute.preflight import preflight
from tuner.execute.scarcity import (
    KernelKills,
    MemoryLimit,
    Scarcity,
    first_line,
    killed_in_training,
    memory_limit,
    no_memory_to_load,
    no_memory_to_train,
)
from tuner.paths import StudyPaths
from tuner.records import TrialFailed
from tuner.spec.model import DataSpec, SweepSpec

MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    4000000 kB\n"


def limit_with(folder: Path, *, files: dict[str, str], membership: str) -> MemoryLimit | None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "membership").write_text(membership)
    (folder / "meminfo").write_text(MEMINFO)
    return memory_limit(root=folder, membership=folder / "membership", meminfo=folder / "meminfo")


@pytest.fixture
def no_ulimit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    ("files", "membership", "words"),
    [
        ({}, "0::/\n", "this machine has 16.4 GB, of which 4.1 GB are free now"),
        ({"memory.max": "max\n"}, "0::/\n", "this machine has 16.4 GB, of which 4.1 GB are free now"),
        (
            {"a/b/memory.max": "max", "a/memory.max": "2000000000"},
            "0::/a/b\n",
            "the container (its control group) has 2 GB",
        ),
        (
            {"memory/a/memory.limit_in_bytes": "50000000\n"},
            "9:memory:/a\n",
            "the container (its control group) has 50 MB",
        ),
        (
            {"memory/memory.limit_in_bytes": str(2**63 - 4096)},
            "9:memory:/\n",
            "this machine has 16.4 GB, of which 4.1 GB are free now",
        ),
    ],
)
def test_the_container_limits_or_the_machine(
    no_ulimit: None, tmp_path: Path, files: dict[str, str], membership: str, words: str
) -> None:
    found = limit_with(tmp_path, files=files, membership=membership)
    assert found is not None
    assert found.words == words


def test_a_ulimit_below_them_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: 1_700_000_000, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits[which], resource.RLIM_INFINITY))
    assert limit_with(tmp_path, files={}, membership="") == MemoryLimit(
        1.7e9, "`ulimit -v` allows each process 1.7 GB", of_each=True
    )


def test_fewer_workers_are_no_remedy_for_a_limit_of_each_process(
    no_ulimit: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for of_each in (False, True):
        limit = MemoryLimit(1.7e9, "a limit", of_each=of_each)
        monkeypatch.setattr(scarcity, "memory_limit", partial(lambda found: found, limit))
        loaded = no_memory_to_load(sweep(tmp_path), num_workers=4, limit=limit)
        for said in (loaded, no_memory_to_train(sweep(tmp_path), said="MemoryError")):
            assert ("--workers 1" in said) is not of_each


def test_nothing_is_said_of_a_limit_that_is_not_known(no_ulimit: None, tmp_path: Path) -> None:
    assert memory_limit(root=tmp_path, membership=tmp_path / "none", meminfo=tmp_path / "none") is None


def sweep(folder: Path, **data: Any) -> SweepSpec:
    (folder / "images.npz").write_bytes(bytes(3_000_000))
    return SweepSpec(study="s", data=DataSpec(source="images.npz", **data), root=str(folder))


def test_one_line_tells_the_size_the_workers_the_limit_and_what_takes_less(tmp_path: Path) -> None:
    several = no_memory_to_load(sweep(tmp_path), num_workers=4, limit=memory_limit(), cause="MemoryError")
    for part in (
        "load images.npz, 3 MB on disk, in each of 4 workers (MemoryError)",
        "--workers 1",
        "data.stream: true",
    ):
        assert part in several
    assert "\n" not in several
    alone = no_memory_to_load(sweep(tmp_path, stream=True), num_workers=1, limit=None)
    assert "--workers" not in alone
    assert "data.stream" not in alone
    trained = no_memory_to_train(sweep(tmp_path), said="MemoryError")
    for part in ("smaller batch_size", "images of fewer pixels", "--workers 1"):
        assert part in trained


@pytest.mark.parametrize(
    ("source", "there", "never"),
    [
        ("t.csv", ["data.stream: true", "data.ignore"], "image"),
        ("pictures/", ["data.image_size"], "data.stream"),
        ("arrays/", ["data.stream: true", "smaller examples"], "NPY"),
        ("x.npz", ["NPY files in a folder", "smaller examples"], "image_size"),
        ("x-images-idx3-ubyte.gz", ["not packed"], "image_size"),
        ("sklearn/digits", [], "data.stream"),
    ],
)
def test_what_takes_less_is_what_the_kind_of_source_can(
    source: str, there: list[str], never: str, tmp_path: Path
) -> None:
    for folder, name in (("pictures", "cat"), ("arrays", "X.npy")):
        (tmp_path / folder / name).mkdir(parents=True)
    spec = SweepSpec(study="s", data=DataSpec(source=source), root=str(tmp_path))
    said = no_memory_to_load(spec, num_workers=2, limit=None)
    assert all(part in said for part in there)
    assert never not in said
    trained = no_memory_to_train(spec, said="MemoryError")
    assert "data.stream" not in trained
    assert never not in trained


def test_what_the_kernel_kills_is_counted(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("9:memory:/jobs/mine\n")
    files = {"root": tmp_path, "membership": tmp_path / "membership", "vmstat": tmp_path / "vmstat"}
    assert KernelKills(**files).came() is None
    (tmp_path / "vmstat").write_text("nr_free_pages 9\noom_kill 3\n")
    counter = tmp_path / "memory" / "jobs" / "memory.oom_control"
    counter.parent.mkdir(parents=True)
    counter.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    now = 100.0
    kills = KernelKills(**files, clock=lambda: now)
    assert kills.came() is False
    counter.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert kills.came() is True
    now += 0.1  # asked of the second of two that were killed together
    assert kills.came() is True
    now += 10
    assert kills.came() is False


def test_a_killed_worker_says_what_takes_less_only_where_it_may_have_been_memory(tmp_path: Path) -> None:
    def said(by_kernel: bool | None, workers: int = 4) -> str:
        there = Scarcity(by_kernel, MemoryLimit(4e9, "that node has 4 GB"))
        return killed_in_training(sweep(tmp_path), num_workers=workers, said="SIGKILL (9)", scarcity=there)

    assert said(False) == "SIGKILL (9)"
    for part in (
        "by the kernel",
        "images.npz, 3 MB on disk, with 4 workers: that node",
        "a smaller batch_size",
        "--workers 1",
    ):
        assert part in said(True)
    assert "as the kernel does where memory ends" in said(None)
    assert "with 1 worker: " in said(True, workers=1)
    assert "--workers" not in said(True, workers=1)


@pytest.mark.slow
def test_a_worker_that_the_kernel_killed_in_training_names_memory(
    start: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelKills, "came", lambda self: True)
    executor = start(model="trial_code.py:build", fault="killed")
    job = make_job(tmp_path / "small", 0, l1=1e-9)
    executor.submit([job])
    failed = ends(drain(executor, [job]))[0]
    assert isinstance(failed, TrialFailed)
    assert failed.retryable
    assert "SIGKILL (9), by the kernel, since memory had come to its end" in failed.message
    assert "a smaller batch_size or network" in failed.message


@pytest.mark.deep
@pytest.mark.parametrize(("by_kernel", "said"), [
    (True, "its process was killed, and that which had forked it, by the kernel, since memory had come to its end"),
    (False, "its process ended, and nobody knows how"),
])  # fmt: skip
def test_a_worker_that_was_killed_with_its_fork_server_names_memory_where_the_kernel_did_it(
    by_kernel: bool, said: str, start: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelKills, "came", lambda self: by_kernel)
    executor = start(epochs=200, slow=0.5)
    job = make_job(tmp_path / "small", 0, to_epoch=200)
    executor.submit([job])
    executor.events(30.0)
    os.kill(parent_of(executor.workers[0].process.pid), signal.SIGKILL)
    failed = ends(drain(executor, [job]))[0]
    assert isinstance(failed, TrialFailed)
    assert said in failed.message
    assert ("a smaller batch_size or network" in failed.message) is by_kernel


def test_an_error_of_memory_is_found_below_others() -> None:
    asked = MemoryError("Unable to allocate 9 TiB")
    wrapped = DataError("x.npz is no NumPy file")
    wrapped.__cause__ = asked
    assert memory_error_in(wrapped) is asked
    assert memory_error_in(ValueError("Error tokenizing data. C error: out of memory")) is not None
    assert memory_error_in(ValueError("another")) is None
    said = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    assert first_line(RuntimeError(f"{said}allocate 481689600 bytes.")) == "0.482 GB more were asked for in vain"


HERE = Path(__file__).parent
Open = Callable[..., LocalExecutor]

KILLED = """
import os, signal
from pathlib import Path
import numpy as np

def load():
    came = Path(__file__).with_name("came")
    with came.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if came.read_text().split().index(str(os.getpid())) < MOST:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": np.random.default_rng(0).normal(size=(200, 64)), "y": np.arange(200) % 2}
"""
"""Kills those that come first, as the kernel does where memory runs out."""


def killed_data(folder: Path, *, most: int) -> str:
    (folder / "killed.py").write_text(KILLED.replace("MOST", str(most)))
    return f"{folder}/killed.py:load"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    opened: list[LocalExecutor] = []

    def open_one(*, workers: int = 1, **changes: Any) -> LocalExecutor:
        opened.append(local_executor(small_sweep(**changes), tmp_path / "small", workers=workers))
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.close()


@pytest.mark.slow
def test_data_that_do_not_fit_end_a_run_in_one_line(start: Open, tmp_path: Path) -> None:
    executor = start(source="trial_code.py:enormous_data", workers=2)
    with pytest.raises(DataError, match=r"not enough memory to load .* in each of 2 workers .*--workers 1") as caught:
        _ = executor.facts
    assert "Traceback" not in str(caught.value)
    with pytest.raises(DataError, match=r"not enough memory to load .*what takes less: data\.stream"):
        InlineExecutor(small_sweep(source="trial_code.py:enormous_data"), StudyPaths(tmp_path))


@pytest.mark.deep
@pytest.mark.slow
def test_a_check_says_the_same(tmp_path: Path) -> None:
    with pytest.raises(TunerError, match=r"not enough memory to load .*what takes less: data\.stream"):
        preflight(small_sweep(source="trial_code.py:enormous_data"), WorkerPlace("cpu", 1, None), gradients=False)


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_loads_is_not_started_again(start: Open, tmp_path: Path) -> None:
    executor = start(source=killed_data(tmp_path, most=9))
    with pytest.raises(DataError, match=r"not enough memory to load .*a worker was killed by SIGKILL"):
        _ = executor.facts
    assert len((tmp_path / "came").read_text().splitlines()) == 1


@pytest.mark.slow
def test_the_other_workers_go_on_without_one_that_was_killed_while_it_loaded(
    start: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = start(source=killed_data(tmp_path, most=1), workers=2)
    job = make_job(tmp_path / "small", 0, to_epoch=1)
    with caplog.at_level(logging.WARNING):
        assert executor.facts.data["num_outputs"] == 2
        executor.submit([job])
        drain(executor, [job])
        while len(executor.workers) == 2:
            executor.events(1.0)
    assert "going on with 1 of them" in caplog.text
    assert "--workers 1" in caplog.text


@pytest.mark.slow
def test_a_trial_that_fits_nowhere_says_what_takes_less(tmp_path: Path) -> None:
    executor = InlineExecutor(user_sweep(fault="too much memory"), StudyPaths(tmp_path))
    job = make_job(tmp_path, 0, l1=1e-9)
    executor.submit([job])
    failed = ends(drain(executor, [job]))[0]
    assert isinstance(failed, TrialFailed)
    assert "not enough memory to train it" in failed.message
    assert "a smaller batch_size or network" in failed.message


UNDER_A_LIMIT = """
import json, re, resource, sys
from pathlib import Path
import numpy as np
import pandas, sklearn.ensemble, sklearn.linear_model  # or else they are loaded under the limit, which not all bear
from tests.contracts.executor_contract import drain, ends
from tests.execute.processes import parent_of
from tests.execute.sweeps import make_job, small_sweep
from tuner.errors import DataError
from tuner.execute.inline import InlineExecutor
from tuner.paths import StudyPaths

folder = Path(sys.argv[1])
more, rows, batch_size = map(int, sys.argv[2:])
np.savez(folder / "rows.npz", x=np.random.default_rng(0).normal(size=(rows, 16)), y=np.arange(rows) % 2)
spec = small_sweep(source=str(folder / "rows.npz"), epochs=1, hidden_units=768, hidden_layers=2)
in_use = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_AS, (in_use + more, in_use + more))
training = spec.training.model_copy(update={"batch_size": batch_size})
try:
    executor = InlineExecutor(spec.model_copy(update={"training": training}), StudyPaths(folder))
    job = make_job(folder, 0, to_epoch=1)
    executor.submit([job])
    ended = ends(drain(executor, [job]))[0]
    print(type(ended).__name__, getattr(ended, "message", ""))
except DataError as error:
    print(error)
"""
"""A trial in so much more address space than imports take."""


def said_under_a_limit(folder: Path, *, more_bytes: int, rows: int, batch_size: int) -> str:
    command = [sys.executable, "-c", UNDER_A_LIMIT, str(folder), *map(str, (more_bytes, rows, batch_size))]
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.deep
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the address space is told by Linux")
def test_under_a_ulimit_a_trial_names_it_and_a_smaller_batch_size_which_then_fits(tmp_path: Path) -> None:
    said = said_under_a_limit(tmp_path, more_bytes=250_000_000, rows=40_000, batch_size=20_000)
    for part in ("TrialFailed", "not enough memory to train it", "`ulimit -v` allows", "a smaller batch_size"):
        assert part in said
    assert said_under_a_limit(tmp_path, more_bytes=250_000_000, rows=40_000, batch_size=64) == "TrialFinished"


@pytest.mark.deep
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the address space is told by Linux")
def test_under_a_ulimit_data_that_do_not_fit_name_it_and_what_takes_less(tmp_path: Path) -> None:
    said = said_under_a_limit(tmp_path, more_bytes=20_000_000, rows=200_000, batch_size=64)
    for part in ("not enough memory to load", "`ulimit -v` allows", "data.stream: true"):
        assert part in said
