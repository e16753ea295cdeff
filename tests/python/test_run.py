"""`tuner.run` and the study that it gives: from objects, from a script, and interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tuner
from tuner.errors import (
    StorageError,
    StudyMismatchError,
    StudyNotFoundError,
    SweepFileError,
    UsageError,
    UserCodeError,
)
from tuner.paths import StudyPaths
from tuner.report.terminal import Conclusion
from tuner.store.lease import Lease
from tuner.sweep.options import RunOptions
from tuner.sweep.outcome import Outcome

NOTHING = Conclusion(
    study="mine", metric="accuracy", cells={}, footer="", lines=(), best="", answer="", baselines="", spared=""
)
SWEEP = {"study": "mine", "data": {"source": "sklearn/digits"}}


class Ran:
    """Stands in the place of a run: what it was asked for, and how it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends_by: BaseException | None = None
        self.outcome: dict[str, Any] = {"complete": True, "any_complete": True, "signal": None}
        monkeypatch.setattr("tuner.python.run.run_sweep", self)

    def __call__(self, spec: Any, options: RunOptions, watcher: object) -> Outcome:
        self.spec, self.options = spec, options
        if self.ends_by is not None:
            raise self.ends_by
        return Outcome(
            paths=StudyPaths(options.results / spec.study), search_end="", conclusion=NOTHING, **self.outcome
        )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    monkeypatch.chdir(tmp_path)
    return Ran(monkeypatch)


def test_arguments_are_what_the_options_of_the_command_are(ran: Ran, tmp_path: Path) -> None:
    tuner.run(SWEEP, trials=7, seed=3, workers=2, seconds=9.0, results="there", devices=["cpu"], quiet=True)
    assert (ran.spec.search.trials, ran.spec.search.seed, ran.spec.root) == (7, 3, str(tmp_path))
    assert (ran.options.workers, ran.options.seconds, ran.options.devices) == (2, 9.0, ("cpu",))
    assert ran.options.command == ""  # nothing in a shell goes on with it


