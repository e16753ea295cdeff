"""Training computes what it did when the golden curves were recorded: see `tests.train.golden`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.golden import CASES, EPOCHS, measure, read

ONE_EXAMPLE = {"train_metric": 1 / 256, "dev_metric": 1 / 100}


@pytest.mark.parametrize("name", CASES)
def test_a_known_configuration_learns_as_it_did(name: str, tmp_path: Path) -> None:
    """Losses to 1e-4, since processors round differently; so one example may fall on the other side."""
    expected = read(name)
    assert len(expected) == EPOCHS
    for ours, recorded in zip(measure(name, tmp_path), expected, strict=True):
        for column, value in recorded.items():
            assert ours[column] == pytest.approx(value, rel=1e-4, abs=1.01 * ONE_EXAMPLE.get(column, 0.0)), column


def test_the_recorded_curves_show_learning() -> None:
    for name in CASES:
        curve = read(name)
        assert curve[-1]["train_loss"] < 0.5 * curve[0]["train_loss"]
        assert curve[-1]["dev_metric"] > 0.7
