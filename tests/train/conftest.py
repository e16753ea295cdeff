"""Steps are recorded soon, so that the short trainings of tests see them recorded too."""

import pytest


@pytest.fixture(autouse=True)
def recorded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.train.programs.stacked.program.SCRIPT_AFTER_RUNS", 3)


@pytest.fixture(autouse=True)
def checkpoints_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of tests go on from files, as in another process, and not from what this one remembers."""
    monkeypatch.setattr("tuner.train.loop.checkpoint._REMEMBERED._most_bytes", 0)
