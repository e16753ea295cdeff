"""How commands of tuner bear large examples and large networks: seconds of the processors, and memory at its peak.

    python benchmarks/scale_data.py [CASE ...] [--json FILE]

Each case makes its data on the spot, runs one command of tuner, and beside it the same work as a plain loop of PyTorch
with its tensors in memory. Memory is what all processes of a command take from the machine: pages that several share
are counted once (PSS), watched in /proc (Linux only). Seconds are of the processors, all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from memory import MEGABYTE, SAMPLE_SECONDS, family, sizes

Spec = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One row of the table."""

    aim: str
    make: Callable[[Path], Spec]
    """Writes the data into a folder; gives the sweep file."""
    command: tuple[str, ...] = ("run", "sweep.yaml", "--workers", "1")
    before: tuple[str, ...] = ()
    """A command that is run first, and not measured."""
    loop: Callable[[Path], None] | None = None
    """The same work without tuner, run in a process of its own."""
    loads: bool = False
    """Whether loading, as the next start does it, is measured apart, and of a stream a pass over all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a command took."""

    cpu_seconds: float
    megabytes: float
    """At the peak, of all processes together."""


# Data


def write_images(folder: Path, *, count: int) -> str:
    """Photographs of two classes, one of which is lighter, as bytes."""
    draw = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = draw.integers(0, 200, size=(count, 3, 224, 224), dtype=np.uint8)
    images[labels == 1] += 40
    np.savez(folder / "images.npz", x=images, y=labels)
    return "images.npz"


def write_rows(folder: Path, *, count: int, width: int) -> str:
    """Rows of numbers, two classes."""
    x = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))
    return "rows.npz"


def write_table(folder: Path, *, count: int) -> str:
    """Twenty-four numbers, one of them with gaps, four categories and two classes, which lie one behind the other."""
    draw = np.random.default_rng(0)
    with (folder / "table.csv").open("w") as file:
        names = [*(f"x{i}" for i in range(24)), *(f"c{i}" for i in range(4))]
        file.write(",".join([*names, "y"]) + "\n")
        for first in range(0, count, 1000):
            numbers = draw.normal(size=(1000, 24)).round(4)
            numbers[:, 0] += first >= count // 2
            words = np.array([f"category_{c}" for c in "abcdefgh"])[draw.integers(0, 8, size=(1000, 4))]
            label = "yes" if first >= count // 2 else "no"
            for row, texts in zip(numbers.tolist(), words.tolist(), strict=True):
                gap = "" if row[3] > 2 else str(row[3])
                file.write(",".join([*map(str, row[:3]), gap, *map(str, row[4:]), *texts, label]) + "\n")
    return "table.csv"


def write_wide_table(folder: Path, *, count: int, width: int) -> str:
    """Rows of thousands of numbers, two classes."""
    draw = np.random.default_rng(0)
    with (folder / "wide.csv").open("w") as file:
        file.write(",".join([*(f"x{i}" for i in range(width)), "y"]) + "\n")
        for number in range(count):
            file.write(",".join(map(str, [*draw.normal(size=width).round(3), number % 2])) + "\n")
    return "wide.csv"


def sweep(
    source: str, model: Mapping[str, Any], *, trials: int, epochs: int = 2, batch_size: int = 32, stream: bool = False
) -> Spec:
    """A sweep over learning rates alone: all trials have one shape."""
    return {
        "study": "scale",
        "data": {"source": source, "stream": stream},
        "model": model,
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}},
        "training": {"optimizer": "adam", "epochs": epochs, "batch_size": batch_size},
        "search": {"trials": trials, "strategy": "random"},
        "finalists": {"count": 1, "seeds": 1},
    }


# The plain loops


