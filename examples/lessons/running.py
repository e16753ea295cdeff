"""Runs a lesson's sweeps and looks at what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lessons import Lesson
from lessons.findings import Finding
from lessons.studies import Study
from tuner.spec.reader import read_sweep
from tuner.sweep.run import RunOptions, run_sweep
from tuner.sweep.watcher import Watcher

ROOT = Path(__file__).resolve().parents[2]


def run_lesson(
    lesson: Lesson, *, results: Path, seed: int | None = None, overrides: Sequence[str] = ()
) -> tuple[Finding, Figure]:
    """Run the sweeps of a lesson, or continue them.

    Args:
        lesson: Which.
        results: Folder of the studies.
        seed: Of the split or the made data, the search and the trials; None: those of the files.
        overrides: Further `key.path=value` for all its sweeps, as of `tuner run --set`.
    """
    studies = [_run(name, results=results, seed=seed, overrides=overrides) for name in lesson.sweeps]
    figure = Figure(figsize=(5.2, 3.0), layout="constrained")
    lesson.draw(figure.add_subplot(), *studies)
    return lesson.find(*studies), figure


def _run(name: str, *, results: Path, seed: int | None, overrides: Sequence[str]) -> Study:
    path = ROOT / "sweeps" / "course" / f"{name}.yaml"
    file = read_sweep(path)
    if seed is not None:
        keys = ["data.seed", "search.seed", *(["search.trial_seed"] if file.spec.search.trial_seed is not None else [])]
        overrides = [*(f"{key}={seed}" for key in keys), *overrides]
    for warning in file.warnings:
        print(f"warning: {warning}")
    spec = read_sweep(path, overrides=overrides).spec
    outcome = run_sweep(spec, RunOptions(results=results, engine="inline"), Watcher())
    outcome.finish()
    print(f"{path.relative_to(ROOT)}: {outcome.search_end}, report: {outcome.paths.report_html}")
    return Study.read(outcome.paths.leaderboard_json)
