"""Whole sweeps of the user's own training code, and what each command says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tuner.cli.main import run_command_line
from tuner.errors import FailureLimitError
from tuner.records import TrialRecord, TrialState
from tuner.sweep.failures import FailureCount

pytestmark = pytest.mark.usefixtures("quick_apart")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def small(name: str, folder: Path) -> Path:
    """A shipped sweep with few trials of few epochs, where it finds what it names."""
    text = (ROOT / "sweeps" / f"{name}.yaml").read_text()
    text = text.replace("../examples", str(ROOT / "examples"))
    text = re.sub(r"trials: \d+", "trials: 4", re.sub(r"epochs: \d+", "epochs: 4", text))
    (folder / f"{name}.yaml").write_text(re.sub(r"count: \d, seeds: \d", "count: 1, seeds: 1", text))
    return folder / f"{name}.yaml"


@pytest.mark.slow
def test_a_sweep_of_a_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = str(small("command", folder))
    assert run_command_line(["run", sweep, "--engine", "inline", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert len(rows) == 4
    best = rows[0]
    assert best["dev_accuracy"] > 0.5
    # Everything that one can ask of a study is answered, or refused with the reason.
    for arguments in (["status"], ["report"], ["best"], ["compare", "command"]):
        assert run_command_line([arguments[0], "command", *arguments[1:]]) == 0
    assert "checkpoint: " in capsys.readouterr().out
    assert run_command_line(["show", "command", str(best["trial"])]) == 0
    assert run_command_line(["logs", "command", str(best["trial"])]) == 0
    assert '"train_accuracy"' in capsys.readouterr().out
    assert run_command_line(["test", "command"]) == 2
    assert "trained by your own command, which has its own test data" in capsys.readouterr().err
    assert run_command_line(["best", "command", "--weights"]) == 1
    assert "was trained by your own code; what that keeps is in" in capsys.readouterr().err
    kept = list((folder / "results" / "command" / "trials").glob("*/checkpoint/digits.npz"))
    assert kept
    assert not list((folder / "results" / "command" / "trials").glob("*/progress.json"))
    # The winner again, from the file that is written for it: same seed, same score.
    again = str(folder / "results" / "command" / "best" / "sweep.yaml")
    assert run_command_line(["run", again, "--engine", "inline", "-q", "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["trials"][0]
    assert chosen["dev_accuracy"] == best["dev_accuracy"]


@pytest.mark.deep
@pytest.mark.parametrize("script", ["loop", "hugging_face", "with_lightning"])
def test_a_sweep_of_an_example_that_reports_with_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], script: str
) -> None:
    package = {"loop": "torch", "hugging_face": "transformers", "with_lightning": "lightning"}[script]
    pytest.importorskip(package, reason=f"{package} is not installed")
    text = (ROOT / "examples" / "scripts" / f"{script}.yaml").read_text()
    text = text.replace("python ", f"python {ROOT}/examples/scripts/")
    Path("s.yaml").write_text(re.sub(r"trials: \d+", "trials: 2", text) + "finalists: {count: 1, seeds: 1}\n")
    assert run_command_line(["run", "s.yaml", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert len(rows) == 2
    assert all(row["dev_accuracy"] > 0 for row in rows)
    assert rows[0]["epochs"] == int(re.findall(r"epochs: (\d+)", text)[0])


@pytest.mark.slow
def test_a_rehearsal_of_a_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = small("command", folder)
    assert run_command_line(["check", str(sweep)]) == 0
    said = capsys.readouterr().out
    assert "ok   reports: epoch 1 has accuracy 0." in said
    assert "ok   goes on after a pause: yes, with epoch 2" in said
    assert re.search(
        r"plan: 4 trials: 4 cohorts, widest 1, on \d+ cpu workers?\ntime: (about \d+ s|under 1 s): start", said
    )
    assert re.search(r"^memory: needs about \d\.\d GB with \d+ workers?", said, re.MULTILINE)


@pytest.mark.slow
def test_a_rehearsal_says_what_a_script_does_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.py").write_text("print('epoch=0 accuracy=0.5')\n")
    Path("s.yaml").write_text(
        "study: s\ncommand: python -S t.py {learning_rate}\nobjective: {metric: accuracy}\nspace: {learning_rate: {}}\n"
    )
    assert run_command_line(["check", "s.yaml"]) == 1
    assert (
        "FAIL reports: the command ended one epoch early, and its first report was epoch 0, which stands for the "
        "network before training; epochs count from 1, the number of finished ones: report epoch + 1\n"
        in capsys.readouterr().out
    )
    Path("t.py").unlink()
    assert run_command_line(["check", "s.yaml"]) == 6
    assert f"command: there is no file t.py in {folder}, where the command runs" in capsys.readouterr().err


UNAWARE = """
import sys, time
print("started")
for epoch in range(1, 7):
    time.sleep(0.2)
    print(f"epoch={epoch} accuracy={epoch / 10}" if sys.argv[1] == "reports" else f"epoch {epoch}: 0.5", flush=True)
