"""Run the tests of what is promised bit for bit as other processors would: by their instructions, setting by setting.

    python tests/exactness.py              every run, as `make exactness`
    python tests/exactness.py NAME ...     these

A run sets what a user's shell may set, looks whether that reaches a process of tuner's, and prints one line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUSY = len(os.sched_getaffinity(0))
"""Processes that keep all cores busy beside a busy run."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is set, and what a process of tuner's then says of itself."""

    env: Mapping[str, str] = field(default_factory=dict)
    shows: Sequence[str] = ()
    busy: bool = False


OLD_ATEN = Run({"ATEN_CPU_CAPABILITY": "default"}, ["aten DEFAULT"])
AVX2_ATEN = Run({"ATEN_CPU_CAPABILITY": "avx2"}, ["aten AVX2"])
NO_NATIVE = Run({"TUNER_NATIVE": "off"}, ["native False"])
OLD_MKL = Run({"MKL_CBWR": "COMPATIBLE"}, ["CNR:COMPATIBLE"])
AVX2_DNNL = Run({"DNNL_MAX_CPU_ISA": "AVX2"}, ["isa:Intel AVX2"])
THREADS = Run({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}, ["threads 1"])  # tuner's own one thread holds
LOADED = Run(busy=True)


def _together(*runs: Run) -> Run:
    env = {name: value for run in runs for name, value in run.env.items()}
    return Run(env, [text for run in runs for text in run.shows], busy=any(run.busy for run in runs))


RUNS: Mapping[str, Run] = {
    "as-it-is": Run(),
    "aten-default": OLD_ATEN,
    "aten-avx2": AVX2_ATEN,
    "native-off": NO_NATIVE,
    "mkl-compatible": OLD_MKL,
    "dnnl-avx2": AVX2_DNNL,
    "two-threads": THREADS,
    "busy": LOADED,
    "old": _together(OLD_ATEN, OLD_MKL, AVX2_DNNL, NO_NATIVE, THREADS),
    "avx2-busy": _together(AVX2_ATEN, AVX2_DNNL, THREADS, LOADED),
}
"""The settings, each by itself, and the two worst corners of them."""

SUITES: Sequence[str] = (
    "tests/models/test_exact.py",
    "tests/train/test_exactness.py",
    "tests/train/test_slices.py",
    "tests/train/test_stretch.py",
    "tests/train/test_dev_predictions.py",
    "tests/train/test_checkpoint.py",
    "tests/train/test_cohort.py",
    "tests/train/test_folds.py",
    "tests/train/test_golden.py",
    "tests/train/test_native.py::test_a_step_writes_the_same_bits_from_any_state",
    "tests/reliability/test_resume.py::test_a_search_that_is_stopped_and_resumed_proposes_what_an_unbroken_one_does",
)
WITHOUT = "not test_fused_training_is_that_of_plain"
"""Tests of these files that promise no bits, and take long."""

PROBE = """
from tuner.execute.numeric import set_numeric_environment
set_numeric_environment(1)
import torch
from tuner.train.replay.native.library import library
torch.mm(torch.ones(64, 64), torch.ones(64, 64))
torch.conv2d(torch.ones(2, 4, 8, 8), torch.ones(4, 4, 3, 3))
print("aten", torch.backends.cpu.get_cpu_capability(), "threads", torch.get_num_threads())
print("native", library(wait=True) is not None)
"""
"""Says which instructions torch, oneDNN and MKL choose; the last two by themselves, if they are asked to be verbose."""


def main(names: Sequence[str]) -> int:
    """Do the runs of these names, or all; the number of those that failed."""
    if unknown := set(names) - RUNS.keys():
        print(f"no such run: {', '.join(sorted(unknown))}; there are: {', '.join(RUNS)}")
        return 2
    failed = [name for name in names or RUNS if not succeeds(name, RUNS[name])]
    return len(failed)


def succeeds(name: str, run: Run) -> bool:
    """Do a run, print its line, and what failed below."""
    env = {**os.environ, **run.env}
    said, _ = _output([sys.executable, "-c", PROBE], {**env, "DNNL_VERBOSE": "1", "MKL_VERBOSE": "1"})
    if missing := [text for text in run.shows if text not in said]:
        print(f"{name:16}not done: on this machine nothing says {', '.join(missing)}", flush=True)
        return True
    began = time.monotonic()
    with _load(BUSY if run.busy else 0):
        found, code = _output(
            [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "-k", WITHOUT, *SUITES], env
        )
    *lines, last = found.strip().splitlines() or ["nothing was said"]
    print(f"{name:16}{last.strip('= ')}, {time.monotonic() - began:.0f} s with all", flush=True)
    if code:
        print("\n".join(f"    {line}" for line in lines[-200:]), flush=True)
    return code == 0


def _output(command: Sequence[str], env: Mapping[str, str]) -> tuple[str, int]:
    """What a command prints, and its exit code."""
    pipe = subprocess.PIPE
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, check=False, stdout=pipe, stderr=subprocess.STDOUT)
    return done.stdout, done.returncode


SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    pass
"""
"""Is busy for as long as whoever started it is there."""


@contextmanager
def _load(count: int) -> Iterator[None]:
    """Within the block so many processes are busy."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
