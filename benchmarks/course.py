"""The lessons of sweeps/course on several seeds: does what each claims hold?

    python benchmarks/course.py [--seeds 5] [--results FOLDER] [LESSON ...]

Each row of the output is a lesson's measure: its mean over seeds (of the split or the made data, the search and the
trials), with its 95 % interval, and in how many seeds it is above zero. What has been run is not run again. The studies
have reports without plots, which are most of a short one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scipy import stats

from tuner.execute.numeric import set_numeric_environment

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from lessons import LESSONS
from lessons.running import run_lesson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help=f"of {', '.join(LESSONS)}; all if left out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=Path("results/course"), help="folder of the studies")
    arguments = parser.parse_args()
    set_numeric_environment(1)
    table = ["| lesson | measure | mean | 95 % interval | holds |", "| --- | --- | --- | --- | --- |"]
    for name in arguments.lessons or LESSONS:
        lesson = LESSONS[name]
        gains = []
        for seed in range(arguments.seeds):
            with patch("tuner.report.figures.table.drawn", lambda analysis: iter(())):
                finding, _ = run_lesson(lesson, results=arguments.results / f"seed_{seed}", seed=seed)
            gains.append(finding.gain)
            print(f"{name}, seed {seed}: {finding.gain:+.4f}. {finding.sentence}", flush=True)
        half = stats.t.ppf(0.975, len(gains) - 1) * np.std(gains, ddof=1) / np.sqrt(len(gains))
        mean = float(np.mean(gains))
        table.append(
            f"| {lesson.title} | {lesson.measure} | {mean:+.4f} | {mean - half:+.4f} to {mean + half:+.4f} | "
            f"{sum(gain > 0 for gain in gains)} of {len(gains)} |"
        )
    print("\n" + "\n".join(table))


if __name__ == "__main__":
    main()
