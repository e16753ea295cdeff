"""TensorBoard's event files, read with TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.track.parts import PARAMS, ended, record, result, study_in
from tuner.records import Direction, TrialState
from tuner.track.tensorboard import TensorBoardTracker
from tuner.track.told import TellTracker

pytestmark = pytest.mark.slow


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def hparams(found: Any, tag: str) -> Any:
    from tensorboard.plugins.hparams import metadata

    return metadata.parse_session_start_info_plugin_data(
        found.summary_metadata[tag].plugin_data.content
    ) if tag == metadata.SESSION_START_INFO_TAG else metadata.parse_session_end_info_plugin_data(
        found.summary_metadata[tag].plugin_data.content
    )  # fmt: skip


def test_curves_hyperparameters_and_the_end_of_each_run_are_there(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2, metadata

    paths = study_in(tmp_path)
    folder = paths.tracker("notes")
    for epochs, end in (([1, 2], False), ([3], True)):  # interrupted, and gone on with
        tell = TellTracker(TensorBoardTracker("mine", paths, folder=folder))
        tell.opened((), metric="accuracy", direction=Direction.MAXIMIZE)
        tell.started([record(0, epochs[0] - 1)])
        tell.epochs(record(0, epochs[-1]), [result(epoch) for epoch in epochs])
        if end:
            tell.ended(ended(0, 3))
            tell.ended(ended(1, 0, TrialState.FAILED))
            tell.ended(record(0, 0, TrialState.COMPLETE, finalist_of=0))
        tell.close()
    assert {p.name for p in folder.iterdir() if p.is_dir()} == {"trial-0000", "trial-0001", "finalist-0000-of-trial-0"}
    found = read(folder / "trial-0000")
    assert [(e.step, round(e.value, 5)) for e in found.Scalars("dev/accuracy")] == [(1, 0.09), (2, 0.18), (3, 0.27)]
    assert [round(e.value, 5) for e in found.Scalars("train/loss")] == [1.0, 0.5, 0.33333]
    assert {"dev/loss", "train/accuracy", "learning_rate", "best/accuracy", "epochs"} <= set(found.Tags()["scalars"])
    start = hparams(found, metadata.SESSION_START_INFO_TAG)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    assert values == {**PARAMS, "tier": "tier 1"}
    assert hparams(found, metadata.SESSION_END_INFO_TAG).status == api_pb2.STATUS_SUCCESS
    assert hparams(read(folder / "trial-0001"), metadata.SESSION_END_INFO_TAG).status == api_pb2.STATUS_FAILURE
    finalist = hparams(read(folder / "finalist-0000-of-trial-0"), metadata.SESSION_START_INFO_TAG)
    assert finalist.hparams["finalist_of"].string_value == "trial 0"
