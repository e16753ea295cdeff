"""Options that take the names of a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tuner.cli.report import report
from tuner.cli.run import run
from tuner.execute.open import ENGINES
from tuner.report.tables.formats import FORMATS, to_csv


def test_a_line_of_a_table_is_a_value_of_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # elsewhere there may be such a study
    refused = CliRunner().invoke(report, ["digits", "--format", "latex"]).output
    assert all(f"'{name}'" in refused for name in ("table", "html", *FORMATS))
    monkeypatch.setitem(FORMATS, "latex", to_csv)
    assert "|latex]" in CliRunner().invoke(report, ["--help"]).output
    assert "no study" in str(CliRunner().invoke(report, ["digits", "--format", "latex"]).exception)
    refused = CliRunner().invoke(run, ["digits.yaml", "--engine", "spark"]).output
    assert all(f"'{name}'" in refused for name in ENGINES)