"""


def unaware(what: str) -> str:
    """The sweep file of a script that knows of no pause."""
    Path("t.py").write_text(UNAWARE)
    Path("s.yaml").write_text(
        f"study: s\ncommand: python -S t.py {what} {{learning_rate}}\nobjective: {{metric: accuracy}}\n"
        "space: {learning_rate: {}}\ntraining: {epochs: 6}\nsearch: {trials: 9}\n"
    )
    return "s.yaml"


@pytest.mark.slow
def test_a_rehearsal_says_that_a_script_is_kept_stopped(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["check", unaware("reports"), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"ok   goes on after a pause: yes, with epoch \d: its process is kept stopped", said)
    found = re.search(r"on 1 cpu worker\n.*training of (\d+) epochs (\d+) s", said)
    assert found is not None
    assert int(found[2]) >= int(found[1]) * 0.2 - 1


@pytest.mark.slow
def test_a_script_that_nobody_edits_is_read_as_check_proposes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.py").write_text(UNAWARE.replace("epoch {epoch}: 0.5", "epoch {epoch} | valid acc {epoch / 10:.2f} |"))
    Path("s.yaml").write_text(
        "study: s\ncommand: python -S t.py words {learning_rate}\nobjective: {metric: val_accuracy}\n"
        "space: {learning_rate: {}}\ntraining: {epochs: 6}\nsearch: {trials: 2}\n"
    )
    assert run_command_line(["check", "s.yaml"]) == 1
    found = re.search(r"try (reports: .*)\n", capsys.readouterr().out)
    assert found is not None
    Path("s.yaml").write_text(f"{Path('s.yaml').read_text()}{found[1]}\n")
    assert run_command_line(["run", "s.yaml", "--engine", "inline", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert [(row["epochs"], row["dev_val_accuracy"]) for row in rows] == [(6, 0.6), (6, 0.6)]


LOGS = """
import csv, pathlib, sys
folder, rate = pathlib.Path(sys.argv[2]), float(sys.argv[3])
if sys.argv[1] == "tensorboard":
    from torch.utils.tensorboard import SummaryWriter
    writer = SummaryWriter(folder)
for epoch in range(1, 4):
    loss = rate / epoch
    if sys.argv[1] == "tensorboard":
        writer.add_scalar("val/loss", loss, epoch * 250)
        writer.flush()
    else:
        with (folder / "summary.csv").open("a", newline="") as file:
            rows = [["epoch", "train_loss", "eval_loss"]] if epoch == 1 else []
            csv.writer(file).writerows([*rows, [epoch - 1, 0.1, loss]])
"""


@pytest.mark.deep
@pytest.mark.parametrize(
    ("logs", "reports"),
    [
        ("csv", '{csv: "{checkpoint_dir}/summary.csv", column: eval_loss, first: 0}'),
        ("tensorboard", '{tensorboard: "{checkpoint_dir}", tag: val/loss, every: 250}'),
    ],
)
def test_a_whole_sweep_is_read_from_the_files_that_a_script_logs_to(
    folder: Path, capsys: pytest.CaptureFixture[str], logs: str, reports: str
) -> None:
    pytest.importorskip(logs, reason=f"{logs} is not installed")
    Path("t.py").write_text(LOGS)
    Path("s.yaml").write_text(
        f"study: s\ncommand: python t.py {logs} {{checkpoint_dir}} {{learning_rate}}\nreports: {reports}\n"
        "objective: {metric: val_loss}\nspace: {learning_rate: {}}\ntraining: {epochs: 3}\nsearch: {trials: 4}\n"
    )
    assert run_command_line(["run", "s.yaml", "--engine", "inline", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert (len(rows), rows[0]["epochs"]) == (4, 3)
    assert [row["dev_val_loss"] for row in rows] == pytest.approx(
        [row["learning_rate"] / row["epochs"] for row in rows]
    )


@pytest.mark.slow
def test_the_first_trial_that_ends_without_a_report_stops_the_sweep(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["run", unaware("nothing"), "--engine", "inline"]) == 7
    said = capsys.readouterr().err
    assert re.search(r"trial 0 failed: dev -, 0 epochs, [1-9]\d*\.\d s \(no report: the command ended", said)
    assert "in vain, so the sweep was stopped: no report: the command ended without a report" in said
    assert len(list((folder / "results" / "s" / "trials").iterdir())) == 1


def test_where_others_report_a_trial_that_does_not_is_a_failure_like_any_other() -> None:
    silent = TrialRecord(number=3, params={}, seed=0, state=TrialState.FAILED, reason="no report: it was silent")
    failures = FailureCount(limit=3)
    failures.anything_reported = True
    failures.add(silent)
    failures.anything_reported = False
    with pytest.raises(FailureLimitError, match="trial 3 has trained for"):
        failures.add(silent)


@pytest.mark.slow
def test_a_sweep_of_a_training_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = str(small("trainer", folder))
    assert run_command_line(["run", sweep, "--engine", "inline", "-q", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["trials"]
    assert len(rows) == 4
    assert rows[0]["dev_accuracy"] > 0.5
    assert run_command_line(["report", "trainer"]) == 0
    assert run_command_line(["test", "trainer"]) == 2
    assert "trained by your own trainer, which has its own test data" in capsys.readouterr().err
    again = str(folder / "results" / "trainer" / "best" / "sweep.yaml")
    assert run_command_line(["run", again, "--engine", "inline", "-q", "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["trials"][0]
    assert chosen["dev_accuracy"] == rows[0]["dev_accuracy"]


@pytest.mark.slow
def test_a_rehearsal_of_a_training_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["check", str(small("trainer", folder))]) == 0
    said = capsys.readouterr().out
    assert "data: classification, 107 train, 36 dev, 35 test examples of 13, 3 outputs" in said
    assert "ok   goes on after a pause: yes, with epoch 2" in said


def test_a_rehearsal_says_what_keeps_a_network_from_being_trained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.py").write_text("from torch import nn\ndef make(params, data):\n    return nn.Linear(13, 5)\n")
    Path("s.yaml").write_text("study: s\ndata: {source: sklearn/wine}\nmodel: net.py:make\n")
    assert run_command_line(["check", "s.yaml"]) == 6
    said = "net.py:make gives outputs of shape (4, 5) for 4 examples; give a logit for each class or label: (4, 3)"
    assert capsys.readouterr().err == f"error: {said}\n"
