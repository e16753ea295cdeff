"""The memory of a whole sweep: the coordinator and all its workers together, at their peak.

    python benchmarks/memory.py FILE [--target COLUMN] [--trials 64] [--epochs 10] [--workers N] [--stream]
    python benchmarks/memory.py --make 400 --stream --trials 2 --epochs 1

Runs `tuner run` with the default space on a table (CSV, Parquet, NPZ ...) in a folder of its own and watches its
processes in /proc (Linux only). `proportional` counts a page that several processes share once (PSS): what the
sweep takes from the machine. `resident` counts it in each of them (RSS), as top does. `--make` measures a CSV that is
made for it, of so many megabytes as numbers of 8 bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_SECONDS = 0.1
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """All processes of a sweep at one moment, in bytes."""

    processes: int
    proportional: int
    resident: int


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def sizes(pid: int) -> tuple[int, int]:
    """Proportional and resident bytes of a process; zeros if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return 1024 * kilobytes.get("Pss", 0), 1024 * kilobytes.get("Rss", 0)


def watch(process: subprocess.Popen[bytes]) -> Iterator[Sample]:
    while process.poll() is None:
        found = [size for pid in family(process.pid) if any(size := sizes(pid))]
        yield Sample(len(found), sum(p for p, _ in found), sum(r for _, r in found))
        time.sleep(SAMPLE_SECONDS)


def sweep_file(args: argparse.Namespace) -> str:
    """The sweep, as JSON, which is YAML."""
    data = {"source": str(args.data.resolve()), "stream": args.stream}
    data |= {"target": args.target} if args.target else {}
    spec = {
        "study": "memory",
        "data": data,
        "training": {"epochs": args.epochs},
        "search": {"trials": args.trials},
    }
    return json.dumps(spec, indent=2)


def write_table(file: Path, *, megabytes: int) -> None:
    """Two classes, 64 measurements; a block of rows that is repeated with other decimals."""
    draw = np.random.default_rng(0)
    block = draw.normal(size=(1000, 64)).round(3)
    rows = [",".join(map(str, [*row, int(row[0] > 0)])) for row in block]
    text = "\n".join(rows) + "\n"
    with file.open("w") as out:
        out.write(",".join([*(f"x{i}" for i in range(64)), "y"]) + "\n")
        for number in range(megabytes * 1000 // (8 * 64)):
            out.write(text.replace(".1", f".{number % 10}"))


def measure(args: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(sweep_file(args))
        command = [sys.executable, "-m", "tuner", "run", "sweep.yaml"]
        if args.workers:
            command += ["--workers", str(args.workers)]
        began = time.perf_counter()
        with (folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=os.environ)
            samples = list(watch(process))
        seconds = time.perf_counter() - began
        if process.returncode:
            sys.exit(f"the sweep ended with exit code {process.returncode}:\n{(folder / 'output.txt').read_text()}")
    return {
        "proportional_megabytes": max(s.proportional for s in samples) / MEGABYTE,
        "resident_megabytes": max(s.resident for s in samples) / MEGABYTE,
        "processes": max(s.processes for s in samples),
        "samples": len(samples),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="a table that tuner reads")
    parser.add_argument("--make", type=int, metavar="MB", help="make a table of this size instead")
    parser.add_argument("--stream", action="store_true", help="leave it on disk")
    parser.add_argument("--target", help="its target column; the last one if left out")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, help="one for each core by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if (args.data is None) == (args.make is None):
        parser.error("give a table, or --make")
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        if args.make is not None:
            args.data = Path(name, f"{args.make}MB.csv")
            write_table(args.data, megabytes=args.make)
        found = measure(args)
    print(
        f"{args.trials} trials of {args.epochs} epochs on {args.data.name}: at most "
        f"{found['proportional_megabytes']:.0f} MB in {found['processes']:.0f} processes together "
        f"({found['resident_megabytes']:.0f} MB with shared pages counted in each), {found['seconds']:.0f} s"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
