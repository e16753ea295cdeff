"""Wall-clock seconds until the dev accuracy first reaches a target: tuner, the usual Optuna script, Ray Tune with ASHA.

    python benchmarks/time_to_target.py --letters letter-recognition.csv --images t10k-images-idx3-ubyte.gz
                                        [--ray-python PATH] [--seeds 5] [--budget 300] [--target-letters 0.95]
                                        [--target-images 0.955] [--easier 0.93 0.94]
                                        [--trials 100] [--only tuner,optuna,ray] [--json FILE]

Real training: multi-layer perceptrons of up to 30 epochs with SGD in one space (learning rate, momentum, batch size,
width, depth, dropout, L2), 60/20/20 split, each contestant on the same cores and in a process of its own that starts
from nothing: imports, data, database and all count. `tuner` is `tuner run` with its defaults; `optuna` is
`benchmarks/to_target/optuna_script.py` (TPE, MedianPruner, SQLite, `DataLoader`s), `ray` is
`benchmarks/to_target/ray_script.py` (ASHA, one trial on each core), which needs an environment of its own:

    python -m venv ray-env && ray-env/bin/pip install "ray[tune]" torch==2.13.0
    python benchmarks/time_to_target.py ... --ray-python ray-env/bin/python

The letters are UCI's letter recognition (column `lettre`), the images MNIST's test part, both in files of yours.
Contestants take turns, one at a time, in an order that rotates with the seed. A run that has not reached the target
when its time or its trials are used up is censored: it counts as longer than any other, and a median that falls on
one is given as a lower bound.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tuner.data.load import load_training_data
from tuner.spec.reader import read_sweep

SCRIPTS = Path(__file__).resolve().parent / "to_target"
CONTESTANTS = {"tuner": "tuner_run.py", "optuna": "optuna_script.py", "ray": "ray_script.py"}
EPOCHS = 30
GRACE_SECONDS = 60
"""For a contestant to end by itself after its budget."""

SWEEP = """\
study: to_target
data: {{source: {source}{target}, split: {{train: 0.6, dev: 0.2, test: 0.2}}}}
model: mlp
objective: {{metric: accuracy}}
space:
  learning_rate: {{low: 1e-4, high: 1.0}}
  momentum:      {{low: 0.5, high: 0.99}}
  batch_size:    {{choices: [32, 64, 128, 256]}}
  hidden_units:  {{low: 16, high: 256}}
  hidden_layers: {{low: 1, high: 4}}
  dropout:       {{low: 0.0, high: 0.6}}
  weight_decay:  {{low: 1e-6, high: 1e-1}}
