"""What trackers cost a sweep: one whose length is decided by its trials, without trackers and with all three, in turns.

    python benchmarks/trackers.py [--seconds 600] [--rounds 1] [--json FILE]

Each trial is a function of the user's that sleeps and reports, so a busy machine leaves the length of the sweep as it
is, unless the trackers slow it: two workers, forty epochs of a quarter of a second, each of which the run waits for.
It is `tuner run` with a database and all else that belongs to it. MLflow's server runs beside it, with SQLite behind
it, on this machine; Weights & Biases writes offline. The sweep is from its first trial's start to its last one's end;
start and end of the whole process are told apart, and so is the processor's time of the server. The bar is 5 % in time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `tests`

from tests.track.mlflow_server import mlflow_server
from tuner.paths import StudyPaths
from tuner.records import TrialRecord, TrialState
from tuner.store.reader import read_study
from tuner.train.own.handle import TrialHandle

WORKERS = 2
EPOCHS, EPOCH_SECONDS = 40, 0.25
TRACKERS = ("tensorboard", "mlflow", "wandb")
BAR = 0.05
_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER`: what a tracker leaves behind is ours to wait for, and so its time is counted."""


def train(trial: TrialHandle) -> None:
    """A trial that takes its time, and reports what a curve looks like."""
    rate, momentum = float(trial.params["learning_rate"]), float(trial.params["momentum"])
    best = 0.95 - 0.05 * (math.log10(rate) + 2) ** 2 - 0.1 * (momentum - 0.9) ** 2
    for epoch in range(1, trial.epochs + 1):
        time.sleep(EPOCH_SECONDS)
        value = best * (1 - math.exp(-epoch / 8))
        trial.report(epoch, accuracy=value, train_accuracy=value + 0.01, loss=1 - value, train_loss=0.98 - value)
        if trial.should_stop():
            return


@dataclass
class Cost:
    """Seconds of one run of the sweep."""

    sweep: float
    """From the first trial's start to the last one's end."""
    start: float
    """From the command to the first trial's start."""
    end: float
    """From the last trial's end to the end of the process."""
    cpu: float
    """Of the processor, with all processes that the run has started."""
    seen: dict[str, float] = field(default_factory=dict)
    """From the first trial's start until each tracker said where it writes."""


def run(folder: Path, *, num_trials: int, trackers: Sequence[str]) -> Cost:
    """One run of the sweep in a process of its own."""
    folder.mkdir(parents=True)
    sweep = {
        "study": "scripted", "trainer": f"{Path(__file__).resolve()}:train", "objective": {"metric": "accuracy"},
        "space": {
            "learning_rate": {"low": 1e-4, "high": 1.0, "log": True},
            "momentum": {"low": 0.5, "high": 0.99, "tier": 2},
        },
        "training": {"epochs": EPOCHS},
        "search": {"trials": num_trials, "strategy": "random", "pruner": "none"},
    }  # fmt: skip
    file = folder / "sweep.yaml"
    file.write_text(json.dumps(sweep))
    command = [sys.executable, "-m", "tuner", "run", str(file), "--results", str(folder), "--workers", str(WORKERS)]
    command += ["--track", ",".join(trackers) or "none"]
    before, began = _processor_seconds(), time.time()
    seen: dict[str, float] = {}
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            for name in trackers:
                if line.startswith(f"{name}: "):
                    seen.setdefault(name, time.time())
    ended = time.time()
    _wait_for_orphans()
    cpu = _processor_seconds() - before
    assert process.returncode == 0, "".join(said)
    warned = [line for line in said if "does not answer" in line or "dropped" in line or "failed" in line]
    assert not warned, "".join(warned)
    records = read_study(StudyPaths(folder / "scripted"), study="scripted").records
    _check(records, num_trials)
    first = min(datetime.fromisoformat(r.started) for r in records).timestamp()
    last = max(datetime.fromisoformat(r.ended) for r in records).timestamp()
    seen = {name: moment - first for name, moment in seen.items()}
    print(f"  {', '.join(trackers) or 'no tracker'}: {last - first:.2f} s", flush=True)
    return Cost(sweep=last - first, start=first - began, end=ended - last, cpu=cpu, seen=seen)


