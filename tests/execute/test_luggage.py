"""Files of trials that travel with messages, where a machine does not see the study's folder."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.errors import DataError
from tuner.execute import luggage
from tuner.execute.luggage import Scratch, code_beside, files_of_jobs, put
from tuner.paths import StudyPaths
from tuner.records import EpochsFinished, TrialFinished, TrialJob, TrialPaused

ALL_EPOCHS = TrialFinished(trial=3, reason="all epochs")


@pytest.fixture
def home(tmp_path: Path) -> StudyPaths:
    return StudyPaths(tmp_path / "home" / "study")


@pytest.fixture
def scratch(tmp_path: Path, home: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    monkeypatch.setattr(luggage.tempfile, "gettempdir", lambda: str(tmp_path))
    made = Scratch("run", home.folder)
    yield made
    made.leave()


def job(home: StudyPaths) -> TrialJob:
    return TrialJob(trial=3, params={}, seed=0, to_epoch=9, folder=str(home.trial(3).folder))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_job_brings_what_it_goes_on_from_and_takes_home_what_came_of_it(home: StudyPaths, scratch: Scratch) -> None:
    write(home.trial(3).checkpoint, "two epochs")
    write(home.trial(3).own_checkpoint / ".state" / "weights.txt", "theirs")
    write(home.trial(3).log, "printed before\n")
    (there,) = scratch.take([job(home)], files_of_jobs(home, [job(home)]))
    trial = scratch.paths.trial(3)
    assert there.folder == str(trial.folder)
    assert trial.checkpoint.read_text() == "two epochs"
    assert (trial.own_checkpoint / ".state" / "weights.txt").read_text() == "theirs"
    write(trial.log, "printed there\n")
    write(trial.weights, "weights")
    write(trial.checkpoint, "three epochs")
    write(trial.new_checkpoint, "half of one")
    write(scratch.paths.dev_targets, "targets")
    write(scratch.paths.log, "imported\n")
    (verb, files), told = scratch.pack([("events", [ALL_EPOCHS])])
    assert (verb, told) == ("files", ("events", [ALL_EPOCHS]))
    assert {Path(name).name for name in files} == {
        "log.txt",
        "weights.pt",
        "checkpoint.pt",
        "dev_targets.npy",
        "run.log",
    }
    assert not trial.folder.exists()  # nothing is left where nobody looks
    put(home, files)
    assert home.trial(3).checkpoint.read_text() == "three epochs"
    assert home.trial(3).log.read_text() == "printed before\nprinted there\n"
    assert home.dev_targets.read_text() == "targets"
    assert home.log.read_text() == "imported\n"
    assert not list(home.folder.rglob("*.tmp"))


def test_in_training_checkpoints_come_now_and_then(
    home: StudyPaths, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.take([job(home)], {})
    write(scratch.paths.trial(3).checkpoint, "one epoch")
    progress = ("events", [EpochsFinished(trial=3, results=())])
    assert scratch.pack([progress]) == [progress]
    monkeypatch.setattr(luggage, "CHECKPOINT_SECONDS", 0.0)
    write(scratch.paths.trial(3).weights, "of no use without an end")
    (_, files), _ = scratch.pack([progress])
    assert files == {"trials/0003/checkpoint.pt": b"one epoch"}
    assert scratch.pack([("alive",)]) == [("alive",)]  # nothing has changed


def test_what_users_code_keeps_comes_now_and_then_once_it_is_whole(
    home: StudyPaths, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home.trial(3).own_checkpoint / "epoch_1.pt", "one")
    scratch.take([job(home)], files_of_jobs(home, [job(home)]))
    monkeypatch.setattr(luggage, "CHECKPOINT_SECONDS", 0.0)
    trial = scratch.paths.trial(3)
    (trial.own_checkpoint / "epoch_1.pt").unlink()
    write(trial.own_checkpoint / "epoch_2.pt", "two")
    write(trial.own_checkpoint / "state" / "rng", "2")
    write(trial.progress, "2 epochs")
    assert scratch.pack([]) == []  # it may be being written
    settle(trial.own_checkpoint / "epoch_2.pt")
    assert scratch.pack([]) == []
    settle(trial.own_checkpoint / "state" / "rng")
    ((_, files),) = scratch.pack([])
    assert files == {
        "trials/0003/checkpoint/epoch_1.pt": None,
        "trials/0003/checkpoint/epoch_2.pt": b"two",
        "trials/0003/checkpoint/state/rng": b"2",
        "trials/0003/progress.json": b"2 epochs",
    }
    assert scratch.pack([]) == []
    put(home, files)
    kept = home.trial(3).own_checkpoint
    assert {str(file.relative_to(kept)) for file in kept.rglob("*") if file.is_file()} == {"epoch_2.pt", "state/rng"}
    (trial.own_checkpoint / "epoch_2.pt").unlink()
    write(trial.own_checkpoint / "epoch_3.pt", "three")
    (_, files), _ = scratch.pack([("events", [ALL_EPOCHS])])
    assert files == {"trials/0003/checkpoint/epoch_2.pt": None, "trials/0003/checkpoint/epoch_3.pt": b"three"}


def test_what_is_written_while_it_is_read_waits(
    home: StudyPaths, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.take([job(home)], {})
    monkeypatch.setattr(luggage, "CHECKPOINT_SECONDS", 0.0)
    file = scratch.paths.trial(3).own_checkpoint / "weights.pt"
    write(file, "two epochs")
    settle(file)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read(path), write(path, "three"))[0])
    assert scratch.pack([]) == []
    monkeypatch.undo()
    monkeypatch.setattr(luggage, "CHECKPOINT_SECONDS", 0.0)
    settle(file)
    assert scratch.pack([]) == [("files", {"trials/0003/checkpoint/weights.pt": b"three"})]


def settle(file: Path) -> None:
    """Let it be a minute since it was written to."""
    stat = file.stat()
    os.utime(file, (stat.st_atime, stat.st_mtime - 60))


@pytest.mark.parametrize("end", [("events", [TrialPaused(trial=3, epoch=1)]), ("died", "killed")])
def test_what_there_is_comes_with_a_pause_and_with_a_death(
    home: StudyPaths, scratch: Scratch, end: tuple[object, ...]
) -> None:
    scratch.take([job(home)], {})
    write(scratch.paths.trial(3).checkpoint, "one epoch")
    (_, files), told = scratch.pack([end])
    assert files == {"trials/0003/checkpoint.pt": b"one epoch"}
    assert told == end


def test_the_code_beside_the_sweep_file_travels_without_results_environments_and_caches(
    tmp_path: Path, home: StudyPaths, scratch: Scratch
) -> None:
    root = tmp_path / "project"
    for name in ("sweep.yaml", "package/model.py", "data.csv"):
        write(root / name, name)
    for name in (".git/config", ".env", "env/pyvenv.cfg", "package/__pycache__/model.pyc", "results/study/study.db"):
        write(root / name, "not needed")
    packed = code_beside(root, but=root / "results")
    assert set(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == {"sweep.yaml", "package/model.py", "data.csv"}
    code = scratch.unpack_code(packed)
    assert (code / "package" / "model.py").read_text() == "package/model.py"
    assert scratch.unpack_code(b"another host of the machine has done it") == code


def test_too_much_beside_the_sweep_file_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data.csv", "12345")
    monkeypatch.setattr(luggage, "MOST_BYTES", 4)
    with pytest.raises(DataError, match=r"does not see .*data\.csv\); put the sweep file's folder on a file system"):
        code_beside(tmp_path, but=tmp_path / "results")


def test_folders_of_hosts_that_are_no_more_are_removed_and_no_others(
    tmp_path: Path, home: StudyPaths, scratch: Scratch
) -> None:
    left, other = Scratch("of a killed run", home.folder), Scratch("run", home.folder)
    left._held.close()
    new = Scratch("new", home.folder)
    assert sorted(path.name for path in tmp_path.glob("tuner-scratch-*")) == ["tuner-scratch-new", "tuner-scratch-run"]
    scratch.leave()
    assert (tmp_path / "tuner-scratch-run").exists()  # another host of the machine is there
    other.leave()
    new.leave()
    assert not list(tmp_path.glob("tuner-scratch-*"))
