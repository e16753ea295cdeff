"""The lessons of Andrew Ng's course as sweeps: runs those of sweeps/course and prints what each has measured.

    python examples/course.py                       # all of them
    python examples/course.py momentum dropout      # some
    python examples/course.py momentum --seed 1     # the same on another split, with other weights and draws

Each lesson is one sweep, or a few that are compared. Their studies and a figure go to results/course; what has been run
is not run again. docs/course.md says what to read from each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lessons import LESSONS
from lessons.running import run_lesson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help=f"of {', '.join(LESSONS)}; all if left out")
    parser.add_argument("--seed", type=int, help="of the split, the search and the trials; left out: as in the files")
    parser.add_argument("--results", type=Path, default=Path("results/course"), help="folder of the studies")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.lessons if name not in LESSONS]
    if unknown:
        parser.error(f"there is no lesson {unknown[0]}; there are {', '.join(LESSONS)}")
    results = arguments.results if arguments.seed is None else arguments.results / f"seed_{arguments.seed}"
    for name in arguments.lessons or LESSONS:
        print(f"\n{LESSONS[name].title}")
        finding, figure = run_lesson(LESSONS[name], results=results, seed=arguments.seed)
        figure.savefig(results / f"{name}.png", dpi=110)
        print(f"figure: {results / name}.png\n{finding.sentence}", flush=True)


if __name__ == "__main__":
    main()
