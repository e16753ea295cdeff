"""Names, files and databases that mean harm; and where users' code may run."""

from __future__ import annotations

import os
import pickle
import pty
import select
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability.rig import Rig, states
from tests.reliability.test_storage import Hostile
from tuner.records import TrialState

ESCAPE = "\x1b]0;owned\x07\x1b[2J"

MODULE = """
import os, pathlib
from torch import nn

with (pathlib.Path(__file__).parent / "imported").open("a") as file:
    file.write(f"{os.getpid()}\\n")

def build(params, data):
    if params["kind"] != "plain":
        raise ValueError("<script>alert(1)</script> \\x1b]0;owned\\x07 =cmd() | [bold]")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, data.num_outputs))
"""
READING = (
    ("status", "study"), ("report", "study"), ("report", "study", "--format", "csv"),
    ("report", "study", "--format", "markdown"), ("report", "study", "--format", "html"),
    ("report", "study", "--format", "json"), ("show", "study", "0"), ("show", "study", "1"), ("logs", "study", "1"),
    ("best", "study"), ("doctor", "study"), ("check", "sweep.yaml", "--no-import"),
)  # fmt: skip


@pytest.mark.deep
def test_users_code_is_imported_in_workers_alone_and_what_it_says_commands_nothing(
    rig: Rig, quick_rigs: Callable[[str], Rig]
) -> None:
    (rig.folder / "model.py").write_text(MODULE)
    rig.sweep(
        model="model.py:build",
        space={"kind": {"choices": ["plain", f"<script>alert(2)</script>{ESCAPE}", "=cmd()|'/c calc'!A0"], "tier": 1}},
        search={"trials": 3, "strategy": "grid"},
    )
    run = rig.start(engine="local")
    assert run.wait() == 0, run.err
    assert sorted(state.value for state in states(rig)) == ["complete", "failed", "failed"]
    imported = rig.folder / "imported"
    assert imported.read_text()
    assert str(run.pid) not in imported.read_text().split()
    imported.unlink()
    reader = quick_rigs(rig.folder.name)
    said = [run.out, run.err, *(on_terminal(reader, arguments) for arguments in READING)]
    assert not imported.exists()
    written = [path.read_text() for path in (rig.paths.report_html, rig.paths.leaderboard_md)]
    for text in said + written:
        assert "\x1b]0" not in text
        assert "\x1b[2J" not in text
        assert "\x07" not in text
    assert "<script>alert" not in "".join(written)
    assert ",'=cmd()" in reader.command("report", "study", "--format", "csv", "--excel")[1]


def on_terminal(rig: Rig, arguments: tuple[str, ...]) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    terminal = Path(os.ttyname(theirs))
    command = rig.launcher(arguments, cwd=rig.folder, env={}, stdout=terminal, stderr=terminal)
    shown = b""
    while (code := command.poll()) is None or select.select([ours], [], [], 0.0)[0]:
        if select.select([ours], [], [], 0.02)[0]:
            shown += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert (code, arguments) == (0, arguments), shown
    assert shown
    return shown.decode(errors="replace")


@pytest.mark.slow
def test_a_hostile_database_runs_no_code(quick_rig: Rig, tmp_path: Path) -> None:
    """Optuna's CMA-ES unpickles what it finds in a trial's system attributes."""
    quick_rig.sweep(search={"trials": 6, "strategy": "cmaes"})
    quick_rig.resume()
    proof = tmp_path / "code ran"
    text = pickle.dumps(Hostile(str(proof))).hex()
    with closing(sqlite3.connect(quick_rig.paths.database)) as connection, connection:
        for (trial,) in connection.execute("SELECT trial_id FROM trials").fetchall():
            for name in ("cma:optimizer", "cma:optimizer:0", "cma:n_restarts"):
                connection.execute(
                    "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
                    (trial, name, f'"{text}"'),
                )
    for arguments in (("status", "study"), ("report", "study"), ("best", "study"), ("show", "study", "0")):
        assert quick_rig.command(*arguments)[0] == 0
    quick_rig.resume("--trials", "12")
    assert states(quick_rig) == [TrialState.COMPLETE] * 12
    assert not proof.exists()


@pytest.mark.slow
def test_a_hostile_sweep_file_runs_no_code_and_is_refused_with_its_line(quick_rig: Rig, tmp_path: Path) -> None:
    proof = tmp_path / "code ran"
    bomb = "a: &a [x, x]\n" + "".join(f"b{n}: [*a, *a, *a]\n" for n in range(50))
    for text in (f"study: !!python/object/apply:os.mkdir [{proof}]\n", bomb, "x" * 2**25):
        (quick_rig.folder / "hostile.yaml").write_text(text)
        for command in (("check", "hostile.yaml", "--no-import"), ("run", "hostile.yaml", "--engine", "inline")):
            code, _, err = quick_rig.command(*command)
            assert code == 3, err
            assert "hostile.yaml" in err
            assert "Traceback" not in err
    assert not proof.exists()
    assert not quick_rig.paths.folder.exists()
