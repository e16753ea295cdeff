"""Checkpoints: what is written comes back, and a damaged or hostile file does no harm."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
import struct
import tracemalloc
import unittest.mock
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.train.cohorts import curves, figures, jobs, make_task, run_cohort
from tuner.paths import TrialPaths
from tuner.records import EpochResult
from tuner.train.loop import checkpoint as module
from tuner.train.loop.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tuner.train.loop.early_stopping import Patience


def epoch_result(epoch: int) -> EpochResult:
    return EpochResult(
        epoch=epoch, train_loss=1 / epoch, dev_loss=2 / epoch, train_metric=0.1 * epoch, dev_metric=0.09 * epoch,
        learning_rate=0.01, seconds=1.5 * epoch,
    )  # fmt: skip


def checkpoint(epochs: int = 2, *, seed: int = 3) -> Checkpoint:
    return Checkpoint(
        state={"parameters": torch.full((5,), float(epochs)), "steps": torch.tensor(7)},
        state_format="stacked",
        curve=tuple(epoch_result(e) for e in range(1, epochs + 1)),
        patience=Patience(0.25, 1),
        past=((0, {"learning_rate": 0.1, "batch_size": 64, "activation": "relu", "norm": "batch"}),),
        seed=seed,
    )


@pytest.fixture
def paths(tmp_path: Path) -> TrialPaths:
    return TrialPaths(tmp_path / "a trial")


def same(found: Checkpoint | None, expected: Checkpoint) -> bool:
    assert found is not None
    plain = ("state_format", "curve", "patience", "past", "seed", "epoch")
    return all(getattr(found, name) == getattr(expected, name) for name in plain) and all(
        torch.equal(found.state[name], value) and found.state[name].dtype == value.dtype
        for name, value in expected.state.items()
    )


def test_what_is_written_is_read(paths: TrialPaths) -> None:
    assert read_checkpoint(paths) is None
    write_checkpoint(paths, checkpoint())
    assert same(read_checkpoint(paths), checkpoint())
    assert [p.name for p in paths.folder.iterdir()] == ["checkpoint.pt"]


@pytest.mark.slow
@given(
    st.dictionaries(st.text(max_size=5), st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()))
)
@settings(max_examples=at_depth(25), deadline=None)
def test_any_parameters_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, params: dict[str, object]
) -> None:
    paths = TrialPaths(tmp_path_factory.mktemp("trial"))
    written = Checkpoint(state={}, state_format="x", curve=(), patience=Patience(), past=((0, params),), seed=2**63)
    write_checkpoint(paths, written)
    found = read_checkpoint(paths)
    assert same(found, written)
    assert found is not None
    assert {k: type(v) for k, v in found.past[0][1].items()} == {k: type(v) for k, v in params.items()}


def test_it_is_synced_when_a_second_of_training_would_be_lost_with_it(
    paths: TrialPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    found: list[int] = []
    at = 0.0
    for epochs in range(1, 8):
        trained = tuple(replace(epoch_result(e), seconds=0.4 * e) for e in range(1, epochs + 1))
        write_checkpoint(paths, replace(checkpoint(), curve=trained, synced_seconds=at))
        written = read_checkpoint(paths)
        assert written is not None
        at = written.synced_seconds
        found.append(len(synced))
    assert found == [0, 0, 1, 1, 1, 2, 2]
    assert at == pytest.approx(2.4)


def test_a_large_one_is_written_and_read_piece_by_piece(paths: TrialPaths) -> None:
    size = 2**24
    large = replace(checkpoint(), state={"parameters": torch.ones(size // 4), "moments": torch.zeros(size // 4)})
    tracemalloc.start()
    write_checkpoint(paths, large)
    found = read_checkpoint(paths)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert same(found, large)
    assert peak < size / 4, "the file was in memory as a whole"


@pytest.mark.parametrize("count", [1, 2])
def test_a_state_is_lent_where_it_is_all_of_its_memory(count: int, tmp_path: Path) -> None:
    task = make_task()
    program = task.program([task.member(job) for job in jobs(tmp_path, [{"learning_rate": 0.1}] * count)])
    lent, copied = program.state(0, lent=True), program.state(0)
    for name, tensor in lent.items():
        assert torch.equal(tensor, copied[name])
        assert tensor.untyped_storage().nbytes() == 4 * tensor.numel()  # a file holds whole memories
    program.load_state(0, {name: tensor + 1 for name, tensor in copied.items()})
    assert torch.equal(lent["parameters"], copied["parameters"]) == (count == 2)


def test_the_one_before_is_kept(paths: TrialPaths) -> None:
    for epochs in (1, 2, 3):
        write_checkpoint(paths, checkpoint(epochs))
    assert same(read_checkpoint(paths), checkpoint(3))
    paths.checkpoint.unlink()
    assert same(read_checkpoint(paths), checkpoint(2))
    paths.previous_checkpoint.unlink()
    assert read_checkpoint(paths) is None


def flip_a_weight(data: bytes) -> bytes:
    """One bit of the first tensor: without the checksum, torch loads it without complaint."""
    place = data.index(struct.pack("<5f", *[2.0] * 5)) + 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in the header": lambda data: data[:30],
    "cut in the tensors": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "one bit of a weight": flip_a_weight,
    "one bit of the checksum": lambda data: data[:25] + bytes([data[25] ^ 1]) + data[26:],
    "longer than it was": lambda data: data + b"\0",
    "zeros": lambda data: bytes(len(data)),
    "another format": lambda data: b"PK\x03\x04" + data,
    "no header": lambda data: data.split(b"\n", 1)[1],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_and_the_one_before_is_used(
    kind: str, paths: TrialPaths, caplog: pytest.LogCaptureFixture
) -> None:
    for epochs in (1, 2):
        write_checkpoint(paths, checkpoint(epochs))
    whole = paths.checkpoint.read_bytes()
    damaged = DAMAGE[kind](whole)
    assert damaged != whole
    paths.checkpoint.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert same(read_checkpoint(paths), checkpoint(1))
    assert [str(paths.checkpoint) in r.getMessage() for r in caplog.records] == [True]


@given(place=st.integers(0, 10**6), flipped=st.integers(1, 255))
@settings(max_examples=at_depth(50), deadline=None)
def test_no_changed_byte_is_overlooked(tmp_path_factory: pytest.TempPathFactory, place: int, flipped: int) -> None:
    paths = TrialPaths(tmp_path_factory.getbasetemp() / "changed byte")
    write_checkpoint(paths, checkpoint())
    paths.previous_checkpoint.unlink(missing_ok=True)
    data = bytearray(paths.checkpoint.read_bytes())
    data[place % len(data)] ^= flipped
    paths.checkpoint.write_bytes(data)
    assert read_checkpoint(paths) is None


def test_two_damaged_files_are_none_at_all(paths: TrialPaths) -> None:
    for epochs in (1, 2):
        write_checkpoint(paths, checkpoint(epochs))
    for path in (paths.checkpoint, paths.previous_checkpoint):
        path.write_bytes(b"nothing")
    assert read_checkpoint(paths) is None


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.made,))


def sealed(body: bytes) -> bytes:
    """A body with the header that a forger can write as well as we."""
    return b"tuner-checkpoint-1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize("form", ["torch.save", "pickle", "inside the state"])
def test_a_hostile_file_runs_no_code(form: str, paths: TrialPaths, tmp_path: Path) -> None:
    write_checkpoint(paths, checkpoint(1))
    write_checkpoint(paths, checkpoint(2))
    made = tmp_path / "made by hostile code"
    body = io.BytesIO()
    match form:
        case "pickle":
            pickle.dump(Hostile(made), body, protocol=2)  # the one that torch reads
        case "torch.save":
            torch.save(Hostile(made), body)
        case _:
            torch.save({"state": {"parameters": Hostile(made)}}, body)
    paths.checkpoint.write_bytes(sealed(body.getvalue()))
    assert same(read_checkpoint(paths), checkpoint(1))
    assert not made.exists()
    pickle.loads(pickle.dumps(Hostile(made)))
    assert made.exists(), "the test's own weapon must be sharp"


@pytest.mark.parametrize("content", [[], {}, {"state": 3}, "text", torch.zeros(3)])
def test_a_sealed_file_that_holds_something_else_is_passed_over(content: object, paths: TrialPaths) -> None:
    write_checkpoint(paths, checkpoint(1))
    write_checkpoint(paths, checkpoint(2))
    body = io.BytesIO()
    torch.save(content, body)
    paths.checkpoint.write_bytes(sealed(body.getvalue()))
    assert same(read_checkpoint(paths), checkpoint(1))


@pytest.mark.parametrize("fuse", ["auto", "off"])
@pytest.mark.parametrize("model", ["mlp", "tests/train/user_modules.py:normed"])
def test_everything_that_training_writes_loads_as_data_only(fuse: str, model: str, tmp_path: Path) -> None:
    task = make_task(model=model, fuse=fuse, optimizer="adam")
    job = jobs(tmp_path, [{"learning_rate": 0.01}], to_epoch=2)[0]
    run_cohort(task, [job])
    paths = TrialPaths(Path(job.folder))
    _, _, body = paths.checkpoint.read_bytes().partition(b"\n")
    torch.load(io.BytesIO(body), weights_only=True)
    found = read_checkpoint(paths)
    assert found is not None
    assert (found.epoch, found.seed, found.past) == (2, job.seed, ((0, {"learning_rate": 0.01}),))


def test_a_trial_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path: Path) -> None:
    task = make_task(epochs=4)
    configurations = [{"learning_rate": 0.05}]
    whole = curves(run_cohort(task, jobs(tmp_path / "whole", configurations, to_epoch=4)))[0]
    for to_epoch in (1, 2):
        job = jobs(tmp_path / "damaged", configurations, to_epoch=to_epoch)[0]
        run_cohort(task, [job])
    paths = TrialPaths(Path(job.folder))
    paths.checkpoint.write_bytes(paths.checkpoint.read_bytes()[:-9])
    events = run_cohort(task, jobs(tmp_path / "damaged", configurations, to_epoch=4))
    assert figures(curves(events)[0]) == figures(whole)
    assert events[0].from_epoch == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("change", ["seed", "parameters"])
def test_the_checkpoint_of_another_trial_is_not_taken_up(change: str, tmp_path: Path) -> None:
    """A folder may hold what an earlier study of the same name left."""
    from dataclasses import replace

    task = make_task()
    job = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=2)[0]
    run_cohort(task, [job])
    other = replace(job, seed=1) if change == "seed" else replace(job, params={"learning_rate": 0.06})
    events = run_cohort(task, [other])
    assert events[0].from_epoch == 0  # type: ignore[union-attr]
    assert [r.epoch for r in curves(events)[0]] == [1, 2]


class TestWhatAProcessRemembers:
    @pytest.fixture(autouse=True)
    def room_for_two(self, checkpoints_from_disk: None, paths: TrialPaths, monkeypatch: pytest.MonkeyPatch) -> None:
        write_checkpoint(paths, checkpoint(1))
        monkeypatch.setattr(module, "_REMEMBERED", module._Remembered(2 * paths.checkpoint.stat().st_size))

    def test_it_is_what_was_written_and_no_reader_can_change_it(self, paths: TrialPaths) -> None:
        write_checkpoint(paths, checkpoint(2))
        with unittest.mock.patch.object(module, "_read", side_effect=AssertionError):
            first = read_checkpoint(paths)
            assert same(first, checkpoint(2))
            assert first is not None
            for tensor in first.state.values():
                tensor.zero_()
            assert same(read_checkpoint(paths), checkpoint(2))

    def test_a_file_that_is_another_now_is_read(self, paths: TrialPaths) -> None:
        write_checkpoint(paths, checkpoint(2))
        paths.previous_checkpoint.replace(paths.checkpoint)
        assert same(read_checkpoint(paths), checkpoint(1))
        paths.checkpoint.unlink()
        assert read_checkpoint(paths) is None

    def test_what_was_written_long_ago_is_forgotten(self, paths: TrialPaths, tmp_path: Path) -> None:
        for number in range(4):
            write_checkpoint(TrialPaths(tmp_path / f"{number}"), checkpoint(2))
        assert len(module._REMEMBERED._found) <= 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", {"parameters": [1.0]}), ("state", [torch.zeros(1)]), ("state_format", 7), ("past", [[0, "words"]]),
        ("seed", "3"), ("seed", True), ("step", -1), ("step", 1.5), ("epoch_seconds", "1"), ("synced_seconds", None),
        ("epoch_seconds", float("nan")), ("best_outputs", [1.0]), ("patience", {"reference": "x", "stale_epochs": 0}),
        ("patience", {"words": 1}), ("curve", torch.zeros(2, 3)), ("curve", 7),
        ("curve", torch.tensor([[2.0, 1, 1, 1, 1, 1, 1]])), ("curve", torch.tensor([[float("nan"), 1, 1, 1, 1, 1, 1]])),
    ],
)  # fmt: skip
def test_one_with_a_right_sum_and_wrong_values_is_passed_over(
    paths: TrialPaths, caplog: pytest.LogCaptureFixture, name: str, value: object
) -> None:
    for epochs in (1, 2):
        write_checkpoint(paths, checkpoint(epochs))
    head, _, body = paths.checkpoint.read_bytes().partition(b"\n")
    forged = io.BytesIO()
    torch.save(torch.load(io.BytesIO(body), weights_only=True) | {name: value}, forged)
    digest = hashlib.sha256(forged.getvalue()).hexdigest().encode()
    paths.checkpoint.write_bytes(head.rpartition(b" ")[0] + b" " + digest + b"\n" + forged.getvalue())
    assert same(read_checkpoint(paths), checkpoint(1))
    assert f"{paths.checkpoint} is damaged" in caplog.text


def test_a_folder_in_the_place_of_one_is_passed_over(paths: TrialPaths, caplog: pytest.LogCaptureFixture) -> None:
    write_checkpoint(paths, checkpoint(1))
    paths.checkpoint.rename(paths.previous_checkpoint)
    paths.checkpoint.mkdir()
    assert same(read_checkpoint(paths), checkpoint(1))
    assert f"{paths.checkpoint} is damaged" in caplog.text