def loop(file: Path, make: Callable[[], Any], *, trials: int, epochs: int = 2, batch_size: int = 32) -> None:
    """Train and measure on the dev set, as people write it: all tensors in memory, evaluation in the same batches."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    with np.load(file) as found:
        x, y = torch.from_numpy(found["x"]).float(), torch.from_numpy(found["y"])
    num_train, num_dev = int(0.6 * len(x)), int(0.2 * len(x))
    shape = (1, -1) if x.dim() == 2 else (1, -1, 1, 1)
    over = [d for d in range(x.dim()) if d != 1]
    x.sub_(x[:num_train].mean(over).view(shape)).div_(x[:num_train].std(over).view(shape))
    dev = slice(num_train, num_train + num_dev)
    for _ in range(trials):
        model = make()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            model.train()
            for batch in torch.randperm(num_train).split(batch_size):
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for inputs, targets in zip(x[dev].split(batch_size), y[dev].split(batch_size), strict=True):
                    (model(inputs).argmax(dim=1) == targets).sum()


def convolutional() -> Any:
    """The default `cnn` on these images."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 56 * 56, 64), nn.ReLU(), nn.Linear(64, 2),
    )  # fmt: skip


def wide() -> Any:
    """An `mlp` of 4 x 2,048 units on 64 inputs."""
    from torch import nn

    hidden = [part for _ in range(3) for part in (nn.Linear(2048, 2048), nn.ReLU())]
    return nn.Sequential(nn.Linear(64, 2048), nn.ReLU(), *hidden, nn.Linear(2048, 2))


WIDE = {"kind": "mlp", "hidden_layers": 4, "hidden_units": 2048}

SMALL = {"kind": "mlp"}

CASES: Mapping[str, Case] = {
    "a million rows, one worker": Case(
        aim="500 MB + 1.5 x 234 MB + 200 MB",
        make=lambda folder: sweep(write_table(folder, count=10**6), SMALL, trials=1, epochs=1, batch_size=256),
    ),
    "a million rows, two workers": Case(
        aim="500 MB + 1.5 x 234 MB + 400 MB",
        make=lambda folder: sweep(write_table(folder, count=10**6), SMALL, trials=2, epochs=1, batch_size=256),
        command=("run", "sweep.yaml", "--workers", "2"),
    ),
    "a million rows, two workers, second start": Case(
        aim="2 s of loading",
        make=lambda folder: sweep(write_table(folder, count=10**6), SMALL, trials=2, epochs=1, batch_size=256),
        command=("run", "sweep.yaml", "--workers", "2", "--fresh"),
        before=("run", "sweep.yaml", "--workers", "1"),
        loads=True,
    ),
    "a million rows, four workers": Case(
        aim="500 MB + 1.5 x 234 MB + 800 MB",
        make=lambda folder: sweep(write_table(folder, count=10**6), SMALL, trials=4, epochs=1, batch_size=256),
        command=("run", "sweep.yaml", "--workers", "4"),
    ),
    "a stream of a sorted million rows": Case(
        aim="",
        make=lambda folder: sweep(
            write_table(folder, count=10**6), SMALL, trials=1, epochs=2, batch_size=256, stream=True
        ),
    ),
    "a stream of 20,000 columns": Case(
        aim="10 s a pass",
        make=lambda folder: sweep(
            write_wide_table(folder, count=1000, width=20_000), SMALL, trials=1, epochs=1, stream=True
        ),
        loads=True,
    ),
    "images": Case(
        aim="3 GB",
        make=lambda folder: sweep(write_images(folder, count=400), {"kind": "cnn"}, trials=1),
        loop=lambda folder: loop(folder / "images.npz", convolutional, trials=1),
    ),
    "residual images, one trial": Case(
        aim="",
        make=lambda folder: sweep(write_images(folder, count=400), {"kind": "resnet"}, trials=1, epochs=1),
    ),
    "residual images, three trials": Case(
        aim="1.5 x one trial",
        make=lambda folder: sweep(write_images(folder, count=400), {"kind": "resnet"}, trials=3, epochs=1),
    ),
    "wide network, one trial": Case(
        aim="1.2 x the loop's memory, .95 of its speed",
        make=lambda folder: sweep(write_rows(folder, count=4000, width=64), WIDE, trials=1),
        loop=lambda folder: loop(folder / "rows.npz", wide, trials=1),
    ),
    "wide network, five trials": Case(
        aim="1.1 x one trial",
        make=lambda folder: sweep(write_rows(folder, count=4000, width=64), WIDE, trials=5),
        loop=lambda folder: loop(folder / "rows.npz", wide, trials=5),
    ),
    "check of images": Case(
        aim="30 s, memory of one batch",
        make=lambda folder: sweep(write_images(folder, count=2000), {"kind": "cnn"}, trials=1),
        command=("check", "sweep.yaml", "--workers", "1"),
    ),
}


