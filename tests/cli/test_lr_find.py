"""`tuner lr-find`: a line for the sweep file and a figure, and nothing in the study."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.main import run_command_line

SWEEP = "study: d\ndata: {source: sklearn/digits}\nspace: {learning_rate: {}}\n"


@pytest.mark.deep
@pytest.mark.slow
def test_it_suggests_a_rate_and_a_range_that_a_sweep_file_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.yaml").write_text(SWEEP)
    assert run_command_line(["lr-find", "d.yaml", "--steps", "60"]) == 0
    out = capsys.readouterr().out
    assert "suggested learning rate: 0.0" in out
    dimension = out.split("to search: learning_rate: ")[1].strip()
    Path("d.yaml").write_text(SWEEP.replace("learning_rate: {}", f"learning_rate: {dimension}"))
    assert run_command_line(["check", "d.yaml", "--no-import"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"d.yaml", "d-lr-find.png"}
    assert Path("d-lr-find.png").read_bytes().startswith(b"\x89PNG")


def test_rates_in_the_wrong_order_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.yaml").write_text(SWEEP)
    assert run_command_line(["lr-find", str(tmp_path / "d.yaml"), "--low", "1", "--high", "0.1"]) == 2
    assert "--low must be less than --high (0.1), got 1" in capsys.readouterr().err
