"""What stays of a run's words."""

from __future__ import annotations

import re
from pathlib import Path

from tuner.records import TrialRecord, TrialState
from tuner.sweep.log import LogFile


def test_lines_of_several_runs_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    LogFile(path).said("round 2 of 2: the space is zoomed around the winners")
    failed = TrialRecord(number=3, params={}, seed=0, state=TrialState.FAILED, reason="diverged: loss nan")
    LogFile(path).ended(failed)
    moments, lines = zip(*(line.split(" ", 1) for line in path.read_text(encoding="utf-8").splitlines()), strict=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment) for moment in moments)
    assert lines == (
        "round 2 of 2: the space is zoomed around the winners",
        "trial 3 failed: no value, 0 epochs (diverged: loss nan)",
    )


def test_what_users_say_commands_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    LogFile(path).said("a choice \x1b[2J\x07 and\nanother line\u202e")
    assert path.read_text().split(" ", 1)[1] == "a choice \\x1b[2J\\x07 and another line\\x202e\n"
