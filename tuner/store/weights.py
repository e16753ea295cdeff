"""The stored weights of a trial, and the facts of the data that they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tuner.errors import TunerError
from tuner.paths import TrialPaths
from tuner.records import DataInfo, Json, TrainedTrial, TrialRecord


def weights_of(record: TrialRecord, paths: TrialPaths) -> Path:
    """The file of a trial's weights, where they are stored and are all of its network.

    Raises:
        TunerError: they are not.
    """
    return existing_weights(paths.weights, whole(record))


def trained_trial(record: TrialRecord, paths: TrialPaths) -> TrainedTrial:
    """A trial with its weights, where they are all of its network.

    Raises:
        TunerError: they are not, or are not stored.
    """
    weights = weights_of(record, paths)
    return TrainedTrial(trial=record.number, params=dict(record.params), weights=weights, seed=record.seed or 0)


def whole(record: TrialRecord) -> TrialRecord:
    """The trial itself, where its weights are all of its network.

    Raises:
        TunerError: it kept something that no file holds.
    """
    if record.unsaved is not None:
        raise TunerError(
            f"the weights of trial {record.number} do not give its score again: {record.unsaved}, which no file can "
            "hold; keep it in a buffer, a number or get_extra_state, and train it again"
        )
    return record


def existing_weights(weights: Path, record: TrialRecord) -> Path:
    """The file of a trial's weights.

    Raises:
        TunerError: it is not stored, or the user's own code keeps it.
    """
    own = TrialPaths(weights.parent).own_checkpoint
    if own.is_dir():
        raise TunerError(f"trial {record.number} was trained by your own code; what that keeps is in {own}")
    if not weights.is_file():
        raise TunerError(
            f"the weights of trial {record.number} are not stored (weights are kept of the best few); "
            "train it again from best/sweep.yaml in the study's folder"
        )
    return weights


def data_info_of(facts: Mapping[str, Json]) -> DataInfo:
    """The facts of data as they are kept: JSON."""
    known = {field.name for field in fields(DataInfo)}
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in facts.items() if n in known}
    return DataInfo(**values)
