"""Trials, code and data that fail, seen from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.rig import Rig, states
from tuner.records import TrialState

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


def test_prints_of_users_code_are_in_the_logs_and_not_in_the_results(rig: Rig) -> None:
    rig.sweep(**user_code("print"))
    run = rig.start("--json", engine="local")
    assert run.wait() == 0, run.err
    assert {row["state"] for row in json.loads(run.out)["trials"]} == {"complete"}
    assert "printed by Python" not in run.out + run.err
    culprit = next(r.number for r in rig.records() if r.params["l1"])
    code, out, _ = rig.command("logs", "study", str(culprit))
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
    quick_rig.sweep(**user_code("raise", space={"l1": {"low": 1e-9, "high": 1e-8}}, limits={}))
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


def test_a_sweep_file_that_is_of_another_study_is_refused_with_what_differs(quick_rig: Rig) -> None:
    small = {"search": {"trials": 3, "strategy": "random"}}
    quick_rig.sweep(**small)
    quick_rig.resume()
    before = {path: path.read_bytes() for path in quick_rig.paths.folder.rglob("*") if path.is_file()}
    quick_rig.sweep(**small, data={"source": "sklearn/wine"})
    run = quick_rig.start()
    assert run.wait() == 4
    assert "data.source: was sklearn/digits, is sklearn/wine" in run.err
    after = {path: path.read_bytes() for path in quick_rig.paths.folder.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() ^ before.keys()} <= {"study.db-shm", "study.db-wal"}
    changed = {path.name for path in after.keys() & before.keys() if after[path] != before[path]}
    assert changed <= {"study.db"}  # the lease was taken and given back


def test_eight_runs_that_start_at_once_make_one_study(quick_rigs: Callable[[str], Rig]) -> None:
    rig = quick_rigs("study")
    rig.sweep()
    runs = [rig.start() for _ in range(8)]
    codes = [run.wait() for run in runs]
    assert set(codes) <= {0, 5}
    assert 0 in codes
    for run, code in zip(runs, codes, strict=True):
        assert code == 0 or "process" in run.err
    rig.audit(complete=True)
