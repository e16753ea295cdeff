"""A metric of the user's on resamples: the same ones for each trial, and no more of them than take no time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tuner.train.measure import resampled as module
from tuner.train.measure.resampled import resampled

OUTPUTS, TARGETS = torch.arange(40.0).reshape(40, 1), torch.zeros(40, 1)


def mean(outputs: Tensor, targets: Tensor) -> float:
    return float(outputs.mean())


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 3600.0)


def test_all_examples_come_first_and_then_resamples_around_them() -> None:
    found = resampled(mean, OUTPUTS, TARGETS)
    assert found is not None
    assert len(found) == 1 + module._MOST
    assert found[0] == 19.5
    assert found[1:].std() == pytest.approx(OUTPUTS.std().item() / np.sqrt(40), rel=0.3)


def test_trials_are_resampled_alike() -> None:
    one, other = resampled(mean, OUTPUTS, TARGETS), resampled(mean, OUTPUTS + 2, TARGETS)
    assert one is not None
    assert other is not None
    assert np.allclose(other - one, 2.0)


def test_a_resample_that_a_metric_cannot_take_is_no_number() -> None:
    def fussy(outputs: Tensor, targets: Tensor) -> float:
        if 39.0 not in outputs:
            raise ValueError("no example of the last kind")
        return 1.0

    found = resampled(fussy, OUTPUTS, TARGETS)
    assert found is not None
    assert 0.2 < np.isnan(found).mean() < 0.6


def test_a_metric_that_takes_long_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    assert resampled(mean, OUTPUTS, TARGETS) is None
