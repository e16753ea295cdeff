"""`--results` is a folder of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.locate import locate
from tuner.cli.main import run_command_line


@pytest.mark.parametrize("command", [["run", "s.yaml"], ["status", "s"], ["report", "s"]])
@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "https://host/x", "file:/tmp/x"])
def test_a_url_is_refused_and_no_folder_is_made_of_it(
    command: list[str],
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("study: s\ndata: {source: sklearn/digits}\n")
    assert run_command_line([*command, "--results", url]) == 2
    assert f"{url} is a URL; give a folder of this machine" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["s.yaml"]


def test_a_study_that_is_called_like_a_file_is_found_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for study in ("digits.yaml", "other"):
        Path("results", study).mkdir(parents=True)
        Path("results", study, "study.db").touch()
    assert locate("digits.yaml", results=Path("results")).study == "digits.yaml"
    Path("digits.yaml").write_text("study: other\n")
    assert locate("digits.yaml", results=Path("results")).study == "other"
