"""The examples that each trial is measured on, laid side by side or put together portion by portion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train.cohorts import jobs, make_task
from tuner.records import EpochsFinished
from tuner.train.loop.cohort import Cohort
from tuner.train.measure import evaluated
from tuner.train.measure.evaluated import inputs_side_by_side


@pytest.mark.parametrize("rows", [slice(0, 3), slice(2, 9), slice(6, 8), slice(7, 100), slice(0, 11), slice(9, 9)])
def test_portions_of_what_is_not_copied_are_those_of_the_copy(rows: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    dev, train, sample = torch.randn(6, 2, 3), torch.randn(20, 2, 3), torch.tensor([1, 4, 5, 11, 19])
    copied = inputs_side_by_side(dev, train, sample)
    monkeypatch.setattr(evaluated, "_COPIED_BYTES", 0)
    gathered = inputs_side_by_side(dev, train, sample)
    assert not isinstance(gathered, torch.Tensor)
    assert gathered.shape == copied.shape
    assert gathered[rows].equal(copied[rows])


@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_a_trial_measured_without_a_copy_has_the_same_curve(
    fuse: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def curve(folder: Path) -> list[tuple[float, float, float]]:
        members = jobs(folder, [{"learning_rate": 0.01}])
        events = [e for events in Cohort(make_task(epochs=2, fuse=fuse), members, worker="w").epochs() for e in events]
        results = [r for e in events if isinstance(e, EpochsFinished) for r in e.results]
        return [(r.train_loss, r.dev_loss, r.dev_metric) for r in results]

    expected = curve(tmp_path / "copied")
    monkeypatch.setattr(evaluated, "_COPIED_BYTES", 0)
    assert curve(tmp_path / "gathered") == expected
    assert len(expected) == 2
