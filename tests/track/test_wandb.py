"""Offline runs of Weights & Biases, as its own library writes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.track.parts import ended, record, result, study_in
from tuner.records import Direction
from tuner.track.told import TellTracker
from tuner.track.wandb import WandbTracker

pytestmark = pytest.mark.deep
pytest.importorskip("wandb", reason="the extra wandb is not installed")
_BLOCK, _HEADER = 32768, 7


def records_in(path: Path) -> Iterator[Any]:
    """What a `.wandb` file holds: a log in LevelDB's format, whose records are messages of `wandb.proto`."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), _HEADER, b""
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def history(records: list[Any]) -> list[dict[str, Any]]:
    rows = [r.history for r in records if r.WhichOneof("record_type") == "history"]
    return [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row.item} for row in rows]


@pytest.mark.filterwarnings("ignore")  # of its libraries' own
def test_offline_runs_hold_the_curve_and_what_came_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    paths = study_in(tmp_path)
    folder = paths.tracker("notes")
    for epochs in ([1, 2], [3]):  # interrupted, and gone on with
        tell = TellTracker(WandbTracker("mine", paths, folder=folder))
        tell.opened((), metric="accuracy", direction=Direction.MAXIMIZE)
        tell.started([record(0, epochs[0] - 1)])
        tell.epochs(record(0, epochs[-1]), [result(epoch) for epoch in epochs])
        if epochs == [3]:
            tell.ended(ended(0, 3))
            tell.epochs(record(0, 1, finalist_of=0), [result(1)])
        tell.close()
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    found = [list(records_in(file)) for file in files]
    runs = [next(r.run for r in records if r.WhichOneof("record_type") == "run") for records in found]
    trials = [n for n, run in enumerate(runs) if run.display_name == "trial 0"]
    assert len(trials) == 2
    assert len({runs[n].run_id for n in trials}) == 1  # one run, in two files
    rows = [row for n in trials for row in history(found[n])]
    assert sorted((row["epoch"], round(row["dev/accuracy"], 5)) for row in rows) == [(1, 0.09), (2, 0.18), (3, 0.27)]
    assert {run.run_group for run in runs} == {"mine"}
    finalist = next(run for run in runs if run.display_name.startswith("finalist 0"))
    assert (finalist.job_type, list(finalist.tags)) == ("finalist", ["finalist"])
    config = {item.key: json.loads(item.value_json) for item in runs[trials[0]].config.update}
    assert config["learning_rate"] == 0.1
    summaries = {
        item.key: json.loads(item.value_json)
        for n in trials for r in found[n] if r.WhichOneof("record_type") == "summary" for item in r.summary.update
    }  # fmt: skip
    assert round(summaries["best/accuracy"], 5) == 0.27
