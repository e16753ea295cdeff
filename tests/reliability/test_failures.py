"""Trials, code and data that fail, seen from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.rig import Rig, states
from tuner.records import TrialState

pytestmark = pytest.mark.slow

CODE = Path(__file__).parents[1] / "execute" / "trial_code.py"


def user_code(fault: str, **parts: Any) -> dict[str, Any]:
    """A sweep of users' models, of which about half do what `fault` says."""
    return {
        "model": {"kind": f"{CODE}:build", "fault": fault},
        "space": {"learning_rate": {"low": 1e-3, "high": 0.1}, "l1": {"choices": [0.0, 1e-9]}},
        "search": {"trials": 8, "strategy": "random"},
        "limits": {"consecutive_failures": 99},
        **parts,
    }


FAULTS = {
    "": "all epochs",
    "raise": "error: ValueError: this trial is broken",
    "exit": "exited: sys.exit(3)",
    "hard exit": "exited: its process ended with exit code 4",
    "segfault": "killed: its process was killed by SIGSEGV (11)",
    "killed": "killed: its process was killed by SIGKILL (9)",
    "memory": "out of memory: OutOfMemoryError: CUDA out of memory.",
    "too much memory": "out of memory: there is not enough memory to train it on ",
    "outputs nan": "diverged: the training loss became nan",
    "outputs none": "error: ",
    "outputs text": "error: ",
    "outputs of another shape": "error: ",
    "print": "all epochs",
    "fork and come back": "all epochs",
    "leave a child": "all epochs",
}
"""What a trial's code may do, and how the trial's reason begins; `tests/execute/` has trials that hang."""


def test_whatever_a_trial_does_it_ends_with_a_reason_and_the_sweep_goes_on(quick_rig: Rig) -> None:
    quick_rig.sweep(
        model=f"{CODE}:build_fault",
        space={"fault": {"choices": list(FAULTS), "tier": 1}},
        search={"trials": len(FAULTS), "strategy": "grid"},
        limits={"consecutive_failures": 99},
    )
    run = quick_rig.start(engine="local")
    assert run.wait() == 0, run.err
    quick_rig.audit(complete=True)
    ends = {str(record.params["fault"]): record for record in quick_rig.records()}
    assert ends.keys() == FAULTS.keys()
    for fault, record in ends.items():
        assert record.reason.startswith(FAULTS[fault]), (fault, record.reason)
        assert record.state is (TrialState.COMPLETE if FAULTS[fault] == "all epochs" else TrialState.FAILED)
    assert ends["killed"].attempts <= 2
    assert f"trial {ends['killed'].number} is tried again" in run.err
    for fault in ("raise", "exit", "segfault"):
        assert quick_rig.paths.trial(ends[fault].number).log.read_text().strip(), fault
    assert [row["trial"] for row in quick_rig.leaderboard() if row["rank"]] != []
    assert not [row for row in quick_rig.leaderboard() if row["rank"] and row["state"] != "complete"]


def test_prints_of_users_code_are_in_the_logs_and_not_in_the_results(quick_rig: Rig) -> None:
    quick_rig.sweep(**user_code("print"))
    run = quick_rig.start("--json", engine="local")
    assert run.wait() == 0, run.err
    assert {row["state"] for row in json.loads(run.out)["trials"]} == {"complete"}
    assert "printed by Python" not in run.out + run.err
    culprit = next(r.number for r in quick_rig.records() if r.params["l1"])
    code, out, _ = quick_rig.command("logs", "study", str(culprit))
    assert code == 0
    assert {"printed by Python", "written to descriptor 1", "printed by a child"} <= set(out.splitlines())


def test_prints_of_users_code_do_not_touch_the_results_of_an_inline_run(quick_rig: Rig) -> None:
    quick_rig.sweep(**user_code("print in Python"))
    run = quick_rig.start("--json")
    assert run.wait() == 0
    assert json.loads(run.out)
    assert "printed by Python" in run.err


def test_a_trial_that_raises_fails_with_its_traceback_and_the_sweep_goes_on(quick_rig: Rig) -> None:
    quick_rig.sweep(**user_code("raise"))
    quick_rig.resume()
    quick_rig.audit(complete=True)
    failed = [r for r in quick_rig.records() if r.params["l1"]]
    assert 0 < len(failed) < 8
    assert {(r.state, r.reason) for r in failed} == {(TrialState.FAILED, "error: ValueError: this trial is broken")}
    _, out, _ = quick_rig.command("logs", "study", str(failed[0].number))
    assert "Traceback (most recent call last)" in out
    assert "trial_code.py" in out


def test_failed_trials_are_tried_again_on_request(quick_rig: Rig) -> None:
    quick_rig.sweep(**user_code("raise"))
    quick_rig.resume()
    quick_rig.sweep(**user_code(""))
    run = quick_rig.start("--retry-failed")
    assert run.wait() == 4  # the model's settings have changed, and with them what trials mean
    assert "model.fault: was raise" in run.err
    marker = quick_rig.folder / "mended"
    mended = {"kind": f"{CODE}:build", "fault": "raise unless mended", "marker": str(marker)}
    quick_rig.sweep(**user_code("", model=mended))
    assert quick_rig.start("--fresh").wait() == 0
    assert TrialState.FAILED in states(quick_rig)
    marker.touch()
    assert quick_rig.start("--retry-failed").wait() == 0
    assert states(quick_rig) == [TrialState.COMPLETE] * 8


def test_the_same_failure_three_times_ends_the_sweep_with_7_and_the_cause(quick_rig: Rig) -> None:
    quick_rig.sweep(**user_code("raise in training", space={"l1": {"low": 1e-9, "high": 1e-8}}, limits={}))
    run = quick_rig.start()
    assert run.wait() == 7
    error = run.err[run.err.rindex("\nerror:") :]
    assert error.count("this trial is broken") == 1
    assert "3 trials failed in the same way" in run.err
    quick_rig.audit()
    assert states(quick_rig).count(TrialState.FAILED) == 3
    assert TrialState.RUNNING not in states(quick_rig)


def test_nothing_but_divergence_ends_with_1(quick_rig: Rig) -> None:
    space = {"learning_rate": {"low": 1e7, "high": 1e8}}
    quick_rig.sweep(space=space, search={"trials": 4, "strategy": "random"})
    run = quick_rig.start()
    assert run.wait() == 1
    assert "no trial was trained to its end" in run.err
    assert all(r.reason.startswith("diverged") for r in quick_rig.records())


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        ({"data": {"source": "nowhere.csv"}}, 3, "nowhere.csv"),
        ({"data": {"source": f"{CODE}:no_data"}}, 6, "the disk with the data is not there"),
        ({"model": f"{CODE}:bild"}, 6, 'Did you mean "build"?'),
        ({"space": {"learning_rat": {"low": 1, "high": 2}}}, 3, "learning_rate"),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything_is_made(
    quick_rig: Rig, parts: dict[str, Any], code: int, words: str
) -> None:
    quick_rig.sweep(**parts)
    run = quick_rig.start()
    assert run.wait() == code
    assert words in run.err
    assert "Traceback" not in run.err
    assert not quick_rig.paths.folder.exists()
