"""Checkpoints: all that a trial needs to go on, written atomically, checked when read.

A file is one header line with the SHA-256 of the rest, and the rest is what `torch.save` writes: tensors and plain
Python values only, so that it loads with `weights_only=True` and a hostile file can run no code.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor

from tuner.faults import fault_point
from tuner.paths import TrialPaths, own_place
from tuner.records import EpochResult, Past
from tuner.train.loop.early_stopping import Patience
from tuner.train.loop.storing import storing

log = logging.getLogger(__name__)

_SYNC_SECONDS = 1.0
"""A checkpoint is synced to the disk if a power cut could take so much of the trial's training with it. A sync takes as
long as a small network needs for some epochs; a process that is killed loses nothing either way."""

_MAGIC = b"tuner-checkpoint-1 "
_HEADER_BYTES = len(_MAGIC) + 64 + 1
_COLUMNS = tuple(f.name for f in fields(EpochResult))
_in_columns = attrgetter(*_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A trial at the end of an epoch, or between two steps of one."""

    state: Mapping[str, Tensor]
    """The program's state of the trial: see `Program.state`."""
    state_format: str
    """`Program.state_format`."""
    curve: tuple[EpochResult, ...]
    patience: Patience
    past: Past
    """`TrialJob.past` of what was trained."""
    seed: int
    best_outputs: Tensor | None = None
    """Dev outputs of the curve's best epoch, as they were scored: another way to compute them rounds otherwise."""
    step: int = 0
    """Steps that are done of the epoch after the curve's last."""
    epoch_seconds: float = 0.0
    """Training seconds of these steps."""
    synced_seconds: float = 0.0
    """The trial's training seconds in its last checkpoint that was synced to the disk."""

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    @property
    def num_bytes(self) -> int:
        """About the memory that it takes."""
        outputs = [] if self.best_outputs is None else [self.best_outputs]
        return sum(t.numel() * t.element_size() for t in (*self.state.values(), *outputs))

    @property
    def seconds(self) -> float:
        """Training seconds of the trial."""
        return (self.curve[-1].seconds if self.curve else 0.0) + self.epoch_seconds


def write_checkpoint(paths: TrialPaths, checkpoint: Checkpoint) -> float:
    """Make this the trial's last checkpoint; the one before is kept as well. Returns the new `synced_seconds`."""
    sync = checkpoint.seconds - checkpoint.synced_seconds >= _SYNC_SECONDS
    synced_seconds = checkpoint.seconds if sync else checkpoint.synced_seconds
    values = {
        "state": dict(checkpoint.state),
        "state_format": checkpoint.state_format,
        # One tensor: to pickle each number by itself would take longer than all the weights of a small network.
        "curve": torch.tensor([_in_columns(result) for result in checkpoint.curve], dtype=torch.float64),
        "patience": asdict(checkpoint.patience),
        "past": [[epoch, dict(params)] for epoch, params in checkpoint.past],
        "seed": checkpoint.seed,
        "best_outputs": None if checkpoint.best_outputs is None else checkpoint.best_outputs.cpu(),
        "step": checkpoint.step,
        "epoch_seconds": checkpoint.epoch_seconds,
        "synced_seconds": synced_seconds,
    }
    with storing(paths.checkpoint):
        own_place(paths.new_checkpoint)
        paths.folder.mkdir(parents=True, exist_ok=True)
        with paths.new_checkpoint.open("wb") as file:
            file.write(bytes(_HEADER_BYTES))
            body = _Summed(file)
            torch.save(values, cast(IO[bytes], body))  # piece by piece: a large network's state is not there twice
            file.seek(0)
            file.write(_header(body.sha256))
            file.flush()
            if sync:
                os.fsync(file.fileno())
        fault_point("checkpoint_written")
        if paths.checkpoint.exists():
            paths.checkpoint.replace(paths.previous_checkpoint)
            fault_point("checkpoint_between")
        paths.new_checkpoint.replace(paths.checkpoint)
        fault_point("checkpoint_replaced")
        _REMEMBERED.keep(paths.checkpoint, replace(checkpoint, synced_seconds=synced_seconds), num_bytes=body.num_bytes)
    return synced_seconds