# Loading apart


def load(folder: Path) -> None:
    """Print the seconds of the processor that loading takes, and reading all training examples once, imports aside."""
    from tuner.data.load import load_training_data
    from tuner.paths import StudyPaths
    from tuner.spec.reader import read_sweep
    from tuner.train.program import copied_chunks

    spec = read_sweep(folder / "sweep.yaml").spec
    import pandas  # noqa: F401  # as the process has it that workers are forked from

    began = time.process_time()
    # A stream is written to disk anew, as at a first start.
    data = load_training_data(spec, prepared_in=None if spec.data.stream else StudyPaths(folder / "results/x").prepared)
    loaded = time.process_time()
    for _ in copied_chunks(data.train.inputs):
        pass
    print(json.dumps({"loading": loaded - began, "a pass": time.process_time() - loaded}))


# Measuring


def cpu_ticks(pid: int) -> int:
    """Of the processor, that a process has had."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:13])


def watched(command: list[str], folder: Path) -> Cost:
    """Run a command.

    Raises:
        SystemExit: it failed.
    """
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: with its modules compiled
    ticks: dict[int, int] = {}
    peak = 0
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=env)
        while process.poll() is None:
            pids = family(process.pid)
            ticks |= {pid: max(ticks.get(pid, 0), cpu_ticks(pid)) for pid in pids}
            peak = max(peak, sum(sizes(pid)[0] for pid in pids))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{(folder / 'output.txt').read_text()}")
    return Cost(cpu_seconds=sum(ticks.values()) / os.sysconf("SC_CLK_TCK"), megabytes=peak / MEGABYTE)


def measured(name: str, folder: Path) -> Iterator[tuple[str, Cost]]:
    """What the command and the loop of a case take."""
    case = CASES[name]
    (folder / "sweep.yaml").write_text(json.dumps(case.make(folder), indent=2))
    if case.before:
        watched([sys.executable, "-m", "tuner", *case.before], folder)
    yield "tuner", watched([sys.executable, "-m", "tuner", *case.command], folder)
    if case.loads:
        cost = watched([sys.executable, __file__, "--load", str(folder)], folder)
        for part, seconds in json.loads((folder / "output.txt").read_text()).items():
            yield part, replace(cost, cpu_seconds=seconds)
    if case.loop is not None:
        yield "loop", watched([sys.executable, __file__, "--loop", name, str(folder)], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of: {', '.join(CASES)}; all if left out")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        load(Path(args.cases[0]))
        return
    if args.loop:
        name, folder = args.cases
        run = CASES[name].loop
        assert run is not None
        run(Path(folder))
        return
    if unknown := set(args.cases) - CASES.keys():
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    found: dict[str, dict[str, Any]] = {}
    print("| case | | seconds of processors | MB at the peak | aim |\n| --- | --- | --- | --- | --- |")
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory(prefix="scale-") as made:
            for who, cost in measured(name, Path(made)):
                aim = CASES[name].aim if who == "tuner" else ""
                print(f"| {name} | {who} | {cost.cpu_seconds:.1f} | {cost.megabytes:.0f} | {aim} |", flush=True)
                found.setdefault(name, {})[who] = asdict(cost)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
