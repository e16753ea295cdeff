"""Steps are recorded soon, so that the short trainings of tests see them recorded too."""

import pytest


@pytest.fixture(autouse=True)
def recorded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.train.stacked.program.RECORD_AFTER_RUNS", 3)
    monkeypatch.setattr("tuner.train.vmapped.RECORD_AFTER_RUNS", 2)
