"""The three steps of `examples/`: each does what it says, and is short enough to be read at once."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tuner.spec.reader import read_sweep
from tuner.sweep.options import RunOptions
from tuner.sweep.run import run_sweep
from tuner.sweep.watcher import Watcher

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_each_step_is_shorter_than_a_screen_and_is_shown_in_the_documentation() -> None:
    steps = sorted(EXAMPLES.glob("[0-9]*"))
    assert [step.name for step in steps] == ["1_one_trial.py", "2_one_tier.py", "3_whole_sweep.yaml"]
    for step in steps:
        assert len(step.read_text().splitlines()) < 40
        assert f"examples/{step.name}" in (EXAMPLES.parent / "docs" / "README.md").read_text()


@pytest.mark.slow
def test_one_trial_prints_its_curve(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "1_one_trial.py"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"epoch {n}" for n in range(1, 6)]
    assert float(lines[-1].split()[-1]) > 0.8


@pytest.mark.slow
def test_one_tier_tells_of_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "2_one_tier.py"))
    *trials, last = capsys.readouterr().out.splitlines()
    assert sorted(" ".join(line.split()[:2]) for line in trials) == [f"trial {n}" for n in range(8)]
    header, *rows = Path(last.removeprefix("the table: ")).read_text().splitlines()
    assert "learning_rate" in header.split(",")
    assert len(rows) == 8


@pytest.mark.slow
def test_a_whole_sweep_ends_with_finalists_and_a_report(tmp_path: Path) -> None:
    small = ("search.trials=4", "training.epochs=2", "finalists.count=2")
    spec = read_sweep(EXAMPLES / "3_whole_sweep.yaml", overrides=small).spec
    outcome = run_sweep(spec, RunOptions(results=tmp_path, engine="inline"), Watcher())
    outcome.finish()
    assert outcome.complete
    assert "finalist" in outcome.paths.report_html.read_text()
