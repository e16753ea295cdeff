"""Where the time of a whole `tuner run` goes, from the shell to the last file of the report.

    python benchmarks/profile_run.py [--study digits] [--study letters] [--study cnn] [--workers 2] [--code FOLDER]

Runs each study as a user does, in a folder of its own, with parts of all its processes timed (`profiled/`), and prints
a table: seconds of the processor by part, over all processes, and when the first step, the first trial and the table
were there. `letters` is a made table of 20,000 rows, 16 numbers and 26 classes, like UCI's. `--code` names another
checkout of tuner, to compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

STUDIES = {
    "digits": (Path(__file__).parents[1] / "sweeps" / "digits.yaml").read_text(),
    "letters": """
study: letters
data: {source: letters.csv}
training: {epochs: 10}
search: {trials: 32}
finalists: {count: 3, seeds: 2}
""",
    "cnn": """
study: cnn
data: {source: sklearn/digits}
model: {kind: cnn, channels: 16}
training: {epochs: 10}
search: {trials: 16}
finalists: {count: 3, seeds: 2}
""",
}
PARTS = (
    "process starts", "imports", "sweep file", "data", "calibration", "first of decisions", "decisions", "training",
    "evaluation", "Python between steps", "baselines", "database", "leaderboard", "figures and page", "the rest",
)  # fmt: skip
MARKS = ("first step", "first trial ended", "all trained", "table", "end")


@dataclass
class Profile:
    """Of one run."""

    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of the processor."""
    marks: dict[str, float] = field(default_factory=dict)
    """Seconds after the start."""
    waits: list[float] = field(default_factory=list)
    """Of workers for jobs, after their first: seconds."""
    cpu: float = 0.0


def make_letters(path: Path) -> None:
    """Sixteen whole numbers of 0 to 15 for each of 26 letters, in clusters that overlap."""
    generator = np.random.default_rng(0)
    centres = generator.uniform(2, 13, size=(26, 4, 16))
    letter, shape = generator.integers(26, size=20_000), generator.integers(4, size=20_000)
    numbers = np.clip(np.round(centres[letter, shape] + generator.normal(0, 2.2, size=(20_000, 16))), 0, 15).astype(int)
    lines = [",".join([*(f"x{i}" for i in range(16)), "letter"])]
    lines += [",".join([*map(str, row), chr(65 + of)]) for row, of in zip(numbers, letter, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def profile(study: str, *, workers: int | None, code: Path) -> Profile:
    """Run a study with its parts timed."""
    with tempfile.TemporaryDirectory(prefix="profile-") as name:
        folder = Path(name)
        (folder / "found").mkdir()
        (folder / "sweep.yaml").write_text(STUDIES[study])
        if study == "letters":
            make_letters(folder / "letters.csv")
        places = [str(Path(__file__).parent / "profiled"), str(code.resolve())]
        environment = os.environ | {"TUNER_PROFILE": str(folder / "found"), "PYTHONPATH": os.pathsep.join(places)}
        command = [sys.executable, "-m", "tuner", "run", "sweep.yaml", "--quiet"]
        command += [] if workers is None else ["--workers", str(workers)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found = [json.loads(file.read_text()) for file in (folder / "found").glob("*.json")]
    return gathered(found, began=began, ended=ended, cpu=cpu)


def gathered(found: list[dict[str, Any]], *, began: float, ended: float, cpu: float) -> Profile:
    """One profile of those of all processes."""
    result = Profile(cpu=cpu)
    for process in found:
        result.parts["process starts"] += process["start"]
        for part, seconds in process["spans"].items():
            result.parts[part] += seconds
        for mark, at in process["marks"].items():
            result.marks[mark] = min(at - began, result.marks.get(mark, float("inf")))
        result.waits += process["waits"][1:]
    result.marks["end"] = ended - began
    result.parts["the rest"] = cpu - sum(result.parts.values())
    return result


def table(profiles: dict[str, Profile]) -> str:
    """Markdown, a column for each study."""
    rows = [["seconds of a processor", *profiles], ["---", *("---:" for _ in profiles)]]
    rows += [[part, *(f"{p.parts.get(part, 0.0):.2f}" for p in profiles.values())] for part in PARTS]
    rows += [["**all**", *(f"**{p.cpu:.2f}**" for p in profiles.values())]]
    rows += [
        [f"seconds to: {mark}", *(f"{p.marks.get(mark, float('nan')):.2f}" for p in profiles.values())]
        for mark in MARKS
    ]
    waits = [
        f"{statistics.median(p.waits) * 1e3:.1f}, {sum(p.waits):.2f}" if p.waits else "-" for p in profiles.values()
    ]
    rows += [["a worker's wait for jobs: ms (median), seconds in all", *waits]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", action="append", choices=STUDIES)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--code", type=Path, default=Path(__file__).parents[1], help="Folder of the tuner to run.")
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before", file=sys.stderr)
    profiles = {study: profile(study, workers=given.workers, code=given.code) for study in given.study or STUDIES}
    print(table(profiles))
    print(f"load {os.getloadavg()[0]:.1f} after", file=sys.stderr)


if __name__ == "__main__":
    main()
