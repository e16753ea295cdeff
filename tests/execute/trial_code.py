"""Models such as users bring them, and worse: what `fault` names happens to trials whose `l1` is not zero.

`l1` does not keep trials from being fused, so a culprit can be in a cohort with trials that do nothing wrong.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tuner.data.dataset import DataInfo
from tuner.execute import memory

_forked: list[bool] = []


class Slow(nn.Module):
    """Takes its time at each step; looks at a value, or its steps would be recorded and run without it.

    Once the file `hurry` exists it does not, and notes each step there as a byte.
    """

    def __init__(self, seconds: float, hurry: Path) -> None:
        super().__init__()
        self.seconds = seconds
        self.hurry = str(hurry)  # a Path remembers things, and would be taken for state that changes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        seconds = self.seconds if float(x.sum()) else 0.0
        if Path(self.hurry).exists():
            with Path(self.hurry).open("ab") as file:
                file.write(b".")
        else:
            time.sleep(seconds)
        return x


class Broken(nn.Module):
    """Raises for whole batches in training alone, so that a first look finds nothing wrong with it."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > 4:
            raise ValueError("this trial is broken")
        return x


def build(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    if params.get("l1") and not Path(str(params.get("marker", "/nowhere/at/all"))).exists():
        commit(str(params.get("fault")))
    size = 1
    for length in data.input_shape:
        size *= length
    layers = [nn.Flatten(), nn.Linear(size, 16), nn.ReLU(), nn.Linear(16, data.num_outputs)]
    if params.get("l1") and params.get("fault") == "raise in training":
        layers.insert(0, Broken())
    if params.get("slow"):
        layers.insert(0, Slow(float(params["slow"]), Path(str(params.get("hurry", "/nowhere/at/all")))))
    return nn.Sequential(*layers)


class Outputs(nn.Module):
    """Says something odd."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor) -> Tensor:
        match self.fault:
            case "outputs nan":
                return x * float("nan")
            case "outputs none":
                return None  # type: ignore[return-value]
            case "outputs text":
                return "0.5"  # type: ignore[return-value]
            case "outputs of another shape":
                return x[:, :3]
        return x


def build_fault(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    """As `build`, of every trial, and with outputs that may be odd too."""
    fault = str(params["fault"])
    if not fault.startswith("outputs"):
        commit(fault)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, data.num_outputs), Outputs(fault))


def no_data() -> None:
    raise ValueError("the disk with the data is not there")


def slow_data() -> None:
    time.sleep(600)


def deadly_data() -> None:
    print("about to load", flush=True)
    ctypes.string_at(0)


def enormous_data() -> object:
    return np.empty(2**46)


def commit(fault: str) -> None:
    """Do something that no model should."""
    match fault:
        case "raise" | "raise unless mended":
            raise ValueError("this trial is broken")
        case "exit":
            sys.exit(3)
        case "hard exit":
            os._exit(4)
        case "segfault":
            ctypes.string_at(0)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB")
        case "too much memory":
            torch.empty(2**58)
        case "hang":
            time.sleep(600)
        case "hold the interpreter":
            ctypes.PyDLL(None).sleep(600)
        case "print":
            print("printed by Python", flush=True)
            os.write(1, b"written to descriptor 1\n")
            os.write(2, b"written to descriptor 2\n")
            subprocess.run(["echo", "printed by a child"], check=True)
        case "print in Python":
            print("printed by Python")
        case "print and die":
            print("my last words")
            ctypes.string_at(0)
        case "fork and come back":
            if os.environ.setdefault("FORKED", str(os.getpid())) == str(os.getpid()):
                os.environ["FORKED"] = "once"  # once in all: each child would fork again, and fill the machine
                os.fork()
        case "leave a child":
            subprocess.Popen(["sleep", "600"])
        case "start and terminate":
            start_and_terminate()
        case "interrupt":
            raise KeyboardInterrupt
        case "" | "raise in training":
            pass
        case _:
            raise AssertionError(f"no such fault: {fault}")


ballast: weakref.WeakSet[Ballast] = weakref.WeakSet()
"""The ballast of trials that is in memory still."""
hoarded: dict[int, Tensor] = {}


class Ballast(nn.Module):
    """Refers to itself, so that it stays in memory until it is looked for."""

    def __init__(self, mebibytes: int, owner: float = 0.0) -> None:
        super().__init__()
        self.owner = owner
        self.held = torch.ones(mebibytes * 2**18)
        self.register_forward_hook(self.look)
        ballast.add(self)

    def look(self, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


def build_heavy(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    """With some ballast; out of memory while that of another trial is there, if it is told so."""
    owner = params["learning_rate"]
    if params.get("crowded") and any(one.owner != owner for one in ballast):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB")
    return nn.Sequential(Ballast(int(params["mebibytes"]), owner), nn.Flatten(), nn.Linear(64, data.num_outputs))


def build_hoarding(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    """Keeps memory for good; out of memory where another trial did."""
    memory.WORN_BYTES["cpu"] = 2**24
    if "owner" in params:  # a trial's own, and no default configuration's
        hoarded.setdefault(params["owner"], torch.ones(2**25))
    if len(hoarded) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, data.num_outputs))


def start_and_terminate() -> None:
    """Print how children of several kinds end that are sent SIGTERM: their exit codes."""
    print("start method", multiprocessing.get_start_method())
    forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    forked.start()
    forked.terminate()
    forked.join(30)
    print("forked:", forked.exitcode)
    forked.kill()
    with subprocess.Popen(["sleep", "600"]) as program:
        program.terminate()
        print("program:", program.wait(30))
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        shell.terminate()
        print("trap:", shell.wait(30))
