"""Phase 6: a sweep of one shape, and whole commands on the GPU and on the CPU."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from throughput import Tuner, configurations

from gpu.setting import Figures, Setting, spread, watching
from tuner.paths import StudyPaths
from tuner.store.reader import read_study

ROOT = Path(__file__).parents[2]
ENDING_SECONDS = 3.0
"""From a run's last step to its report."""
REHEARSED = ["-n", "2", "--set", "training.epochs=1", "--set", "space.hidden_units.high=20"]
WAYS = {
    "cuda": ["--devices", "cuda"],
    "cpu": ["--devices", "cpu"],
    "cuda, 4 workers": ["--devices", "cuda", "--workers", "4"],
}


def sweeps(setting: Setting) -> Iterator[Figures]:
    yield one_shape(setting)
    ways = list(WAYS.items())[: setting.pick(3, 1)]
    for place, (name, options) in enumerate(ways):
        seconds = setting.left() / (len(ways) - place) - ENDING_SECONDS
        yield {"what": "sweeps/digits.yaml", "devices": name, **whole_run(setting, options, seconds=seconds)}


def one_shape(setting: Setting) -> Figures:
    """A sweep over one shape, with worker, database and checkpoints: what is left of a cohort's throughput."""
    count, epochs = setting.pick(64, 2), setting.pick(20, 1)
    trials = configurations("fixed", count)
    sweep = Tuner("digits", trials, epochs=epochs, workers=1, fuse="auto", model="mlp", device="cuda")
    try:
        for _ in range(setting.pick(4, 1)):
            sweep.run()
    finally:
        sweep.close()
    times = [1e3 * seconds / count / epochs for seconds in sweep.sweep_seconds]
    return {
        "what": f"a sweep of {count} trials of 2 x 64 units on digits",
        "ms_per_trial_epoch": spread(times[1:] or times),
        "first": round(times[0], 4),
    }


def whole_run(setting: Setting, options: list[str], *, seconds: float) -> Figures:
    """One `tuner run` without finalists, which is asked to end when its time is up."""
    folder = Path(tempfile.mkdtemp(prefix="gpu-sweep-"))
    command = [sys.executable, "-m", "tuner", "run", "sweeps/digits.yaml", "-q", "--results", str(folder), *options]
    command += ["--time", str(max(1, round(seconds))), "--set", "finalists=null"]
    command += REHEARSED if setting.rehearsal else []
    began = time.monotonic()
    with watching() as used:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=setting.left(), check=False)
    wall = time.monotonic() - began
    found: Figures = {"wall_seconds": round(wall, 2), "exit_code": ended.returncode, **used}
    if not StudyPaths(folder / "digits").database.exists():
        return {**found, "error": ended.stderr[-2000:]}
    records = read_study(StudyPaths(folder / "digits"), study="digits").records
    widths = [int(width) for record in records if isinstance(width := record.facts.get("cohort_width"), int)]
    epochs = sum(record.epochs for record in records)
    return {
        **found,
        "trials": Counter(str(record.state.value) for record in records),
        "epochs": epochs,
        "epochs_per_second_of_wall": round(epochs / wall, 2),
        "ms_per_trial_epoch": round(1e3 * sum(record.seconds for record in records) / max(epochs, 1), 4),
        "mean_width_when_last_begun": round(sum(widths) / max(len(widths), 1), 2),
        "best": max((record.best.dev_metric for record in records if record.best), default=None),
    }
