"""What a run says where stderr is no terminal."""

from __future__ import annotations

import logging

import pytest

from tuner.cli.progress import open_progress
from tuner.spec.model import DataSpec, SweepSpec


def test_a_warning_is_one_line_in_a_pipe_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own, which are there only in a test
    text = "the network is trained one trial at a time: " + "a long reason, " * 20
    with open_progress(SweepSpec(study="s", data=DataSpec(source="d")), quiet=False, verbose=False):
        logging.getLogger("tuner.execute").warning("%s\x1b[2J", text)
    assert capsys.readouterr().err == f"WARNING {text}\\x1b[2J\n"
