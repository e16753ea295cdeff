"""What a sweep takes on a Ray cluster of two one-core nodes, over two local workers; how soon a new node has work.

    python benchmarks/on_ray.py [--trials 64] [--rounds 3]

The sweep is `sweeps/digits.yaml`, whole, with its reports, by `random`, so that both engines train the same; each
engine in turn, the second one first in every other round. Wall seconds of the command, and of it from the first trial's
begin; processor seconds of the command and of all that it and the cluster's nodes started. The start of the nodes is
not counted. That of Ray's workers on them, which `local` forks in milliseconds, is a part of the command, and lies
before the first trial. The bar is 1.3.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tuner.paths import StudyPaths
from tuner.store.reader import read_study

SWEEP = Path(__file__).parents[1] / "sweeps" / "digits.yaml"
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000}
ENGINES = ("local", "ray")
_BECOME_SUBREAPER = 36
"""Of `prctl`: what our children leave behind becomes ours, and what it has taken is known when it ends."""


@contextmanager
def a_cluster(*, nodes: int) -> Iterator[Any]:
    """A head that trains nothing, and nodes of one core."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # as `local` trains
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


def command(engine: str, address: str, results: Path, *more: str) -> list[str]:
    where = ["--address", address] if engine == "ray" else []
    run = [sys.executable, "-m", "tuner", "run", str(SWEEP), "--quiet", "--results", str(results)]
    return [*run, "--engine", engine, *where, *more]


def processor_seconds() -> float:
    """Of all that this process has started, whether it has ended or not."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    for pid, (parent, spent) in sorted(parents.items()):  # parents come first, but for those that we have inherited
        if parent in ours:
            ours.add(pid)
            ticks += spent
    return used.ru_utime + used.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def measure(engine: str, address: str, *, trials: int) -> tuple[float, float, float]:
    """Of a whole sweep: wall seconds, wall seconds from the first trial's begin, processor seconds."""
    with tempfile.TemporaryDirectory() as folder:
        before, began = processor_seconds(), time.time()
        same = ("--workers", "2", "--trials", str(trials), "--set", "search.strategy=random")
        run = command(engine, address, Path(folder), *same)
        assert os.waitstatus_to_exitcode(os.waitpid(os.spawnv(os.P_NOWAIT, run[0], run), 0)[1]) == 0
        ended = time.time()
        time.sleep(2.0)  # what Ray ends after the run
        spent = processor_seconds() - before
        records = read_study(StudyPaths(Path(folder) / "digits"), study="digits").records
        first = min(datetime.fromisoformat(record.started).timestamp() for record in records)
        return ended - began, ended - first, spent


def joining() -> float:
    """Seconds from the moment when a node has joined until the first trial is in training there."""
    with a_cluster(nodes=1) as cluster, tempfile.TemporaryDirectory() as folder:
        more = ("--trials", "5000", "--set", "training.fuse=off", "--set", "search.strategy=random")
        run = subprocess.Popen(command("ray", cluster.address, Path(folder), *more))
        paths = StudyPaths(Path(folder) / "digits")
        try:
            _wait_for_worker(paths, 0)
            cluster.add_node(**NODE)
            began = time.monotonic()
            _wait_for_worker(paths, 1)
            return time.monotonic() - began
        finally:
            run.kill()
            run.wait()


def _wait_for_worker(paths: StudyPaths, number: int) -> None:
    """Until a trial is, or was, trained by the worker of this number."""
    while True:
        with suppress(Exception):  # there is no study yet
            if any(
                str(record.facts.get("worker", "")).startswith(f"worker {number} ")
                for record in read_study(paths, study="digits").records
            ):
                return
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-joining", action="store_true", help="measure the sweeps alone")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(_BECOME_SUBREAPER, 1, 0, 0, 0)
    if not options.no_joining:
        print(f"a node that joins has a trial after {joining():.1f} s", flush=True)
    found: dict[str, list[tuple[float, float, float]]] = {engine: [] for engine in ENGINES}
    with a_cluster(nodes=2) as cluster:
        for count in range(options.rounds):
            for engine in ENGINES[:: -1 if count % 2 else 1]:
                wall, training, spent = measure(engine, cluster.address, trials=options.trials)
                found[engine].append((wall, training, spent))
                seconds = f"{wall:6.1f} s, {training:6.1f} s from the first trial on"
                print(f"{engine:5}: {seconds}, {spent:6.1f} s of processors", flush=True)
    for index, what in enumerate(("wall", "wall from the first trial on", "processors")):
        ratios = [ray[index] / local[index] for local, ray in zip(found["local"], found["ray"], strict=True)]
        print(f"ray over local, {what}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
