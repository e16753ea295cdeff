"""Code that is changed between two runs is said, and each trial keeps the versions that it was trained by."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.code import versions_of
from tuner.report.summary import summarise
from tuner.store.reader import read_study
from tuner.store.study_data import StudyData

REPORT = "print('epoch=1 accuracy=0.5')"
COMMAND = """
study: s
command: python -S train.py {learning_rate}
objective: {metric: accuracy}
space: {learning_rate: {low: 0.1, high: 1.0}}
training: {epochs: 1}
search: {trials: 2, strategy: random, pruner: none}
finalists: {count: 1, seeds: 1}
"""
NETWORK = """
study: s
data: {source: sklearn/iris}
model: net.py:build
training: {epochs: 1, batch_size: 32}
space: {learning_rate: {low: 1e-3, high: 1e-1}}
search: {trials: 1, strategy: random}
"""
BUILD = """
from torch import nn
def build(params, data):
    from helper import bias
    return nn.Linear(4, data.num_outputs, bias=bias)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def study() -> StudyData:
    return read_study(StudyPaths(Path("results/s").resolve()), study="s")


@pytest.mark.slow
def test_a_script_or_its_helper_that_changed_is_said_and_kept_by_its_trials(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(COMMAND)
    Path("train.py").write_text(f"import helper\n{REPORT}\n")
    Path("helper.py").write_text("a = 1\n")
    run: list[Any] = ["run", "s.yaml", "--engine", "inline", "-q"]
    assert run_command_line(run) == 0
    assert run_command_line([*run, "-n", "3"]) == 0
    assert "has changed" not in caplog.text
    assert not summarise(Analysis(study(), None)).warnings
    Path("helper.py").write_text("a = 2\n")
    with caplog.at_level(logging.WARNING):
        assert run_command_line([*run, "-n", "4"]) == 0
    assert "since this study was run last, your code has changed (helper.py); trials from now on" in caplog.text
    found = study()
    first, *_, last = (versions_of(found, record) for record in found.records)
    assert len(first) == len(last) == 1
    assert {frozenset(files) for one in (first, last) for files in one.values()} == {
        frozenset({"helper.py", "train.py"})
    }
    assert [versions_of(found, record) == first for record in found.records] == [True, True, True, False]
    assert found.finalists
    assert versions_of(found, found.finalists[0])
    (warning,) = summarise(Analysis(found, None)).warnings
    old, new = next(iter(first)), next(iter(last))
    assert warning == (
        "Your code changed between trials (helper.py), which may not be comparable: "
        f"3 trials (from 0 to 2) by {old}; 1 trial (3) by {new}."
    )
    capsys.readouterr()
    assert run_command_line(["show", "s", "3"]) == 0
    assert f"code             {new}: helper.py {last[new]['helper.py'][:12]}, train.py" in capsys.readouterr().out
    assert run_command_line(["show", "s", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == first


@pytest.mark.slow
@pytest.mark.usefixtures("quick_apart")
def test_a_helper_of_the_model_that_changed_is_said(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("s.yaml").write_text(NETWORK)
    Path("net.py").write_text(BUILD)
    Path("helper.py").write_text("bias = True\n")
    assert run_command_line(["run", "s.yaml", "--workers", "1", "-q"]) == 0
    Path("helper.py").write_text("bias = bool(1)\n")
    assert run_command_line(["best", "s.yaml", "--verify"]) == 0
    assert (
        "your code has changed since trial 0 was trained (helper.py): the figure is of the code"
        in capsys.readouterr().err
    )
    assert run_command_line(["run", "s.yaml", "--workers", "1", "-q", "-n", "2"]) == 0
    assert "your code has changed (helper.py)" in caplog.text
    versions = [record.facts["code"] for record in study().records]
    assert len(versions) == 2
    assert versions[0] != versions[1]


@pytest.mark.deep
def test_a_model_that_no_longer_fits_its_weights_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    Path("s.yaml").write_text(NETWORK)
    Path("net.py").write_text(BUILD)
    Path("helper.py").write_text("bias = True\n")
    assert run_command_line(["run", "s.yaml", "--engine", "inline", "-q"]) == 0
    capfd.readouterr()
    for what, built, code, said in (
        ("--verify", "nn.Linear(4, data.num_outputs, bias=False)", 5, "weights of another network (Unexpected key"),
        ("--export=1", "nn.Sequential(nn.Linear(4, data.num_outputs))", 5, "weights.pt has the weights of another"),
        ("--verify", "params['gone']", 1, "failed: KeyError: 'gone' ("),
        ("--export=2", "__import__('os').abort()", 1, "was killed by SIGABRT"),
    ):
        Path("net.py").write_text(
            f"from torch import nn\nprint('loading')\ndef build(params, data):\n    return {built}\n"
        )
        assert run_command_line(["best", "s.yaml", what]) == code
        out, err = capfd.readouterr()
        assert said in err
        assert "Traceback" not in err
        assert "loading" not in out
