"""Nothing outside a study's folder is written or deleted, whatever links and special files lie in it."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.report.simulate import simulate
from tests.store.studies import make_study, reopen
from tuner.cli.best import best
from tuner.cli.main import run_command_line
from tuner.data.kept import made_once
from tuner.errors import DataError, StorageError, UsageError
from tuner.execute.printed import append
from tuner.paths import LinkInStudyError, StudyPaths, TrialPaths, own_place
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.report.files import write_atomically, write_output
from tuner.report.write import write_reports
from tuner.store.pending import PendingFolder
from tuner.sweep.keeper import Keeper
from tuner.sweep.log import LogFile
from tuner.sweep.study import sweep_up
from tuner.sweep.told import Told
from tuner.train.loop.artefacts import write_curve, write_predictions, write_weights
from tuner.train.loop.checkpoint import Checkpoint, write_checkpoint
from tuner.train.loop.early_stopping import Patience

RESULT = EpochResult(
    epoch=1, train_loss=0.1, dev_loss=0.1, train_metric=0.9, dev_metric=0.9, learning_rate=0.1, seconds=1.0
)
RECORD = TrialRecord(number=0, params={}, seed=0, state=TrialState.FAILED, reason="error: x")
PNG = b"\x89PNG\r\n\x1a\n, a user's own"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A user's folder, with a file of every name that tuner writes or removes."""
    folder = tmp_path / "mine"
    for name in ("", "trials/0000", "finalists/0000", "plots", "checkpoint", f"{'a' * 32}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for place in (*StudyPaths(folder).places, *TrialPaths(folder).places, folder / ".report.html.1.tmp"):
            if place.suffix and not place.is_dir():
                (folder / name / place.name).write_bytes(b"mine")
    (folder / "plots" / "mine.png").write_bytes(PNG)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_ino) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def study(tmp_path: Path) -> StudyPaths:
    paths = StudyPaths(tmp_path / "results" / "s")
    paths.trial(0).folder.mkdir(parents=True)
    return paths


def write_all(paths: StudyPaths, trial: TrialPaths, *, place: Path) -> Iterator[Callable[[], object]]:
    """Everything that writes into the folder of a study, or removes something; what is slow, only for its own place."""
    state = {"w": torch.zeros(2)}
    point = Checkpoint(
        state=state, state_format="x", curve=(RESULT,), patience=Patience(), past=((0, {}),), seed=0
    )  # fmt: skip
    yield partial(write_checkpoint, trial, point)
    yield partial(write_curve, trial, [RESULT])
    yield partial(write_weights, trial, state)
    yield partial(write_predictions, torch.zeros(2, 2), trial.predictions)
    yield partial(append, trial.log, b"printed")
    yield partial(LogFile(paths.log).said, "a line")
    yield partial(Told(paths.told).note, 0, 3)
    yield partial(PendingFolder(paths.pending, "s").keep, {0: RECORD}, {"verdict": '"bias"'})
    yield partial(made_once, lambda folder: (folder / "x").touch(), key="b" * 32, within=paths.tables)
    yield partial(write_atomically, paths.leaderboard_csv, "rank")
    if place == paths.plots:
        yield partial(write_reports, replace(simulate(trials=3, seed=0).study, name="s"), paths)
    yield partial(sweep_up, paths)
    yield partial(Keeper(lambda number: trial, direction=Direction.MAXIMIZE).ended, RECORD)
    if place in (*paths.database_files, paths.pending):
        yield lambda: reopen(paths, study="s").close()
    yield paths.check_places


def planted(study: StudyPaths, outside: Path) -> Iterator[tuple[Path, Path]]:
    """(what is put in the study's folder, what it leads to): all that is written there, as a link."""
    places = [*study.places, study.trial(0).folder, *study.trial(0).places]
    for place in places:
        yield place, outside / place.name if (outside / place.name).is_file() else outside / "plots"
    yield study.pending, outside / "plots"
    yield study.log, outside / "is not there yet"


