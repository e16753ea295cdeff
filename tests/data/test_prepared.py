"""Prepared data that are kept: what is mapped is what was loaded, nothing outdated or damaged is, and all share it."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.helpers import sweep
from tuner.data import file_hashes, kept, load, prepared
from tuner.data.dataset import TrainingData
from tuner.data.file_hashes import FileHashes
from tuner.data.kept import kept_folders, remove_unused
from tuner.data.load import load_training_data
from tuner.errors import DataError, StudyMismatchError
from tuner.spec.model import ObjectiveSpec

ROWS = "".join(f"{i},{i * i % 7}.5,{'abc'[i % 3]},{i % 2}\n" for i in range(90))


def let_go() -> None:
    """As when the process ends."""
    for held in kept._held:
        os.close(held)
    kept._held.clear()


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prepared, "_SMALLEST_BYTES", 0)
    yield
    let_go()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "t.csv").write_text("a,b,c,y\n" + ROWS)
    return folder


@pytest.fixture
def within(tmp_path: Path) -> Path:
    return tmp_path / "results" / ".data"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The source of each reading of files."""
    found: list[str] = []
    usual = load._loaded

    def noted(spec: Any, **options: Any) -> TrainingData:
        found.append(spec.data.source)
        return usual(spec, **options)

    monkeypatch.setattr(load, "_loaded", noted)
    return found


def read(root: Path, within: Path, **data: Any) -> TrainingData:
    return load_training_data(sweep(root, **{"source": "t.csv", **data}), prepared_in=within)


def same(ours: TrainingData, theirs: TrainingData) -> bool:
    pairs = list(zip(prepared._tensors(ours), prepared._tensors(theirs), strict=True))
    return ours.info == theirs.info and all(
        name == other and a.dtype == b.dtype and torch.equal(a, b) for (name, a), (other, b) in pairs
    )


@pytest.mark.parametrize("data", [{}, {"folds": 3}, {"target": "a"}, {"target": ["a", "b"], "seed": 4}])
def test_what_is_mapped_is_what_is_loaded(data: dict[str, Any], root: Path, within: Path, loads: list[str]) -> None:
    whole = load_training_data(sweep(root, source="t.csv", **data))
    first, second = read(root, within, **data), read(root, within, **data)
    assert same(first, whole)
    assert same(second, whole)
    assert len(loads) == 2, "without a copy, and for it"


@pytest.mark.slow
def test_what_is_held_out_of_training_is_kept_too(root: Path, within: Path) -> None:
    lines = [f"{i / 7},{i % 2}\n" for i in range(700)]
    (root / "t.csv").write_text("a,y\n" + "".join(lines))
    (root / "dev.csv").write_text("a,y\n" + "".join(lines[::7]))
    whole = load_training_data(sweep(root, source="t.csv", dev="dev.csv"))
    found = read(root, within, dev="dev.csv")
    assert found.train_dev is not None
    assert len(found.train_dev) == whole.info.num_train_dev == 70
    assert same(found, whole)


def test_a_module_that_writes_into_its_inputs_writes_into_no_copy(root: Path, within: Path) -> None:
    read(root, within).train.inputs.zero_()
    assert read(root, within).train.inputs.any()


def test_studies_share_what_is_made_of_equal_files(root: Path, within: Path, loads: list[str]) -> None:
    read(root, within)
    shutil.copy(root / "t.csv", root.parent / "t.csv")
    assert same(read(root.parent, within), read(root, within, source="../t.csv"))
    assert loads == ["t.csv"]


def test_what_decides_how_data_are_prepared_is_part_of_their_name(root: Path, within: Path, loads: list[str]) -> None:
    variants: list[dict[str, Any]] = [{}, {"normalise": False}, {"seed": 1}, {"ignore": ["a"]}, {"task": "regression"}]
    for data in variants:
        read(root, within, **data)
    assert len(loads) == len(kept_folders(within)) == len(variants)
    by_another = sweep(root, source="t.csv").model_copy(update={"objective": ObjectiveSpec(metric="auroc")})
    load_training_data(by_another, prepared_in=within)  # of which other notes are due
    assert len(loads) == len(variants) + 1


