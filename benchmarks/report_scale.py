"""Time and memory of `tuner status` and `tuner report` on a large study.

    python benchmarks/report_scale.py [--trials 10000] [--rungs 20] [--keep FOLDER] [--only-live]

Makes a study in a real database, as a run leaves it (every epoch a rung; predictions of the best hundred trials), then
times each format in a process of its own, and the live page where Chromium is installed. The targets are 5 s and 600 MB
for 10,000 trials of 20 epochs; of the live page 2 s to its first paint and .3 s to the row of a trial that has ended.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `tests`

from tests.report.browser import Browser
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, EpochsFinished, TrialFinished, TrialPaused, TrialStarted, TrialState
from tuner.spec.space import Dimension, Space
from tuner.store.optuna_store import OptunaStore, open_store

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128, 256)),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=16, high=256, scale="log"),
        Dimension(name="hidden_layers", kind="int", tier=3, default=1, low=1, high=4),
        Dimension(name="lr_decay", kind="float", tier=3, default=0.0, low=0.0, high=0.3),
        Dimension(name="weight_decay", kind="float", tier=4, default=1e-4, low=1e-6, high=1e-1, scale="log"),
        Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.6),
    )
)
NUM_DEV = 1000
BATCH = 500
COMMANDS = (
    ["status"],
    ["report", "--top", "20"],
    *(["report", "--format", name] for name in ("csv", "json", "html")),
    ["report", "--write"],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rungs", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="keep the study in this folder, or use the one there")
    parser.add_argument("--only-live", action="store_true", help="time the live page alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = options.keep or Path(folder)
        paths = StudyPaths(results / "large")
        if not paths.database.exists():
            began = time.monotonic()
            make_study(paths, trials=options.trials, rungs=options.rungs)
            print(f"made {options.trials} trials x {options.rungs} rungs in {time.monotonic() - began:.0f} s")
        for arguments in () if options.only_live else COMMANDS:
            command, *more = arguments
            measure([command, "large", "--results", str(results), *more])
        measure_live(results)


def measure(arguments: list[str]) -> None:
    """Run one command and print its time and its peak memory."""
    code = "import resource, sys; from tuner.cli.main import run_command_line; rc = run_command_line(sys.argv[1:]); "
    code += "print(rc, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    # As installed: with its modules compiled.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True, text=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    exit_code, kilobytes = done.stderr.split()[-2:]
    assert exit_code == "0", done.stderr
    shown = " ".join([arguments[0], *arguments[4:]])
    print(f"{shown:20} {time.monotonic() - began:5.1f} s  cpu {cpu:5.1f} s  {int(kilobytes) / 1024:5.0f} MB")


def measure_live(results: Path, *, updates: int = 9) -> None:
    """Time the live page in Chromium: its first paint, and from a trial's end in the database to its row."""
    command = [sys.executable, "-m", "tuner", "watch", "large", "--results", str(results)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as profile, Browser.open(Path(profile)) as browser:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[0]
            print(f"watch: {time.monotonic() - began:.2f} s to its address, cpu {cpu_seconds(process):.2f} s")
            before = cpu_seconds(process)
            began = time.monotonic()
            browser.visit(address)
            browser.until("document.querySelectorAll('#leaderboard tbody tr').length > 0")
            took, cpu = time.monotonic() - began, cpu_seconds(process) - before
            first = browser.ask("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
            print(
                f"watch: from the request {first:.2f} s to the first paint, {took:.2f} s to the table, cpu {cpu:.2f} s"
            )
            browser.until("page.charts.has('best_so_far')")
            for _ in range(updates):
                before = cpu_seconds(process)
                row, began = add_trial(StudyPaths(results / "large"))
                browser.until(f"page.index.has({row})")
                seen, cpu = time.monotonic() - began, cpu_seconds(process) - before
                script = browser.ask("live.took") / 1000
                print(
                    f"watch: {seen:.2f} s from the end of a trial to its row; "
                    f"of these the page's script {script:.3f} s, the server's processor {cpu:.2f} s"
                )
        finally:
            process.terminate()
            process.wait()


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """What a process has taken of a processor (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def add_trial(paths: StudyPaths) -> tuple[int, float]:
    """Add a trial to the study, trained to its end; its number, and when its end was in the database."""
    store = open_store(paths, study="large", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE)
    try:
        (record,) = store.start([(SPACE.from_units([0.5] * len(SPACE)), 2, "all")])
        train_trial(store, record.number, 0.9, rungs=2, pruned=False)
        store.flush()
        return record.number, time.monotonic()
    finally:
        store.close()


def make_study(paths: StudyPaths, *, trials: int, rungs: int) -> None:
    """A study of random configurations whose learning rate matters."""
    rng = np.random.default_rng(0)
    store = open_store(paths, study="large", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE)
    try:
        store.set("space", [asdict(d) for d in SPACE])
        store.set("data", {"task": "classification", "num_train": 4000, "num_dev": NUM_DEV, "num_outputs": 2})
        best: list[tuple[float, int]] = []
        for first in range(0, trials, BATCH):
            units = rng.random((min(BATCH, trials - first), len(SPACE))).tolist()
            for record in store.start([(SPACE.from_units(row), rungs, "all") for row in units]):
                rate = SPACE["learning_rate"].to_unit(record.params["learning_rate"])
                accuracy = 0.95 - 0.2 * (rate - 0.6) ** 2 + 0.01 * float(rng.standard_normal())
                train_trial(store, record.number, accuracy, rungs=rungs, pruned=bool(rng.random() < 0.3))
                best.append((accuracy, record.number))
            store.flush()
        write_predictions(paths, sorted(best, reverse=True)[:150], rng)
    finally:
        store.close()


def train_trial(store: OptunaStore, trial: int, accuracy: float, *, rungs: int, pruned: bool) -> None:
    """The events of one trial, a rung after every epoch."""
    store.record(
        TrialStarted(
            trial=trial, worker="w", device="cpu", path="stacked", cohort_width=8, from_epoch=0, num_parameters=5000
        )
    )
    last = rungs // 2 if pruned else rungs
    for epoch in range(1, last + 1):
        value = accuracy * (1 - 0.5 / epoch)
        result = EpochResult(
            epoch=epoch,
            train_loss=1 / epoch,
            dev_loss=1.1 / epoch,
            train_metric=value + 0.01,
            dev_metric=value,
            learning_rate=0.01,
            seconds=0.1 * epoch,
        )
        store.record(EpochsFinished(trial=trial, results=(result,)))
        if epoch < last:
            store.record(TrialPaused(trial=trial, epoch=epoch))
            store.advance(trial, epoch + 1)
    if pruned:
        store.end(trial, TrialState.PRUNED, f"worse than the median at epoch {last}")
    else:
        store.record(TrialFinished(trial=trial, reason="all epochs"))


def write_predictions(paths: StudyPaths, best: list[tuple[float, int]], rng: np.random.Generator) -> None:
    targets = rng.integers(2, size=NUM_DEV)
    np.save(paths.dev_targets, targets)
    for accuracy, number in best:
        right = rng.random(NUM_DEV) < accuracy
        said = np.where(right, targets, 1 - targets)
        files = paths.trial(number)
        files.folder.mkdir(parents=True, exist_ok=True)
        np.save(files.predictions, np.eye(2, dtype=np.float32)[said])


if __name__ == "__main__":
    main()
