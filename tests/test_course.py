"""The lessons of `sweeps/course`: each has its sweeps, a place on the page, a figure and a measurement, and runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.depth import but_deep
from tuner.spec.reader import read_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from lessons import LESSONS
from lessons.findings import Finding
from lessons.running import run_lesson

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
SWEEPS = sorted((ROOT / "sweeps" / "course").glob("*.yaml"))
WARNED = {"learning_rate_linear": "linear scale over 4 decades", "momentum": "more than 1000 steps"}
"""What a lesson shows is just what its sweep is warned of."""


def test_each_sweep_of_the_course_belongs_to_one_lesson() -> None:
    named = [name for lesson in LESSONS.values() for name in lesson.sweeps]
    assert sorted(named) == [path.stem for path in SWEEPS]
    assert list(LESSONS) == [lesson.sweeps[0] for lesson in LESSONS.values()]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_of_the_course_is_read_and_says_what_it_teaches(path: Path) -> None:
    file = read_sweep(path)
    assert file.spec.study == path.stem
    expected = WARNED.get(path.stem)
    assert all(expected is not None and expected in warning for warning in file.warnings)
    assert len(file.warnings) == (expected is not None)
    if path.stem in LESSONS:
        assert file.text.startswith("# Lesson: ")
        assert f"#   python examples/course.py {path.stem}\n" in file.text
    else:
        assert any(path.stem in lesson.sweeps and f"{name}.yaml" in file.text for name, lesson in LESSONS.items())


def test_the_page_has_a_part_for_each_lesson_with_its_line_its_sweeps_and_its_figure() -> None:
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
    titles = [lesson.title for lesson in LESSONS.values()]
    assert [title for title in parts if title in titles] == titles
    for name, lesson in LESSONS.items():
        part = parts[lesson.title]
        assert f"python examples/course.py {name}\n" in part
        assert f"](images/course/{name}.png)" in part
        assert {f"](../sweeps/course/{sweep}.yaml)" for sweep in lesson.sweeps} <= set(re.findall(r"\]\([^)]*\)", part))
    figures = {path.stem for path in (ROOT / "docs" / "images" / "course").glob("*.png")}
    assert figures == set(LESSONS)


def test_the_page_says_of_each_lesson_what_was_measured_on_several_seeds() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    for lesson in LESSONS.values():
        row = re.search(
            rf"^\| {re.escape(lesson.title)} \| {re.escape(lesson.measure)} \|.*\| (\d of \d) \|", results, re.MULTILINE
        )
        assert row, lesson.title
        part = PAGE.partition(f"## {lesson.title}\n")[2].partition("\n## ")[0]
        assert f"in {row[1]} seeds" in " ".join(part.split()), lesson.title


QUICK = "mismatch"
"""The lesson that costs least; the others are left to a deep look."""


@pytest.mark.slow
@pytest.mark.parametrize("name", but_deep(LESSONS, *(name for name in LESSONS if name != QUICK)))
def test_a_lesson_runs_and_says_what_it_has_measured(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two epochs, after which what a lesson claims need not hold."""
    finding, figure = run_lesson(LESSONS[name], results=tmp_path, seed=1, overrides=("training.epochs=2",))
    assert isinstance(finding, Finding)
    assert re.search(r"\d\.\d{3}", finding.sentence)
    assert "nan" not in finding.sentence
    (axes,) = figure.axes
    assert axes.get_xlabel() or axes.patches
    assert capsys.readouterr().out.count("report: ") == len(LESSONS[name].sweeps)
