"""`tuner predict` in a terminal: the winner's predictions of new rows, and which weights gave them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tuner
from tuner.cli.main import run_command_line

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_apart")]

SWEEP = """
study: points
data: {source: table.csv, target: kind, split: {train: 0.6, dev: 0.2, test: 0.2}}
model: mlp
training: {epochs: 2, batch_size: 16}
search: {trials: 2, strategy: random, pruner: none}
baselines: off
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    numbers = np.random.default_rng(0).normal(size=(200, 3)).round(3)
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    frame.assign(kind=np.where(numbers[:, 0] > 0, "up", "down")).to_csv("table.csv", index=False)
    Path("sweep.yaml").write_text(SWEEP)
    return tmp_path


def test_new_rows_are_predicted_by_the_winner_or_another_trial(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    capsys.readouterr()
    assert run_command_line(["predict", "points", "table.csv", "--keep", "kind"]) == 0
    printed = capsys.readouterr()
    found = pd.read_csv(io.StringIO(printed.out))
    assert list(found) == ["kind", "class", "down", "up"]
    assert (found["class"] == found["kind"]).mean() > 0.6
    assert "predicted by trial " in printed.err
    assert "(best dev accuracy of the finished trials): dev accuracy " in printed.err
    assert run_command_line(["predict", "points", "table.csv", "--trial", "0", "-o", "out.csv"]) == 0
    assert "predicted by trial 0 (asked for by its number)" in capsys.readouterr().err
    assert len(pd.read_csv("out.csv")) == 200
    assert run_command_line(["predict", "points", "table.csv", "-o", "out.csv"]) == 2
    assert run_command_line(["predict", "points", "table.csv", "--trial", "1", "-o", "1.csv"]) == 0
    capsys.readouterr()
    assert run_command_line(["predict", "points", "table.csv", "--average", "2", "-o", "mean.csv"]) == 0
    assert ", the 2 best: the first alone has dev accuracy " in capsys.readouterr().err
    one, other, mean = (pd.read_csv(file) for file in ("out.csv", "1.csv", "mean.csv"))
    assert not np.allclose(one["up"], other["up"], atol=1e-4)
    np.testing.assert_allclose(mean["up"], (one["up"] + other["up"]) / 2, atol=1e-6)
    assert run_command_line(["best", "points", "--export", "winners", "--average", "2", "--verify"]) == 0
    said_of_export = capsys.readouterr().err
    assert "it predicts by the mean of trials " in said_of_export
    assert "verified: winners scores dev accuracy " in said_of_export
    for arguments in (["--average", "2"], ["--average", "2", "--export", "w.safetensors"]):
        assert run_command_line(["best", "points", *arguments]) == 2
        assert "--average is for an export that predicts" in capsys.readouterr().err
    assert run_command_line(["predict", "points", "table.csv", "--threshold", "0.8", "-o", "sure.csv"]) == 0
    sure = pd.read_csv("sure.csv")
    assert ((sure["class"] == "up") == (sure["up"] >= 0.8)).all()
    assert 0 < (sure["class"] == "up").sum() < (sure["up"] > 0.5).sum()
    assert (
        tuner.open_study("points").predictor()(pd.read_csv("table.csv"), threshold=0.8)["class"].equals(sure["class"])
    )
    capsys.readouterr()
    for wrong, said in (
        (["--average", "3"], "points has 2 finished trials that may be averaged"),
        (["--average", "2", "--trial", "0"], "leave --trial out"),
    ):
        assert run_command_line(["predict", "points", "table.csv", *wrong]) == 2
        assert said in capsys.readouterr().err
    kept = Path("results", "points", "trials", "0001", "weights.pt")
    kept.rename("elsewhere")
    assert run_command_line(["predict", "points", "table.csv", "--average", "2"]) == 1
    assert "the weights of trial 1 are not stored" in capsys.readouterr().err
    Path("elsewhere").rename(kept)
    assert run_command_line(["test", "points", "--average", "2"]) == 0
    opened = capsys.readouterr().out
    assert "On the test set: the mean of the predictions of trials " in opened
    assert run_command_line(["test", "points", "--average", "2"]) == 0
    assert capsys.readouterr().out == opened
    Path("new.csv").write_text("a,b\n1,2\n")
    assert run_command_line(["predict", "points", "new.csv", "-o", "other.csv"]) == 3
    assert "error: new.csv has no column c, which the network was trained with" in capsys.readouterr().err
    assert not Path("other.csv").exists()


def test_where_the_answer_is_an_average_all_commands_go_by_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sweep.yaml").write_text(SWEEP + "answer: average\n")
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    assert "answer: the mean of trials " in capsys.readouterr().err
    for file, options in (("mean.csv", []), ("winner.csv", ["--average", "1"]), ("one.csv", ["--trial", "0"])):
        assert run_command_line(["predict", "points", "table.csv", "-o", file, *options]) == 0
        assert ("predicted by the mean of trials " in capsys.readouterr().err) == (file == "mean.csv")
    assert run_command_line(["predict", "points", "table.csv", "-o", "other.csv", "--trial", "1"]) == 0
    mean, winner, one, other = (pd.read_csv(f)["up"] for f in ("mean.csv", "winner.csv", "one.csv", "other.csv"))
    np.testing.assert_allclose(mean, (one + other) / 2, atol=1e-6)
    assert winner.equals(one) != winner.equals(other)
    predictor = tuner.open_study("points")
    assert sorted(trial.number for trial in predictor.answer) == [0, 1]
    found = predictor.predictor()(pd.read_csv("table.csv"))
    np.testing.assert_allclose(found["up"], mean, atol=1e-6)
    capsys.readouterr()
    assert run_command_line(["best", "points", "--format", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["answer"].startswith("the mean of trials ")
    assert 0 < said["dev_accuracy_of_answer"] <= 1
    assert run_command_line(["best", "points", "--trial", "0", "--format", "json"]) == 0
    assert "answer" not in json.loads(capsys.readouterr().out)
    assert run_command_line(["best", "points", "--export", "ours", "--verify"]) == 0
    assert "it predicts by the mean of trials " in capsys.readouterr().err
    assert run_command_line(["test", "points"]) == 0
    opened = capsys.readouterr().out
    assert "40 examples, the mean of trials " in opened
    assert "On the test set: the mean of the predictions of trials " in opened
    assert run_command_line(["status", "points"]) == 0
    assert " accuracy, the mean of trials " in capsys.readouterr().out
    assert run_command_line(["report", "points"]) == 0
    assert "was not tested" not in capsys.readouterr().err
    Path("results", "points", "trials", "0000", "weights.pt").unlink()
    assert run_command_line(["predict", "points", "table.csv"]) in (1, 2)
    assert "weights" in capsys.readouterr().err


def test_the_winner_is_trained_again_on_train_and_dev_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    assert run_command_line(["predict", "points", "table.csv", "--refit"]) == 1
    assert "nothing of points has been trained on train and dev yet; that does: tuner best points --refit\n" in (
        capsys.readouterr().err
    )
    assert run_command_line(["best", "points", "--refit", "--verify"]) == 2
    assert run_command_line(["best", "points", "--refit", "--export", "winner.safetensors", "--verify"]) == 0
    said = capsys.readouterr()
    assert "again on train + dev, for " in said.err
    assert "verified: winner.safetensors answers as its network" in said.err
    assert "trained again on train + dev, 160 examples, for " in said.err
    assert "no examples are left to score these weights: dev accuracy " in said.err
    refit = Path("results", "points", "refit")
    assert sorted(file.name for file in refit.iterdir()) == ["refit.json", "weights.pt"]
    written = (refit / "weights.pt").stat().st_mtime_ns
    assert run_command_line(["best", "points", "--refit", "--weights"]) == 0
    assert capsys.readouterr().out.strip() == str(refit.resolve() / "weights.pt")
    assert (refit / "weights.pt").stat().st_mtime_ns == written
    for arguments in (["-o", "whole.csv", "--refit"], ["-o", "part.csv"]):
        assert run_command_line(["predict", "points", "table.csv", *arguments]) == 0
    whole, part = pd.read_csv("whole.csv"), pd.read_csv("part.csv")
    assert not np.allclose(whole["up"], part["up"], atol=1e-4)
    other = next(n for n in (0, 1) if f"trial {n} again" not in said.err)
    assert run_command_line(["predict", "points", "table.csv", "--refit", "--trial", str(other)]) == 1
    assert (
        f"not trial {other}; that trains this one: tuner best points --refit --trial {other}\n"
        in capsys.readouterr().err
    )


def test_passes_with_dropout_on_are_averaged_if_the_network_has_some(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sweep.yaml").write_text(SWEEP + "space: {dropout: {choices: [0.0, 0.4]}}\n")
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q", "--trials", "6"]) == 0
    capsys.readouterr()
    assert run_command_line(["report", "points", "--format", "csv", "--columns", "trial,dropout"]) == 0
    rates = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("trial")["dropout"]
    without, having = (str(rates.index[rates == rate][0]) for rate in (0.0, 0.4))
    arguments = ["predict", "points", "table.csv", "--monte-carlo-passes", "3", "--trial"]
    assert run_command_line([*arguments, without]) == 2
    assert "the trial's network has no dropout, so that all passes are alike" in capsys.readouterr().err
    assert run_command_line([*arguments, having]) == 0
    printed = capsys.readouterr()
    assert "without Monte Carlo dropout; the predictions are the mean of 3 passes with it" in printed.err
    assert run_command_line(["predict", "points", "table.csv", "--trial", having]) == 0
    mean, usual = (pd.read_csv(io.StringIO(text))["up"] for text in (printed.out, capsys.readouterr().out))
    assert not mean.equals(usual)
    assert np.corrcoef(mean, usual)[0, 1] > 0.5
