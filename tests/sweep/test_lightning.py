"""A whole sweep of a LightningModule: checked, pruned, ranked, exported and tested as any network's."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.records import TrialState
from tuner.store.reader import read_study

ROOT = Path(__file__).parents[2]


@pytest.mark.deep
def test_the_shipped_sweep(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    text = (ROOT / "sweeps" / "lightning.yaml").read_text().replace("../examples", str(ROOT / "examples"))
    text = re.sub(r"search: .*", "search: {trials: 6, seed: 0, strategy: random, pruner: asha}", text)
    Path("sweep.yaml").write_text(re.sub(r"epochs: +\d+", "epochs: 4", text))
    assert run_command_line(["check", "sweep.yaml"]) == 0
    assert "ok   overfits one batch" in capsys.readouterr().out
    with caplog.at_level(logging.WARNING):
        assert run_command_line(["run", "sweep.yaml", "-q", "--json", "--workers", "2"]) == 0
    said = {r.getMessage() for r in caplog.records if r.name.startswith("tuner")}
    assert len(said) == 1, said
    assert "is trained one trial at a time: it is a LightningModule" in said.pop()
    rows = json.loads(capsys.readouterr().out)["trials"]
    best = rows[0]
    assert best["dev_accuracy"] > 0.8
    assert best["ci_low"] < best["dev_accuracy"] < best["ci_high"]
    study = read_study(StudyPaths((tmp_path / "results" / "lightning").resolve()), study="lightning")
    states = [r.state for r in study.records]
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(r.facts["gradient_norms"] for r in study.records if r.state is TrialState.COMPLETE)
    assert run_command_line(["best", "sweep.yaml", "--verify", "--export", "winner"]) == 0
    assert f"scores dev accuracy {best['dev_accuracy']:.6g}" in capsys.readouterr().err
    assert run_command_line(["test", "sweep.yaml"]) == 0
    assert run_command_line(["lr-find", "sweep.yaml"]) == 6
    assert "use Lightning's own Tuner.lr_find" in capsys.readouterr().err