def test_another_version_of_the_code_prepares_anew(
    root: Path, within: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(root, within)
    monkeypatch.setattr(prepared, "_code_version", lambda: ("another",))
    read(root, within)
    assert len(loads) == 2


def test_a_file_that_changes_is_read_anew_whatever_its_times_say(root: Path, within: Path, loads: list[str]) -> None:
    file, before = root / "t.csv", (root / "t.csv").stat()
    os.utime(file, (1, 1))
    first = read(root, within)
    file.write_text(file.read_text().replace("89,", "88,"))
    os.utime(file, (1, 1))
    assert file.stat().st_size == before.st_size
    assert read(root, within).info.sha256 != first.info.sha256
    assert len(loads) == 2


def test_a_file_is_hashed_once_as_long_as_it_is_what_it_was(
    root: Path, within: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root / "t.csv"

    def hashed() -> str:
        with FileHashes(within / "hashes.json") as hashes:
            return hashes.sha256(file)

    first = hashed()
    assert not (within / "hashes.json").exists(), "it was written a moment ago, and may be again"
    monkeypatch.setattr(file_hashes, "_SETTLED_SECONDS", -1.0)
    assert hashed() == first
    (name,) = known = json.loads((within / "hashes.json").read_text())
    known[name][1] = "as remembered"
    (within / "hashes.json").write_text(json.dumps(known))
    assert hashed() == "as remembered"
    file.write_text(file.read_text() + " ")
    assert hashed() != first
    (within / "hashes.json").write_text("[damaged")
    file.write_text(file.read_text()[:-1])
    assert hashed() == first


@pytest.mark.parametrize("damage", ["half", "spoilt", "cut off", "no facts"])
def test_what_is_damaged_is_made_anew(damage: str, root: Path, within: Path, loads: list[str]) -> None:
    whole = read(root, within)
    (copy,) = kept_folders(within)
    let_go()
    file = copy.folder / "train.inputs.npy"
    match damage:
        case "half":
            copy.folder.rename(copy.folder.with_suffix(".tmp"))
        case "spoilt":
            content = bytearray(file.read_bytes())
            content[-9] ^= 1
            file.write_bytes(content)
        case "cut off":
            file.write_bytes(file.read_bytes()[:-4])
        case _:
            (copy.folder / "files.json").write_text("{}")
    expected = load_training_data(sweep(root, source="t.csv"))
    assert same(read(root, within), expected)
    assert len(loads) == 3
    assert [k.folder for k in kept_folders(within)] == [copy.folder]
    del whole


def test_where_no_copy_can_be_kept_data_are_loaded_and_it_is_said(
    root: Path, within: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "fsync", full)
    with caplog.at_level(logging.WARNING):
        assert same(read(root, within), load_training_data(sweep(root, source="t.csv")))
    assert caplog.messages == [
        f"no prepared copy of t.csv can be kept in {within} (No space left on device): each worker reads the data by "
        "itself"
    ]
    assert kept_folders(within) == []
    within.parent.joinpath("elsewhere").mkdir()
    shutil.rmtree(within)
    within.symlink_to("elsewhere")
    with caplog.at_level(logging.WARNING):
        read(root, within)
    assert "a link" in caplog.messages[-1]


def test_a_file_that_changes_while_it_is_read_leaves_no_copy(
    root: Path, within: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = load._loaded

    def changing(spec: Any, **options: Any) -> TrainingData:
        found = usual(spec, **options)
        (root / "t.csv").write_text("a,b,c,y\n" + ROWS + "7,7.5,a,1\n")
        return found

    monkeypatch.setattr(load, "_loaded", changing)
    with pytest.raises(DataError, match=r"^t.csv changed while it was read; start again when it is written"):
        read(root, within)
    assert kept_folders(within) == []


def test_a_copy_of_other_data_than_the_study_s_is_refused(root: Path, within: Path) -> None:
    before = read(root, within).info
    known = {"sha256": "0" * 64, "num_train": before.num_train}
    with pytest.raises(StudyMismatchError, match=r"^t.csv does not give what the study was trained on"):
        load_training_data(sweep(root, source="t.csv"), prepared_in=within, known=known)


def test_what_is_in_use_stays_and_what_is_not_ours_is_left_alone(root: Path, within: Path) -> None:
    read(root, within)
    (within / "own").mkdir()
    assert [copy.in_use for copy in kept_folders(within)] == [True]
    assert remove_unused(within) == []
    let_go()
    (removed,) = remove_unused(within)
    assert removed.made_of == "t.csv"
    assert removed.num_bytes > 90 * 4
    assert kept_folders(within) == []
    assert (within / "own").is_dir()


def test_what_another_removes_meanwhile_is_no_error(root: Path, within: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands list the same copy; and one lists it while the other is at it."""
    read(root, within)
    let_go()
    listed = kept_folders(within)
    assert len(remove_unused(within)) == 1
    monkeypatch.setattr(kept, "kept_folders", lambda within: listed)
    assert remove_unused(within) == []
    read(root, within)
    monkeypatch.setattr(kept, "_is_ours", lambda folder: folder.is_dir() and not shutil.rmtree(folder))
    assert kept_folders(within) == []


def test_small_files_code_and_streams_have_no_copy(root: Path, within: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "own.py").write_text("import numpy as np\ndef f(): return np.arange(90.).reshape(30, 3), np.arange(30) % 2")
    read(root, within, source="own.py:f")
    read(root, within, source="sklearn/wine")
    read(root, within, stream=True)
    monkeypatch.setattr(prepared, "_SMALLEST_BYTES", 1 << 20)
    data = read(root, within)
    assert kept_folders(within) == []
    assert prepared.mapped_bytes(sweep(root, source="t.csv"), data) == 0


def test_what_workers_map_together_is_as_large_as_the_copy(root: Path, within: Path) -> None:
    data = read(root, within)
    (folder,) = kept_folders(within)
    arrays = [np.load(file) for file in folder.folder.glob("*.npy")]
    assert prepared.mapped_bytes(sweep(root, source="t.csv"), data) == sum(array.nbytes for array in arrays) > 0
    assert prepared.mapped_bytes(sweep(root, source="t.csv", stream=True), data) == 0


def test_files_that_lie_in_other_folders_are_another_source(tmp_path: Path, within: Path) -> None:
    from PIL import Image

    for part, label in (("train", "cat"), ("train", "dog"), ("dev", "cat"), ("dev", "dog")):
        (tmp_path / "photos" / part / label).mkdir(parents=True)
        for n in range(3):
            pixels = np.full((4, 4), 60 * n + 9 * len(part) + ord(label[0]) % 7, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / part / label / f"{n}{part}.png")
    before = read(tmp_path, within, source="photos")
    (tmp_path / "photos" / "train" / "cat" / "0train.png").rename(tmp_path / "photos" / "dev" / "cat" / "0train.png")
    assert read(tmp_path, within, source="photos").info.num_train == before.info.num_train - 1