training: {{optimizer: sgd, epochs: {epochs}}}
search: {{trials: {trials}, seed: {seed}}}
"""


@dataclass(frozen=True)
class Problem:
    """A data set and how good is good enough."""

    name: str
    source: Path
    target_column: str | None
    target: float
    trials: int
    """Of each run, as far as its time allows."""

    def sweep(self, seed: int) -> str:
        column = f", target: {self.target_column}" if self.target_column else ""
        return SWEEP.format(source=self.source.resolve(), target=column, epochs=EPOCHS, trials=self.trials, seed=seed)


def write_arrays(problem: Problem, folder: Path) -> Path:
    """The examples as tuner prepares them, for the others: what they would have to write themselves is given."""
    sweep = folder / "arrays.yaml"
    sweep.write_text(problem.sweep(0), encoding="utf-8")
    data = load_training_data(read_sweep(sweep).spec)
    arrays = {
        "train_inputs": data.train.inputs,
        "train_targets": data.train.targets,
        "dev_inputs": data.dev.inputs,
        "dev_targets": data.dev.targets,
        "num_outputs": torch.tensor(data.info.num_outputs),
    }
    torch.save(arrays, folder / "arrays.pt")
    return folder / "arrays.pt"


Improvements = list[tuple[float, float]]
"""Seconds since the start of the process, and the best dev accuracy from then on."""


def improvements(
    contestant: str, problem: Problem, *, seed: int, arrays: Path, budget: float, python: str, threads: int
) -> Improvements:
    """Of one run, until its target, its trials or its time."""
    with tempfile.TemporaryDirectory(prefix=f"to-target-{contestant}-") as folder:
        sweep = Path(folder) / "sweep.yaml"
        sweep.write_text(problem.sweep(seed), encoding="utf-8")
        job = {
            "arrays": str(arrays),
            "budget": budget,
            "cores": len(os.sched_getaffinity(0)),
            "epochs": EPOCHS,
            "folder": folder,
            "seed": seed,
            "sweep": str(sweep),
            "target": problem.target,
            "threads": threads,
            "trials": problem.trials,
        }
        command = [python, str(SCRIPTS / CONTESTANTS[contestant]), json.dumps(job)]
        environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        began = time.time()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
            errors="replace",
        )
        try:
            out, errors = process.communicate(timeout=budget + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, errors = process.communicate()
        found = [json.loads(line) for line in out.splitlines() if line.startswith('{"accuracy"')]
        if not found and process.returncode not in (0, -signal.SIGKILL):
            raise SystemExit(f"{contestant} failed with {process.returncode}:\n{errors[-2000:]}")
    return [(line["at"] - began, line["accuracy"]) for line in found]


def seconds_to(target: float, found: Improvements) -> float:
    """Infinite if the run did not get there."""
    return next((seconds for seconds, accuracy in found if accuracy >= target), math.inf)


def shown(seconds: float, budget: float) -> str:
    return f"{seconds:.1f}" if math.isfinite(seconds) else f">{budget:.0f}"


def summary(target: float, problem: Problem, runs: dict[str, list[Improvements]], budget: float) -> dict[str, object]:
    """Print the table of a target; the figures for `--json`."""
    seconds = {name: [seconds_to(target, run) for run in found] for name, found in runs.items()}
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"\n{problem.name}: dev accuracy {target:g}, {len(next(iter(seconds.values())))} seeds, seconds")
    result: dict[str, object] = {}
    for name, found in seconds.items():
        censored = sum(not math.isfinite(s) for s in found)
        reference = medians.get("tuner", math.inf)
        over = min(medians[name], budget) / reference if math.isfinite(reference) else None
        bound = "" if math.isfinite(medians[name]) else "at least "
        ratio = "" if name == "tuner" or over is None else f"; tuner is {bound}{over:.1f}x as fast"
        missed = f", {censored} did not get there" if censored else ""
        print(
            f"  {name:7} median {shown(medians[name], budget)} "
            f"[{shown(min(found), budget)}, {shown(max(found), budget)}]{missed}{ratio}"
        )
        result[name] = {
            "seconds": [s if math.isfinite(s) else None for s in found],
            "median": medians[name] if math.isfinite(medians[name]) else None,
            "censored": censored,
            "over_tuner": over,
            "improvements": runs[name],
        }
    return {"target": target, "budget_seconds": budget, "contestants": result}


def run_problem(problem: Problem, args: argparse.Namespace, contestants: list[str]) -> dict[str, object]:
    runs: dict[str, list[Improvements]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory(prefix="to-target-") as folder:
        arrays = write_arrays(problem, Path(folder))
        for seed in range(args.seeds):
            for place in range(len(contestants)):
                name = contestants[(place + seed) % len(contestants)]
                found = improvements(
                    name,
                    problem,
                    seed=seed,
                    arrays=arrays,
                    budget=args.budget,
                    python=str(args.ray_python) if name == "ray" else sys.executable,
                    threads=args.optuna_threads,
                )
                runs[name].append(found)
                seconds = shown(seconds_to(problem.target, found), args.budget)
                best = found[-1][1] if found else math.nan
                print(f"{problem.name} seed {seed} {name}: {seconds} s, best {best:g}", file=sys.stderr, flush=True)
    for easier in args.easier:
        if easier < problem.target:
            summary(easier, problem, runs, args.budget)
    return summary(problem.target, problem, runs, args.budget)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--letters", type=Path, metavar="CSV", help="letter recognition, target column `lettre`")
    parser.add_argument("--images", type=Path, metavar="IDX", help="images in IDX format, the labels file beside it")
    parser.add_argument("--target-letters", type=float, default=0.95, metavar="ACCURACY")
    parser.add_argument("--target-images", type=float, default=0.955, metavar="ACCURACY")
    parser.add_argument(
        "--easier", type=float, nargs="*", default=[], metavar="ACCURACY", help="lower targets, read from the same runs"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=100, help="of each run, as far as its time allows")
    parser.add_argument(
        "--budget", type=float, default=300.0, metavar="SECONDS", help="after so long a run is censored"
    )
    parser.add_argument("--only", default="tuner,optuna,ray", metavar="NAMES")
    parser.add_argument("--ray-python", type=Path, metavar="PATH", help="Python of an environment with Ray Tune")
    parser.add_argument("--optuna-threads", type=int, default=1, help="torch threads of the Optuna script")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    contestants = [name for name in args.only.split(",") if name != "ray" or args.ray_python]
    problems = []
    if args.letters:
        problems.append(Problem("letters", args.letters, "lettre", args.target_letters, args.trials))
    if args.images:
        problems.append(Problem("images", args.images, None, args.target_images, args.trials))
    if not problems or not set(contestants) <= set(CONTESTANTS):
        parser.error("give --letters or --images, and of tuner, optuna and ray in --only")
    print(f"{len(os.sched_getaffinity(0))} cores, torch {torch.__version__}")
    found = {problem.name: run_problem(problem, args, contestants) for problem in problems}
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