class _Summed:
    """A file that is written from here on, and the SHA-256 of what is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _header(sha256: hashlib._Hash) -> bytes:
    return _MAGIC + sha256.hexdigest().encode() + b"\n"


def read_checkpoint(paths: TrialPaths) -> Checkpoint | None:
    """The trial's last good checkpoint, or None. A damaged file is passed over with a warning that names it."""
    if (known := _REMEMBERED.find(paths.checkpoint)) is not None:
        return known
    for path in (paths.checkpoint, paths.previous_checkpoint):
        try:
            return _read(path)
        except FileNotFoundError:
            continue
        except Exception as error:  # a forged file may make the reader raise anything
            log.warning("%s is damaged (%s); the checkpoint before it is used", path, error)
    return None


def _read(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
            raise ValueError("no header of a checkpoint")
        if _header(hashlib.file_digest(file, "sha256")) != header:
            raise ValueError("the checksum does not match")
        file.seek(_HEADER_BYTES)
        values = torch.load(file, weights_only=True)
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}")
    found = Checkpoint(
        state=values["state"],
        state_format=values["state_format"],
        curve=tuple(map(_result_of, values["curve"])),
        patience=Patience(**values["patience"]),
        past=_past_of(values),
        seed=values["seed"],
        best_outputs=values.get("best_outputs"),  # earlier versions wrote none,
        step=values.get("step", 0),  # nor within an epoch
        epoch_seconds=values.get("epoch_seconds", 0.0),
        synced_seconds=values["synced_seconds"],
    )
    _check(found)
    return found


def _past_of(values: Mapping[str, Any]) -> Past:
    if "past" not in values:  # of an earlier version, in which no value changed
        return ((0, values["params"]),)
    return tuple((epoch, params) for epoch, params in values["past"])


def _check(found: Checkpoint) -> None:
    """Refuse what no training leaves, whose sum may be right all the same: whoever can write a file can sum it."""
    names = {
        "state": isinstance(found.state, dict) and all(isinstance(t, Tensor) for t in found.state.values()),
        "state_format": isinstance(found.state_format, str),
        "curve": [result.epoch for result in found.curve] == list(range(1, found.epoch + 1)),
        "patience": all(isinstance(value, int | float | None) for value in asdict(found.patience).values()),
        "past": all(type(epoch) is int and isinstance(params, dict) for epoch, params in found.past),
        "seed": type(found.seed) is int,
        "best_outputs": isinstance(found.best_outputs, Tensor | None),
        "step": type(found.step) is int and found.step >= 0,
        "epoch_seconds": isinstance(found.epoch_seconds, int | float) and found.epoch_seconds >= 0,
        "synced_seconds": isinstance(found.synced_seconds, int | float) and found.synced_seconds >= 0,
    }
    if wrong := [name for name, is_right in names.items() if not is_right]:
        raise ValueError(f"its {wrong[0]} is not what training leaves")


class _Remembered:
    """The checkpoints that this process wrote last: a trial that is paused is often thawed soon, where it was."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._found: dict[_Stamp, tuple[Checkpoint, int]] = {}
        self._num_bytes = 0

    def keep(self, path: Path, checkpoint: Checkpoint, *, num_bytes: int) -> None:
        """Remember what has just been written, and forget what was written long ago."""
        if num_bytes > self._most_bytes:
            return
        state = {name: tensor.clone() for name, tensor in checkpoint.state.items()}
        self._found[_stamp(path)] = (replace(checkpoint, state=state), num_bytes)
        self._num_bytes += num_bytes
        while self._num_bytes > self._most_bytes:
            _, size = self._found.pop(next(iter(self._found)))
            self._num_bytes -= size

    def find(self, path: Path) -> Checkpoint | None:
        """A copy of what was written, if that is what the file still is."""
        known = self._found.get(_stamp(path)) if self._found and path.exists() else None
        if known is None:
            return None
        return replace(known[0], state={name: tensor.clone() for name, tensor in known[0].state.items()})


_Stamp = tuple[int, int, int, int]
"""Which file it is, whatever its name: a trial that goes on from where another is has that one's file."""


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


_REMEMBERED = _Remembered(most_bytes=32 * 2**20)


def _result_of(row: Any) -> EpochResult:
    if isinstance(row, dict):  # as earlier versions wrote it
        return EpochResult(**row)
    epoch, *figures = row.tolist()
    return EpochResult(**dict(zip(_COLUMNS, [int(epoch), *figures], strict=True)))