@pytest.mark.slow
def test_forty_links_and_special_files_lead_nobody_outside(study: StudyPaths, outside: Path) -> None:
    trial = study.trial(0)
    before = snapshot(outside)
    count = 0
    for place, target in planted(study, outside):
        for kind in ("link", "pipe"):
            shutil.rmtree(study.folder)
            for folder in (place.parent, trial.folder):
                if place not in (folder, *folder.parents):
                    folder.mkdir(parents=True, exist_ok=True)
            if kind == "link":
                place.symlink_to(target)
            else:
                os.mkfifo(place)
            count += 1
            with pytest.raises(LinkInStudyError, match=r"s folder nothing is written or removed"):
                study.check_places()
            for write in write_all(study, trial, place=place) if kind == "link" else ():
                with suppress(LinkInStudyError, StorageError, DataError):
                    write()
            assert snapshot(outside) == before, f"{place} -> {target}"
    assert count >= 40


@pytest.mark.deep
@pytest.mark.usefixtures("drawings")
def test_a_run_says_which_link_it_refuses_and_takes_a_folder_that_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outside: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "s.yaml").write_text(
        "study: s\ndata: {source: sklearn/digits}\nspace: {learning_rate: {low: 0.01, high: 0.1}}\n"
        "training: {epochs: 1, batch_size: 512}\nsearch: {trials: 2, strategy: random}\n"
    )
    (tmp_path / "large disk").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "s").symlink_to(tmp_path / "large disk")
    assert run_command_line(["run", "s.yaml", "--engine", "inline"]) == 0
    said = f"results/s is a link: all files of the study are written to {tmp_path / 'large disk'}"
    assert capsys.readouterr().err.count(said) == 1
    (tmp_path / "large disk" / "plots" / "mine.png").write_bytes(PNG)
    (tmp_path / "large disk" / "plots" / "of_an_earlier_report.png").write_bytes(
        (tmp_path / "large disk" / "plots" / "ranking.png").read_bytes()
    )
    assert run_command_line(["report", "s", "--write"]) == 0
    assert (tmp_path / "large disk" / "plots" / "mine.png").read_bytes() == PNG
    assert not (tmp_path / "large disk" / "plots" / "of_an_earlier_report.png").exists()
    before = snapshot(outside)
    (tmp_path / "large disk" / "trials" / "0001" / "checkpoint.tmp").symlink_to(outside / "checkpoint.tmp")
    assert run_command_line(["run", "s.yaml", "-n", "3", "--engine", "inline"]) == 5
    assert f"checkpoint.tmp is a link to {outside / 'checkpoint.tmp'}" in capsys.readouterr().err
    (tmp_path / "large disk" / "report.html").unlink()
    (tmp_path / "large disk" / "report.html").symlink_to(outside / "report.html")
    assert run_command_line(["report", "s", "--write"]) == 5
    assert f"report.html is a link to {outside / 'report.html'}" in capsys.readouterr().err
    assert snapshot(outside) == before


def test_output_goes_into_devices_and_pipes_and_to_where_a_link_leads(tmp_path: Path) -> None:
    null = Path("/dev/null")
    write_output(null, "x")
    assert null.is_char_device()
    with pytest.raises(StorageError, match="/dev/full cannot be written: No space left"):
        write_output(Path("/dev/full"), "x")
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, "x" * 200_000)
    reader.join()
    assert heard == [b"x" * 200_000]
    assert pipe.is_fifo()
    (tmp_path / "there").mkdir()
    for name in ("new", "old"):
        (tmp_path / "there" / "old").write_text("before")
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
        write_output(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "there" / name).read_text() == "after"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["project", "net.onnx", "net.safetensors"])
def test_an_export_refuses_what_is_there(study: StudyPaths, tmp_path: Path, name: str) -> None:
    make_study(StudyPaths(study.folder.with_name("digits")))
    target = tmp_path / name
    target.touch() if target.suffix else target.mkdir()
    where = ["digits", "--results", str(study.folder.parent), "--export", str(target)]
    refused = CliRunner().invoke(best, where).exception
    assert isinstance(refused, UsageError)
    assert str(refused) == f"{target} exists; give another name, or --force to overwrite it"


def test_a_place_under_a_plain_file_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert own_place(tmp_path / "file" / "below") == tmp_path / "file" / "below"


def test_folders_of_streamed_tables_that_are_not_ours_stay(tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    for name in ("mine", "c" * 32, "c" * 31):
        (tables / name).mkdir(parents=True)
        (tables / name / "data").touch()
    made = made_once(lambda folder: (folder / "x").touch(), key="d" * 32, within=tables)
    assert sorted(p.name for p in tables.iterdir() if p.is_dir()) == sorted(["mine", "c" * 31, made.name])
