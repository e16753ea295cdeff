"""`status`, `show`, `logs`, `doctor` and `dashboard` on studies made by the store."""

from __future__ import annotations

import csv
import json
import os
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.contracts.store_contract import SPACE, epoch_result, train
from tests.store.processes import next_line, python_process
from tests.store.studies import garbage_page, make_study, reopen
from tests.store.test_convert import as_journal
from tuner.cli.best import best
from tuner.cli.confirm import confirm
from tuner.cli.doctor import doctor
from tuner.cli.report import report
from tuner.cli.show import logs, show, sparkline
from tuner.cli.status import status
from tuner.cli.test import test as evaluate
from tuner.data import kept
from tuner.data.kept import made_for_all
from tuner.diagnose.evidence import Evidence
from tuner.errors import StorageError, StudyNotFoundError, TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.records import EpochResult, FailureReason, TrialFailed, TrialFinished, TrialPaused, TrialStarted, TrialState
from tuner.report.advice import advice
from tuner.report.analysis import Analysis
from tuner.store.pending import PendingFolder
from tuner.store.reader import read_study
from tuner.store.standing import STANDING, Standing, state_of

Run = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def paths(results: Path) -> StudyPaths:
    return StudyPaths(results / "digits")


@pytest.fixture
def study(paths: StudyPaths) -> StudyPaths:
    """Six trials: complete, complete, pruned, failed, running, paused; of 8 in all."""
    with reopen(paths) as store:
        store.set("sweep", {"study": "digits", "search": {"trials": 8}})
        store.set("command", "tuner run sweeps/digits.yaml")
        store.start([(SPACE.default(), 3, f"tier {1 + number // 3}") for number in range(6)])
        for number, metrics in enumerate([[0.5, 0.9], [0.5, 0.95, 0.7], [0.99], [float("nan")], [0.3, 0.4], [0.2]]):
            train(store, number, metrics)
        store.record(TrialFinished(trial=0, reason="all epochs"))
        store.record(TrialFinished(trial=1, reason="early stopping at epoch 3", facts={"dead_units": 0.25}))
        store.end(2, TrialState.PRUNED, "worse than the median")
        store.record(TrialFailed(trial=3, reason=FailureReason.DIVERGED, message="the loss is NaN in epoch 1"))
        store.record(TrialPaused(trial=5, epoch=1))
    return paths


def write_curve(paths: StudyPaths, number: int, results: list[EpochResult]) -> None:
    files = paths.trial(number)
    files.folder.mkdir(parents=True, exist_ok=True)
    with files.curve.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(EpochResult)])
        writer.writerows(astuple(result) for result in results)


def call(command: Any, *arguments: object, error: type[TunerError] | None = None) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if error is None and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if error is not None:
        assert isinstance(result.exception, error), result.output
    return result


def test_status_says_how_the_study_stands(study: StudyPaths, results: Path) -> None:
    said = call(status, "digits", "--results", results).stdout
    assert "interrupted" in said
    assert "6 of 8: 1 running, 1 paused, 2 complete, 1 pruned, 1 failed" in said
    assert "0.9500 accuracy, trial 1, epoch 2" in said
    assert "momentum = 0.9" in said
    assert "trial 4, epoch 2 of 3, best so far 0.4000" in said
    assert "tuner run sweeps/digits.yaml" in said
    assert "tier 2" in said


def test_status_as_json(study: StudyPaths, results: Path) -> None:
    summary = json.loads(call(status, "digits", "--results", results, "--json").stdout)
    assert summary["state"] == "interrupted"
    assert summary["trials"]["total"] == 8
    assert summary["best"]["trial"] == 1
    assert summary["best"]["params"] == SPACE.default()
    assert [trial["trial"] for trial in summary["running"]] == [4]
    assert summary["epochs"] == 10


def test_status_says_which_machine_trains_what_by_how_many_workers(paths: StudyPaths, results: Path) -> None:
    with closing(reopen(paths)) as store:
        records = store.start([(SPACE.default() | {"momentum": 0.5 + i / 1000}, 3, "tier 1") for i in range(66)])
        for record in records:
            node = f"node-{record.number // 4:02}" if record.number < 64 else "vm"
            worker = f"worker {record.number // 2} on {node}"
            store.record(
                TrialStarted(
                    trial=record.number, worker=worker, device=f"cuda:{record.number // 2 % 2}", path="vmap",
                    cohort_width=2, from_epoch=0, num_parameters=9,
                )
            )  # fmt: skip
        store.flush()
        said = call(status, "digits", "--results", results).stdout.splitlines()
        summary = json.loads(call(status, "digits", "--json", "--results", results).stdout)
    first = next(i for i, line in enumerate(said) if line.startswith("workers"))
    assert said[first].split(maxsplit=1)[1] == "node-00: 2 workers (cuda:0, cuda:1), 4 trials in training: 0, 1, 2, 3"
    assert said[first + 12].strip() == "and 5 more machines"
    assert len(said) < 45
    assert summary["workers"][0] == {
        "node": "node-00", "worker": "worker 0", "device": "cuda:0", "trials": ["trial 0", "trial 1"],
    }  # fmt: skip
    assert len(summary["workers"]) == 33
    assert json.loads(call(status, "digits", "--json", "--results", results).stdout)["workers"] == []