def _check(records: Sequence[TrialRecord], num_trials: int) -> None:
    assert [r.state for r in records] == [TrialState.COMPLETE] * num_trials
    assert {r.epochs for r in records} == {EPOCHS}


def check_tracked(folder: Path, url: str, num_trials: int) -> None:
    """See that each tracker has every epoch of every trial: else it was quick for nothing."""
    trackers = StudyPaths(folder / "scripted").folder / "trackers"
    for name in TRACKERS:
        lines = (trackers / name / "runs.jsonl").read_text().splitlines()
        runs = {found["name"]: found for found in map(json.loads, lines)}
        assert len(runs) == num_trials, (name, len(runs))
        assert {(r["epochs"], r["ended"]) for r in runs.values()} == {(EPOCHS, True)}, name
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(url)
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    found = client.search_runs([experiment.experiment_id], "tags.tuner.study = 'scripted'", max_results=10_000)
    done = [r for r in found if "tuner.run" in r.data.tags and r.data.metrics.get("epochs") == EPOCHS]
    assert len(done) == num_trials, len(done)


def _processor_seconds() -> float:
    """Of all processes that were waited for by now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    """Reap what has ended of what a run left to us; the server goes on."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def say(costs: dict[str, list[Cost]]) -> float:
    """Print both, and return by how much longer the sweep takes with trackers: the median of the rounds."""
    for name, found in costs.items():
        for cost in found:
            seen = ", ".join(f"{tracker} {seconds:.1f}" for tracker, seconds in cost.seen.items())
            print(
                f"{name:12} sweep {cost.sweep:7.2f} s   start {cost.start:5.2f} s   end {cost.end:5.2f} s   "
                f"processor {cost.cpu:6.2f} s{f'   ready after {seen} s' if seen else ''}"
            )
    ratios = [b.sweep / a.sweep for a, b in zip(costs["without"], costs["with all"], strict=True)]
    whole = [
        (b.start + b.sweep + b.end) / (a.start + a.sweep + a.end)
        for a, b in zip(costs["without"], costs["with all"], strict=True)
    ]
    longer = statistics.median(ratios) - 1
    print(f"the whole command takes {100 * (statistics.median(whole) - 1):+.2f} %")
    print(f"the sweep takes {100 * longer:+.2f} %   bar {100 * BAR:.0f} %: {'holds' if longer <= BAR else 'MISSED'}")
    return longer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="that the sweep takes without trackers")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    num_trials = WORKERS * max(1, round(args.seconds / (EPOCHS * EPOCH_SECONDS)))
    ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0)
    os.environ["WANDB_MODE"] = "offline"
    costs: dict[str, list[Cost]] = {"without": [], "with all": []}
    print(
        f"{num_trials} trials of {EPOCHS} epochs of {EPOCH_SECONDS} s, {WORKERS} workers; load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory(prefix="tuner-trackers-") as name:
        folder = Path(name)
        with mlflow_server(folder) as url:
            os.environ["MLFLOW_TRACKING_URI"] = url
            for number in range(args.rounds):
                os.environ["MLFLOW_EXPERIMENT_NAME"] = f"round {number}"
                costs["without"].append(run(folder / f"without-{number}", num_trials=num_trials, trackers=()))
                costs["with all"].append(run(folder / f"with-{number}", num_trials=num_trials, trackers=TRACKERS))
                check_tracked(folder / f"with-{number}", url, num_trials)
            before = _processor_seconds()
        time.sleep(1)  # until its workers, which it left to us, are gone as well
        _wait_for_orphans()
        server = _processor_seconds() - before
    longer = say(costs)
    print(f"the server of MLflow: {server:.1f} s of a processor, with its start")
    print(f"load {os.getloadavg()[0]:.1f}")
    if args.json:
        found = {name: [asdict(cost) for cost in each] for name, each in costs.items()}
        args.json.write_text(json.dumps({**found, "longer": longer}, indent=2) + "\n")


if __name__ == "__main__":
    main()
