from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.report.files import write_atomically
from tuner.report.write import write_reports


@pytest.mark.slow
def test_write_reports_leaves_the_promised_files_and_nothing_else(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    before = {p.name for p in mixed_paths.folder.iterdir()}
    write_reports(mixed.study, mixed_paths)
    written = {p.name for p in mixed_paths.folder.iterdir()} - before
    assert {"leaderboard.csv", "leaderboard.json", "leaderboard.md"} <= written
    assert not [name for name in written if name.startswith(".")]


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "leaderboard.csv"
    write_atomically(path, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
