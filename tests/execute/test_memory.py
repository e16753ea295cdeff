"""What an ended trial leaves in memory is no trouble to the next ones."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.contracts.executor_contract import drain, ends
from tests.execute.sweeps import local_executor, make_job, small_sweep, user_sweep
from tuner.errors import is_out_of_memory
from tuner.execute import memory as module
from tuner.execute.inline import InlineExecutor
from tuner.execute.memory import GROWTH_BYTES, Memory, forget_peak, in_use, peak_bytes
from tuner.imports import load_object
from tuner.paths import StudyPaths
from tuner.records import FailureReason, TrialFailed, TrialFinished

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Nothing but tuner looks for garbage."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.mark.parametrize(("share", "stays"), [(0.5, True), (1.5, False)])
def test_garbage_is_collected_when_much_more_memory_is_in_use(share: float, stays: bool) -> None:
    memory, held = Memory(CPU), load_object("trial_code.py:ballast", root=HERE)
    heavy = load_object("trial_code.py:Ballast", root=HERE)
    before = in_use(CPU)
    heavy(int(GROWTH_BYTES * share) // 2**20)  # type: ignore[operator]
    assert in_use(CPU) > before + GROWTH_BYTES * share * 0.9
    memory.tidy()
    assert len(held) == stays  # type: ignore[arg-type]
    assert memory.collect() == stays
    assert len(held) == 0  # type: ignore[arg-type]


@pytest.mark.deep
def test_the_networks_of_ended_trials_are_not_piled_up(tmp_path: Path) -> None:
    spec = small_sweep(model="trial_code.py:build_heavy", epochs=1, fuse="off", mebibytes=GROWTH_BYTES // 2**20)
    executor, held = InlineExecutor(spec, StudyPaths(tmp_path)), load_object("trial_code.py:ballast", root=HERE)
    for trial in range(4):
        job = make_job(tmp_path, trial, to_epoch=1)
        executor.submit([job])
        assert isinstance(ends(drain(executor, [job]))[trial], TrialFinished)
    assert len(held) <= 1  # type: ignore[arg-type]


@pytest.mark.deep
def test_a_trial_that_garbage_left_too_little_memory_begins_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROWTH_BYTES", 2**60)
    spec = small_sweep(model="trial_code.py:build_heavy", epochs=1, fuse="off", mebibytes=32)
    executor = InlineExecutor(spec, StudyPaths(tmp_path))
    jobs = [make_job(tmp_path, 0, to_epoch=1), make_job(tmp_path, 1, to_epoch=1, crowded=1)]
    executor.submit(jobs[:1])
    drain(executor, jobs[:1])
    assert len(load_object("trial_code.py:ballast", root=HERE))  # type: ignore[arg-type]
    executor.submit(jobs[1:])
    assert isinstance(ends(drain(executor, jobs[1:]))[1], TrialFinished)
    for finalist in (replace(job, folder=str(tmp_path / f"finalist {job.trial}")) for job in jobs):
        executor.submit([finalist])  # has a trial's number, and is another one
        assert isinstance(ends(drain(executor, [finalist]))[finalist.trial], TrialFinished)


def test_a_trial_that_kept_memory_left_too_little_goes_on_in_a_fresh_process(tmp_path: Path) -> None:
    executor = local_executor(small_sweep(model="trial_code.py:build_hoarding", epochs=1), tmp_path, workers=1)
    trial = make_job(tmp_path, 0, to_epoch=1, owner=0)
    finalist = make_job(tmp_path / "finalists", 0, to_epoch=1, owner=1)  # with the number of a trial, and another one
    try:
        pids = []
        for job in (trial, finalist):
            executor.submit([job])
            assert isinstance(ends(drain(executor, [job]))[0], TrialFinished)
            pids.append(executor.workers[0].process.pid)
        assert pids[0] != pids[1]
    finally:
        executor.close()


def test_a_trial_that_fits_nowhere_fails_at_once(tmp_path: Path) -> None:
    executor = InlineExecutor(user_sweep(fault="memory"), StudyPaths(tmp_path))
    job = make_job(tmp_path, 0, l1=1e-9)
    executor.submit([job])
    failed = ends(drain(executor, [job]))[0]
    assert isinstance(failed, TrialFailed)
    assert failed.reason is FailureReason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "MPS backend out of memory (MPS allocated: 9.05 GB, other allocations: 6.84 GB, max allowed: 18.13 GB)",
    ],
)
def test_what_libraries_say_of_too_little_memory_is_taken_for_it(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(ValueError(words))


def failing_capture() -> None:
    try:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def test_a_capture_that_ends_in_an_error_since_memory_ran_out_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError, match="during capture") as raised:
        failing_capture()
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


TRIALS_UNDER_A_LIMIT = """
import gc, json, re, resource, sys
from pathlib import Path
from tests.contracts.executor_contract import drain, ends
from tests.execute.sweeps import make_job, small_sweep
from tuner.execute.inline import InlineExecutor
from tuner.paths import StudyPaths

folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
executor = InlineExecutor(small_sweep(epochs=2, **settings), StudyPaths(folder))
gc.collect()
gc.disable()
for trial in range(6):
    job = make_job(folder, trial, to_epoch=2)
    executor.submit([job])
    print(type(ends(drain(executor, [job]))[trial]).__name__)
    if trial == 0:
        peak = 1024 * int(re.search(r"VmPeak:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        resource.setrlimit(resource.RLIMIT_AS, (peak + 2**26, peak + 2**26))
"""
"""The first trial says how much address space one takes. The others have 64 MiB more, of which half are for checkpoints
that are remembered, and nobody looks for garbage."""


@pytest.mark.deep
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the address space is told by Linux")
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_units": 768, "hidden_layers": 4, "norm": "batch"},
        {"hidden_units": 768, "hidden_layers": 4, "norm": "layer", "residual": True},
        {"model": "cnn", "channels": 64, "hidden_units": 512},
    ],
)
def test_trials_of_one_shape_take_no_more_memory_than_the_first(settings: dict[str, object], tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRIALS_UNDER_A_LIMIT, str(tmp_path), json.dumps(settings)]
    found = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert found.stdout.split() == ["TrialFinished"] * 6, found.stderr[-2000:]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is told by Linux")
def test_the_peak_is_of_what_came_since_it_was_forgotten() -> None:
    held = bytearray(b"x") * 200_000_000
    del held
    assert peak_bytes() >= in_use(CPU) + 100_000_000
    forget_peak()
    assert peak_bytes() < in_use(CPU) + 50_000_000
    held = bytearray(b"x") * 100_000_000
    del held
    assert peak_bytes() >= in_use(CPU) + 50_000_000