@pytest.mark.slow
def test_status_names_the_process_that_runs_it(paths: StudyPaths, results: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.store.studies import SPACE, reopen
from tuner.paths import StudyPaths
store = reopen(StudyPaths(Path(sys.argv[1])))
store.start([(SPACE.default(), 3, "tier 1")])
print("running", flush=True)
sys.stdin.read()
"""
    with python_process(script, paths.folder) as owner:
        assert next_line(owner) == "running\n"
        assert f"running in process {owner.pid}" in call(status, "digits", "--results", results).stdout
        assert f"process {owner.pid}" in call(doctor, "digits", "--results", results).stdout
    said = call(status, "digits", "--results", results).stdout
    assert f"interrupted: process {owner.pid} " in said
    assert "ended without a word" in said


def test_status_of_a_study_without_trials(paths: StudyPaths, results: Path) -> None:
    reopen(paths).close()
    said = call(status, "digits", "--results", results).stdout
    assert "0: none yet" in said
    assert "state     stopped\n" in said


@pytest.mark.parametrize(
    ("standing", "state", "then"),
    [
        (None, "stopped", "runs the trials that are left"),
        (Standing(), "stopped", "runs the trials that are left"),
        (Standing(stop="out of time"), "stopped: out of time", "runs the trials that are left"),
        (
            Standing(stage="finalists", stop="SIGTERM"),
            "stopped: SIGTERM",
            "the finalists that are left, 0 of 3 are done",
        ),
        (
            Standing(stage="done", search_end="by its own rule: x"),
            "finished: by its own rule: x",
            "tuner report digits",
        ),
    ],
)
def test_status_says_what_is_left_and_why_it_ended(
    paths: StudyPaths, results: Path, standing: Standing | None, state: str, then: str
) -> None:
    """Of a study with one trial of four, and finalists."""
    with reopen(paths) as store:
        store.set("sweep", {"search": {"trials": 4}, "finalists": {"count": 2, "seeds": 3}})
        if standing is not None:
            store.set(STANDING, standing.to_json())
        store.start([(SPACE.default(), 1, "")])
        train(store, 0, [0.5])
        store.record(TrialFinished(trial=0, reason="all epochs"))
    said = call(status, "digits", "--results", results).stdout
    assert f"state     {state}\n" in said
    assert then in said.splitlines()[-1]


def test_status_of_an_old_study_waits_for_its_finalists(paths: StudyPaths, results: Path) -> None:
    with reopen(paths) as store:
        store.start([(SPACE.default(), 1, "")])
        train(store, 0, [0.5])
        store.record(TrialFinished(trial=0, reason="all epochs"))
        for finalists, state in ((None, "finished"), ({"count": 2, "seeds": 3}, "stopped")):
            store.set("sweep", {"search": {"trials": 1}, "finalists": finalists})
            store.flush()
            assert state_of(replace(read_study(paths, study="digits"), lease=None)) == (state, "")


def test_a_study_with_more_trials_than_its_sweep_asks_for_now_is_finished(paths: StudyPaths) -> None:
    make_study(paths, num_trials=2)
    for trials, state in ((1, "finished"), (2, "finished"), (3, "stopped")):
        found = read_study(paths, study="digits")
        assert state_of(replace(found, facts={"sweep": {"search": {"trials": trials}}})) == (state, "")


@pytest.mark.slow
def test_why_a_run_stopped_is_read_from_what_waits_beside_a_full_database(paths: StudyPaths, results: Path) -> None:
    with reopen(paths) as store:
        store.set(STANDING, Standing().to_json())
    fact = json.dumps(Standing(stop="disk full: study.db cannot grow").to_json())
    PendingFolder(paths.pending, "digits").keep({}, {STANDING: fact})
    assert "state     stopped: disk full: study.db cannot grow\n" in call(status, "digits", "--results", results).stdout


OUTPUTS = {"closed": (">&-", 0), "nobody reads": ("| head -c 1 > /dev/null", 0), "full": ("> /dev/full", 5)}


@pytest.mark.slow
@pytest.mark.parametrize("how", OUTPUTS)
def test_an_output_that_takes_nothing_changes_no_exit_code_unless_it_is_full(
    study: StudyPaths, results: Path, how: str
) -> None:
    redirected, expected = OUTPUTS[how]
    write_curve(study, 1, [epoch_result(e, 0.5 + e / 1e5) for e in range(1, 3000)])
    command = shlex.join([sys.executable, "-m", "tuner", "show", "digits", "1", "--json", "--results", str(results)])
    script = f"{command} {redirected}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr
    assert ("standard output cannot be written: No space left on device" in done.stderr) == (how == "full")


def test_mistyped_study_suggests_the_nearest(study: StudyPaths, results: Path) -> None:
    for command, more in ((status, ()), (show, (0,)), (logs, (0,)), (doctor, ())):
        result = call(command, "digts", *more, "--results", results, error=StudyNotFoundError)
        assert "Did you mean digits" in str(result.exception)
    assert [path.name for path in results.iterdir()] == ["digits"]


def test_show_one_trial(study: StudyPaths, results: Path) -> None:
    write_curve(study, 1, [epoch_result(e, 0.5 + e / 100) for e in range(1, 31)])
    said = call(show, "digits", 1, "--results", results).stdout
    assert "1, complete: early stopping at epoch 3" in said
    assert "0.9500 at epoch 2 (train 0.9600)" in said
    assert "dead_units       0.25" in said
    assert "▁" in said
    assert "█" in said
    rows = [line.split() for line in said.splitlines() if line.strip().split(" ")[0].isdigit()]
    epochs = [int(row[0]) for row in rows]
    assert {1, 2, 30} <= set(epochs)
    assert len(epochs) <= 12
    assert f"{len(epochs)} of 30 epochs; --json has them all" in said
    assert str(study.trial(1).curve) in said


def test_show_leaves_no_epoch_out_without_need_and_fits_a_narrow_terminal(study: StudyPaths, results: Path) -> None:
    write_curve(study, 1, [epoch_result(e, 0.5 + e / 100) for e in range(1, 13)])
    said = call(show, "digits", 1, "--results", results).stdout
    rows = [line for line in said.splitlines() if line.strip().split(" ")[0].isdigit()]
    assert [int(row.split()[0]) for row in rows] == list(range(1, 13))
    assert max(map(len, rows)) <= 60
    assert "have them all" not in said


def test_show_writes_facts_for_people(results: Path) -> None:
    paths = StudyPaths(results / "digits")
    with reopen(paths) as store:
        store.start([(SPACE.default(), 1, "default")])
        train(store, 0, [0.5])
        facts = {"gradient_norms": {"1.weight": 0.442912757396698, "4.weight": 0.3}, "path": "stacked"}
        store.record(TrialFinished(trial=0, reason="all epochs", facts=facts))
    said = call(show, "digits", 0, "--results", results).stdout
    assert "gradient_norms   1.weight 0.4429, 4.weight 0.3\n" in said
    assert "path             stacked\n" in said


def test_confirm_refuses_a_study_without_a_finished_trial(results: Path) -> None:
    with reopen(StudyPaths(results / "digits")) as store:
        store.set("sweep", {"study": "digits", "data": {"source": "sklearn/digits"}})
        store.start([(SPACE.default(), 3, "default")])
        store.record(TrialFailed(trial=0, reason=FailureReason.DIVERGED, message="the loss is NaN in epoch 1"))
    result = call(confirm, "digits", "--results", results, error=TunerError)
    assert "none to train again" in str(result.exception)


def test_show_as_json_is_strict(study: StudyPaths, results: Path) -> None:
    write_curve(study, 3, [epoch_result(1, float("nan"), train_loss=float("inf"))])
    said = call(show, "digits", 3, "--results", results, "--json").stdout
    values = json.loads(said, parse_constant=pytest.fail)
    assert values["reason"] == "diverged: the loss is NaN in epoch 1"
    assert values["curve"][0]["train_loss"] is None


def test_show_without_a_curve_or_with_a_broken_one(study: StudyPaths, results: Path) -> None:
    assert "0, complete" in call(show, "digits", 0, "--results", results).stdout
    study.trial(0).folder.mkdir(parents=True)
    study.trial(0).curve.write_text("epoch,train_loss\n1,many\n")
    assert "0, complete" in call(show, "digits", 0, "--results", results).stdout


def test_trial_that_there_is_not(study: StudyPaths, results: Path) -> None:
    for command in (show, logs):
        result = call(command, "digits", 99, "--results", results, error=UsageError)
        assert "has no trial 99; they are numbered 0 to 5" in str(result.exception)
    result = call(show, "digits", 0, "--finalist", "--results", results, error=UsageError)
    assert "there is none yet" in str(result.exception)


def test_logs(study: StudyPaths, results: Path) -> None:
    assert "has written nothing" in call(logs, "digits", 0, "--results", results).stderr
    study.trial(0).folder.mkdir(parents=True)
    study.trial(0).log.write_text("one\ntwo\nthree\n")
    assert call(logs, "digits", 0, "--results", results).stdout == "one\ntwo\nthree\n"
    assert call(logs, "digits", 0, "--tail", 1, "--results", results).stdout == "three\n"


def test_hostile_names_cannot_command_the_terminal(paths: StudyPaths, results: Path) -> None:
    with reopen(paths) as store:
        store.start([({"\x1b[31mrate": 0.1, "x": "\x1b]0;owned\x07 [bold]"}, 1, "\x1b[2J")])
        train(store, 0, [0.5])
        store.record(TrialFinished(trial=0, reason="done\x1b[1m", facts={"\x07note": "\r\x1b[K"}))
        store.set("command", "tuner run \x1b[31m")
    for command, more in ((status, ()), (show, (0,))):
        said = call(command, "digits", *more, "--results", results).stdout
        assert "\x1b" not in said
        assert "\x07" not in said
        assert "\\x1b" in said


def test_doctor_lists_prepared_data_and_removes_them(results: Path) -> None:
    made_for_all(
        lambda folder: (folder / "x").write_bytes(bytes(10**6)), key="a" * 32, within=results / ".data", made_of="t.csv"
    )
    said = call(doctor, "--results", results).stdout
    assert "prepared data" in said
    assert "1 MB of t.csv (a run uses it)" in said
    assert call(doctor, "--clear-data", "--results", results).stderr == "1 copy is in use and stays\n"
    os.close(kept._held.pop())
    assert "1 MB of t.csv (tuner doctor --clear-data removes it)" in call(doctor, "--results", results).stdout
    assert call(doctor, "--clear-data", "--results", results).stdout == "removed 1 MB of prepared data\n"
    assert "prepared data" not in call(doctor, "--results", results).stdout


def test_doctor_finds_the_study_sound_and_its_interrupted_trials(study: StudyPaths, results: Path) -> None:
    said = call(doctor, "digits", "--results", results)
    assert said.exit_code == 0
    assert "sound: 6 trials, 0 finalists" in said.stdout
    assert "trials 4, 5" in said.stdout
    assert "torch" in said.stdout


def test_doctor_finds_damage_and_mends_into_a_new_file(study: StudyPaths, results: Path, tmp_path: Path) -> None:
    garbage_page(study.database)
    before = study.database.read_bytes()
    assert "PROBLEM" in call(doctor, "digits", "--results", results).stdout
    mended = tmp_path / "mended.db"
    said = call(doctor, "digits", "--results", results, "--repair", mended)
    assert said.stdout == f"{mended}\n"
    assert "saved 6 trials; lost: none" in said.stderr
    assert study.database.read_bytes() == before
    assert "6 of 8" in call(status, "digits", "--results", results, "--store", mended).stdout


@pytest.mark.slow
def test_doctor_backs_up(study: StudyPaths, results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert call(doctor, "digits", "--results", results, "--backup", copy).stdout == f"{copy}\n"
    call(doctor, "digits", "--results", results, "--backup", copy, error=UsageError)
    assert "6 of 8" in call(status, "digits", "--results", results, "--store", copy).stdout


@pytest.mark.slow
def test_doctor_converts_a_journal_into_a_file_that_is_reported_as_before(
    study: StudyPaths, results: Path, tmp_path: Path
) -> None:
    with reopen(study, study="digits/finalists") as store:
        store.start([(SPACE.default(), 3, "finalist")], facts=[{"repeat_of": 1}])
        train(store, 0, [0.9])
        store.record(TrialFinished(trial=0, reason="all epochs"))
    journal, new = as_journal(study, tmp_path / "a b.journal"), tmp_path / "a b.db"
    said = call(doctor, "--convert", journal, new)
    assert said.stdout == f"{new}\n"
    assert "converted digits, digits/finalists" in said.stderr
    assert f"tuner status digits --store '{new}'" in said.stderr
    for command, *options in ((report, "--format", "json"), (report, "--format", "markdown"), (status, "--json")):
        before = call(command, "digits", *options, "--results", results).stdout
        after = call(command, "digits", *options, "--results", results, "--store", new).stdout
        assert after.replace(f" --store '{new}'", "").replace(str(new), str(study.database)) == before
    call(doctor, "digits", "--convert", journal, tmp_path / "other.db", error=UsageError)
    call(status, "digits", "--results", results, "--store", journal, error=UsageError)


def test_doctor_without_a_study(results: Path) -> None:
    assert "CPU cores" in call(doctor, "--results", results).stdout
    call(doctor, "--backup", "x.db", error=UsageError)
    assert not results.exists()


def test_damaged_database_is_an_error_of_the_storage(study: StudyPaths, results: Path) -> None:
    study.database.write_text("no database")
    call(status, "digits", "--results", results, error=StorageError)


@pytest.mark.slow
def test_status_imports_nothing_heavy(study: StudyPaths, results: Path) -> None:
    script = """
import sys
from tuner.cli.main import run_command_line
code = run_command_line(sys.argv[1:])
heavy = {"torch", "sqlalchemy", "optuna", "pandas", "numpy", "pydantic", "rich"} & sys.modules.keys()
sys.exit(f"imported {heavy}" if heavy else code)
"""
    command = [sys.executable, "-c", script, "status", "digits", "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 of 8" in done.stdout


def test_sparkline() -> None:
    assert sparkline([0.0, 1.0]) == "▁█"
    assert sparkline([0.5, 0.5]) == "▁▁"
    assert sparkline([0.0, float("nan"), 1.0]) == "▁!█"
    assert len(sparkline([float(n) for n in range(1000)])) <= 60


@pytest.mark.deep
@pytest.mark.slow
def test_dashboard_answers_on_loopback_alone(study: StudyPaths, results: Path) -> None:
    pytest.importorskip("optuna_dashboard", reason="the dashboard is not installed (extra: dashboard)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = "import sys; from tuner.cli.main import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "dashboard", "digits", "--results", str(results), "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stderr is not None
        assert f"http://127.0.0.1:{port}/" in process.stderr.readline()
        answer = _fetch(f"http://127.0.0.1:{port}/api/studies")
        assert [s["study_name"] for s in answer["study_summaries"]] == ["digits"]
    finally:
        process.terminate()
        process.communicate()


def _fetch(url: str) -> Any:
    import time

    for _ in range(1200):
        try:
            with urllib.request.urlopen(url) as response:
                return json.load(response)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}")


def test_a_test_figure_of_another_trial_is_marked_where_the_best_is_named(study: StudyPaths, results: Path) -> None:
    test = {"value": 0.91, "interval": [0.8, 0.95], "examples": 90, "trial": 0, "params": {}}
    with reopen(study) as store:
        store.set("tests", [test | {"at": "2026-01-31T12:30:05+00:00"}])
    said = (
        "the test figure is trial 0's; the best is now trial 1, which was not tested; to test it, at the price of one "
        f"more use of the test set: tuner test digits --again --results {results}"
    )
    for command in (status, best, evaluate, report):
        assert said in call(command, "digits", "--results", results).output
    of_report = call(report, "digits", "--results", results, "--format", "json").stdout
    by_name = said.partition(" --results")[0]  # as the files of a study say it, wherever they lie
    assert f"{by_name[0].upper()}{by_name[1:]}." in json.loads(of_report)["summary"]
    for trial in (0, 1):
        shown = call(show, "digits", str(trial), "--results", results).stdout
        assert said in shown
        assert ("0.9100, trial 0" in shown) == (trial == 1)
    assert said not in call(show, "digits", "2", "--results", results).stdout
    for command, options in ((show, ("1", "--json")), (best, ("--format", "json"))):
        values = json.loads(call(command, "digits", *options, "--results", results).stdout)
        assert (values.get("test") or values["test_of_study"])["outdated"] == said
    assert "0.9100 accuracy, trial 0" in call(status, "digits", "--results", results).stdout
    assert json.loads(call(status, "digits", "--results", results, "--json").stdout)["test"]["outdated"] == said


@pytest.mark.parametrize(("trial", "is_tested"), [(0, False), (1, True)])
def test_only_a_test_of_the_best_trial_is_one_of_the_final_choice(
    trial: int, is_tested: bool, study: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reopen(study) as store:
        test = {"value": 0.91, "interval": [0.8, 0.95], "examples": 90, "trial": trial, "params": {}}
        store.set("tests", [test | {"at": "2026-01-31T12:30:05+00:00"}])
    seen: list[Evidence] = []
    monkeypatch.setattr("tuner.report.advice.next_step", seen.append)
    advice(Analysis(read_study(study, study="digits"), study))
    assert [evidence.tested for evidence in seen] == [is_tested]
