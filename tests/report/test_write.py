from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from matplotlib.figure import Figure as Canvas

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.report import write
from tuner.report.analysis import Analysis
from tuner.report.figures import drawing
from tuner.report.figures.chart import Figure
from tuner.report.figures.columns import Columns
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


@pytest.mark.slow
def test_figures_that_a_pool_draws_are_those_that_one_process_draws(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, fork, pids = os.getpid(), multiprocessing.get_context("fork"), mixed_paths.folder / "pids"
    draw = drawing.draw

    def told(figure: Figure, columns: Columns) -> Canvas:
        with pids.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return draw(figure, columns)

    def killed(figure: Figure, columns: Columns) -> Canvas:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(figure, columns)

    plots = []
    for how, processes in ((draw, 0), (told, 2), (killed, 2)):
        monkeypatch.setattr(drawing, "draw", how)
        with ProcessPoolExecutor(processes, mp_context=fork) if processes else nullcontext() as pool:
            write.write_page(Analysis(mixed.study, mixed_paths), mixed_paths, pool)
        plots.append({path.name: path.read_bytes() for path in mixed_paths.plots.iterdir()})
        shutil.rmtree(mixed_paths.plots)
    assert plots[0] == plots[1] == plots[2]
    assert len(drawn_by := pids.read_text().split()) == len(plots[0])
    assert str(parent) not in drawn_by
