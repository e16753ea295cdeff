"""Phase 6: whole commands, on the GPU and on the CPU."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gpu.setting import Figures, Setting
from tuner.paths import StudyPaths
from tuner.store.reader import read_study

ROOT = Path(__file__).parents[2]
REHEARSED = ["-n", "2", "--set", "training.epochs=1", "--set", "space.hidden_units.high=20"]
WAYS = {
    "cuda": ["--devices", "cuda"],
    "cpu": ["--devices", "cpu"],
    "cuda, 4 workers": ["--devices", "cuda", "--workers", "4"],
}


def sweeps(setting: Setting) -> Iterator[Figures]:
    for name, options in list(WAYS.items())[: setting.pick(3, 1)]:
        yield {"what": "sweeps/digits.yaml", "devices": name, **whole_run(setting, options)}


def whole_run(setting: Setting, options: list[str]) -> Figures:
    """One `tuner run`, without finalists."""
    folder = Path(tempfile.mkdtemp(prefix="gpu-sweep-"))
    command = [sys.executable, "-m", "tuner", "run", "sweeps/digits.yaml", "-q", "--results", str(folder), *options]
    command += ["--set", "finalists=null", *(REHEARSED if setting.rehearsal else [])]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=setting.left(), check=False)
    wall = time.monotonic() - began
    if ended.returncode != 0:
        return {"exit_code": ended.returncode, "error": ended.stderr[-2000:]}
    records = read_study(StudyPaths(folder / "digits"), study="digits").records
    widths = [int(width) for record in records if isinstance(width := record.facts.get("cohort_width"), int)]
    epochs = sum(record.epochs for record in records)
    return {
        "wall_seconds": round(wall, 2),
        "trials": len(records),
        "epochs": epochs,
        "ms_per_trial_epoch": round(1e3 * sum(r.last.seconds for r in records if r.last) / max(epochs, 1), 4),
        "mean_width_when_last_begun": round(sum(widths) / max(len(widths), 1), 2),
        "states": Counter(str(record.state.value) for record in records),
        "best": max((record.best.dev_metric for record in records if record.best), default=None),
    }
