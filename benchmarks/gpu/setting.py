"""What the phases share: their sizes, made-up data, tasks, jobs and clocks."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch

from tuner.data.dataset import DataInfo, Split, TrainingData
from tuner.records import Params, TrialJob
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.loop.member import Run
from tuner.train.task import Task

Figures: TypeAlias = dict[str, Any]
"""One line of the record."""
DEVICE = "cuda:0"
CLASSES = 10
HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Setting:
    """How much a phase may do."""

    rehearsal: bool
    """On a pretended machine: everything is done once, on next to nothing."""
    seconds: float
    """Until the phase is ended."""
    began: float = field(default_factory=time.monotonic)

    def pick(self, real: Any, rehearsed: Any) -> Any:
        """A size: what is measured, or what is enough to see the code run."""
        return rehearsed if self.rehearsal else real

    def left(self) -> float:
        """Seconds that are left of the phase."""
        return self.seconds - (time.monotonic() - self.began)

    def has(self, share: float) -> bool:
        """Whether so large a share of the phase's time is left."""
        return self.rehearsal or self.left() > share * self.seconds


def made_up(num_train: int, num_dev: int, shape: Sequence[int]) -> TrainingData:
    """Classes that a network can learn: normal inputs, and the largest of ten random projections; on the CPU."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(num_train + num_dev, *shape, generator=draw)
    y = (x.flatten(1) @ torch.randn(x[0].numel(), CLASSES, generator=draw)).argmax(dim=1)
    info = DataInfo(
        task="classification", input_shape=tuple(shape), num_outputs=CLASSES, num_train=num_train, num_dev=num_dev,
        num_test=0,
    )  # fmt: skip
    return TrainingData(Split(x[:num_train], y[:num_train]), Split(x[num_train:], y[num_train:]), info)


def task_of(
    data: TrainingData, *, device: str = DEVICE, model: str = "mlp", settings: Mapping[str, Any] | None = None,
    **training: Any,
) -> Task:  # fmt: skip
    """A task as a worker has it."""
    spec = SweepSpec(
        study="gpu",
        data=DataSpec(source="sklearn/digits"),
        model=ModelSpec(kind=model, settings=dict(settings or {})),
        training=TrainingSpec(**{"epochs": 1000, **training}),
        root=HERE,
    )
    return Task(spec, data, torch.device(device))


def configurations(count: int) -> list[Params]:
    """Trials of one shape, at rates that no trial diverges at."""
    return [
        {
            "learning_rate": 0.002 * (1 + i % 5),
            "momentum": 0.5 + 0.1 * (i % 5),
            "weight_decay": 1e-5 * (i % 3),
            "dropout": 0.2,
        }
        for i in range(count)
    ]


def jobs(count: int, *, to_epoch: int) -> list[TrialJob]:
    """Jobs of these trials, in a new folder."""
    folder = Path(tempfile.mkdtemp(prefix="gpu-"))
    return [
        TrialJob(trial=i, params=params, seed=1000 + i, to_epoch=to_epoch, folder=str(folder / str(i)))
        for i, params in enumerate(configurations(count))
    ]


def runs(task: Task, count: int) -> list[Run]:
    """The trials as a cohort has them, before their only epoch: nothing is drawn for a next one meanwhile."""
    return [Run.of(job, task) for job in jobs(count, to_epoch=1)]


def wall_ms(action: Callable[[], object]) -> float:
    """Milliseconds until the GPU has done it too."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


def gpu_ms(action: Callable[[], object]) -> float:
    """Milliseconds between two events of the GPU around it."""
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    action()
    after.record()
    torch.cuda.synchronize()
    return float(before.elapsed_time(after))


def busy_share(action: Callable[[], object]) -> float | None:
    """The share of the time in which the GPU has a kernel or a copy at work, by PyTorch's profiler."""
    of_gpu = torch.profiler.ProfilerActivity.CUDA
    if of_gpu not in torch.profiler.supported_activities():
        return None  # of a pretended one
    with torch.profiler.profile(activities=[of_gpu]) as profile:
        wall = wall_ms(action)
    busy_us = sum(event.self_device_time_total for event in profile.key_averages())
    return round(busy_us / 1e3 / wall, 3) if busy_us else None


@contextmanager
def watching() -> Iterator[Figures]:
    """What `nvidia-smi` says of the first GPU meanwhile: the share of seconds in which kernels ran, and GiB in use."""
    found: Figures = {}
    asked = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-l", "1", "-i", "0"]
    try:
        smi = subprocess.Popen(["nvidia-smi", *asked], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        yield found  # where there is no NVIDIA driver
        return
    try:
        yield found
    finally:
        smi.terminate()
        said = [line.split(",") for line in smi.communicate()[0].splitlines() if line.count(",") == 1]
        if said:
            found["gpu_use"] = round(statistics.fmean(float(use) for use, _ in said) / 100, 3)
            found["most_gib"] = round(max(float(mib) for _, mib in said) / 2**10, 2)


def spread(values: Sequence[float], *, digits: int = 4) -> Figures:
    """The median and the range."""
    return {
        "median": round(statistics.median(values), digits),
        "range": [round(min(values), digits), round(max(values), digits)],
    }


def tflops_of_product(dtype: torch.dtype, *, size: int, seconds: float) -> float:
    """The speed of a square matrix product, TFLOP/s."""
    a = torch.randn(size, size, device=DEVICE).to(dtype)
    b = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, a, out=b)

    gpu_ms(product)
    times, began = [gpu_ms(product)], time.monotonic()
    while time.monotonic() - began < seconds:
        times.append(gpu_ms(product))
    return 2 * size**3 / statistics.median(times) / 1e9


def in_turn(contestants: Mapping[str, Callable[[], float]], *, rounds: int) -> Iterator[tuple[str, float]]:
    """Each contestant's milliseconds, round by round."""
    for _ in range(rounds):
        for name, run in contestants.items():
            yield name, run()