def test_a_sweep_file_can_be_gone_on_with_in_a_shell(ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("study: mine\ndata: {source: sklearn/digits}\nmodel: mlp\n")
    tuner.run("s.yaml", trials=7, results="there", quiet=True)
    assert ran.options.command == "tuner run s.yaml --trials 7 --results there"
    tuner.run("s.yaml", data=(np.zeros((4, 2)), np.zeros(4)), model="cnn", quiet=True)
    assert ran.spec.data.source.startswith("results/mine/given/source-")
    assert (ran.spec.model.kind, ran.options.command) == ("cnn", "")


@pytest.mark.parametrize("how", ["at once", "with everything kept"])
def test_an_interrupt_is_a_keyboard_interrupt(ran: Ran, how: str) -> None:
    if how == "at once":
        ran.ends_by = SystemExit(128 + signal.SIGINT)
    ran.outcome["signal"] = int(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        tuner.run(SWEEP, quiet=True)


def test_another_signal_ends_the_program_with_its_code(ran: Ran) -> None:
    ran.outcome["signal"] = int(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        tuner.run(SWEEP, quiet=True)
    assert end.value.code == 128 + signal.SIGTERM


def test_without_a_trained_trial_it_warns(ran: Ran) -> None:
    ran.outcome["any_complete"] = False
    with pytest.warns(UserWarning, match="no trial was trained to its end"):
        tuner.run(SWEEP, quiet=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**SWEEP, "study": "../up"}, r"^sweep: study: must begin with .*, got \.\./up$"),
        ({"data": SWEEP["data"]}, r"^sweep: study: is required"),
        ({**SWEEP, "search": {"trials": 0}}, r"^sweep: search\.trials: must be at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_said_by_its_key(ran: Ran, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepFileError, match=message):
        tuner.run(values)
    assert not Path("results").exists()


def build(text: str) -> Any:
    """A model that a cell has defined, whose text lies in the study's folder."""
    values: dict[str, Any] = {"__name__": "__main__"}
    exec(f"def build(params, data): return {text!r}", values)
    return values["build"]


def texts() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("results/mine/given").iterdir()}


@pytest.mark.parametrize("error", [StudyMismatchError("other data"), UserCodeError("no module")])
def test_a_run_that_is_refused_leaves_the_code_that_the_study_has(ran: Ran, error: Exception) -> None:
    tuner.run(SWEEP, model=build("first"), quiet=True)
    before = texts()
    with pytest.raises(SweepFileError):
        tuner.run({**SWEEP, "search": {"trials": 0}}, model=build("second"), quiet=True)
    assert texts() == before
    ran.ends_by = error
    with pytest.raises(type(error)):
        tuner.run(SWEEP, model=build("second"), quiet=True)
    assert texts() == before
    ran.ends_by = None
    tuner.run(SWEEP, model=build("second"), quiet=True)
    assert texts() != before


def test_the_code_of_a_study_that_a_process_runs_is_left_alone(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner.run(SWEEP, model=build("first"), quiet=True)
    before = texts()
    study = SimpleNamespace(lease=Lease.mine(), facts={}, records=(), finalists=())
    monkeypatch.setattr("tuner.store.reader.read_study", lambda *given, **named: study)
    with pytest.raises(StorageError, match=r"mine is run by .* with another model, or other code"):
        tuner.run(SWEEP, model=build("second"), quiet=True)
    assert texts() == before
    tuner.run(SWEEP, model=build("first"), quiet=True)  # what is the same it may go on with


def test_fresh_and_retry_failed_exclude_one_another(ran: Ran) -> None:
    with pytest.raises(UsageError, match=r"^fresh=True starts anew"):
        tuner.run(SWEEP, fresh=True, retry_failed=True)


@pytest.mark.slow
def test_import_brings_nothing_with_it() -> None:
    script = "import sys; before = set(sys.modules); import tuner; dir(tuner); print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600)
    assert {name.split(".")[0] for name in done.stdout.split()} <= {"tuner", *sys.stdlib_module_names}


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("abc"), index=range(7, 127))
    return found.assign(kind=np.where(found.a + found.b > 0, 1, 2))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuner.Study:
    results = tmp_path_factory.mktemp("results")
    sweep = {
        "study": "table", "data": {"target": "kind", "task": "classification"}, "training": {"epochs": 2},
        "space": {"learning_rate": {"low": 1e-3, "high": 1.0}}, "search": {"strategy": "random"},
    }  # fmt: skip
    return tuner.run(sweep, data=frame(), trials=3, engine="inline", results=results, quiet=True)


@pytest.mark.slow
def test_a_study_is_asked_in_python(study: tuner.Study) -> None:
    table = study.leaderboard()
    assert isinstance(table, pd.DataFrame)
    assert sorted(table.trial) == [trial.number for trial in study.trials] == [0, 1, 2]
    best = study.best
    assert best is not None
    assert (best.number, best.state, best.epochs) == (table.trial[0], "complete", 2)
    assert best.value == pytest.approx(table.dev_accuracy[0])
    assert best.params["learning_rate"] == pytest.approx(table.learning_rate[0])
    assert study.state == "finished"
    curve = study.trial(1).curve()
    assert list(curve.index) == [1, 2]
    assert curve.dev_metric.max() == pytest.approx(study.trial(1).value)
    with pytest.raises(UsageError, match=r"^study table has no trial 9; its trials: 0 to 2$"):
        study.trial(9)


@pytest.mark.slow
def test_a_notebook_shows_it(study: tuner.Study) -> None:
    assert f"best: trial {study.best.number}" in study._repr_html_()  # type: ignore[union-attr]
    assert "dev_accuracy" in study._repr_html_()
    assert "learning_rate" in study.trial(0)._repr_html_()
    report = study.report()
    assert str(report).startswith(f"Best: trial {study.best.number}")  # type: ignore[union-attr]
    assert report._repr_html_().startswith("<iframe srcdoc=")


@pytest.mark.slow
def test_rows_are_predicted_as_they_are_in_the_table(study: tuner.Study) -> None:
    predict = study.predictor()
    rows = frame()
    found = predict(rows)
    assert found.index.equals(rows.index)
    assert set(found["class"]) == {1, 2}
    assert np.mean(found["class"] == rows.kind) > 0.6
    without = predict(rows.drop(columns="kind").head(2).to_dict("records"))
    assert without.to_numpy().tolist() == found.head(2).to_numpy().tolist()
    with pytest.raises(tuner.TunerError, match="has no column a"):
        predict(rows.drop(columns="a"))


@pytest.mark.slow
def test_the_same_call_trains_nothing_more_and_a_study_is_opened_by_its_name(study: tuner.Study) -> None:
    results = study.paths.folder.parent
    opened = tuner.open_study("table", results=results)
    assert opened.leaderboard().equals(study.leaderboard())
    assert opened.predictor()(frame().head(1)).equals(study.predictor()(frame().head(1)))
    with pytest.raises(StudyNotFoundError, match="Did you mean table"):
        tuner.open_study("tabel", results=results)


SCRIPT = """
import torch
import tuner
WIDTH = 8
def hidden(size):
    return torch.nn.Linear(size, WIDTH)
def build(params, data):
    return torch.nn.Sequential(torch.nn.Flatten(), hidden(64), torch.nn.Linear(WIDTH, data.num_outputs))
sweep = {"study": "mine", "data": {"source": "sklearn/digits"}, "training": {"epochs": 100_000},
         "space": {"learning_rate": {"low": 1e-3, "high": 1.0}}, "search": {"trials": 1}, "baselines": "off"}
try:
    tuner.run(sweep, model=build, workers=1)
except KeyboardInterrupt as interrupt:
    print("interrupted:", interrupt)
    raise
"""


@pytest.mark.deep
def test_a_script_without_a_guard_gives_its_own_functions_and_is_interrupted_cleanly(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    first = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    told = tmp_path / "results" / "mine" / "trials.told"
    while first.poll() is None and not (told.is_file() and told.read_bytes()):
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=300)[0]
    assert "interrupted: mine is interrupted, with everything kept" in said
    assert first.returncode == -signal.SIGINT
    assert tuner.open_study("mine", results=tmp_path / "results").trial(0).state == "paused"


@pytest.mark.slow
def test_a_sweep_is_tracked_while_it_runs_and_when_it_is_gone_on_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.track.beside._LAST_SECONDS", 600.0)  # however busy the machine is
    monkeypatch.setattr("tuner.track.beside._LAST_SILENT_SECONDS", 600.0)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sweep = {"study": "mine", "data": {"target": "kind", "task": "classification"}, "training": {"epochs": 2}}
    for trials in (1, 2):
        study = tuner.run(
            sweep, data=frame(), trials=trials, track=["tensorboard"], engine="inline", results=tmp_path, quiet=True
        )
    assert caplog.messages == []
    runs = tmp_path / "mine" / "trackers" / "tensorboard"
    for trial in (0, 1):
        found = EventAccumulator(str(runs / f"trial-{trial:04d}")).Reload()
        curve = study.trial(trial).curve()
        metric = next(tag for tag in found.Tags()["scalars"] if tag.startswith("dev/") and tag != "dev/loss")
        assert [e.value for e in found.Scalars(metric)] == pytest.approx(list(curve["dev_metric"]))
