"""A sweep file out of a training script's own options."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.cli.main import run_command_line
from tuner.errors import UserCodeError
from tuner.spec.edit.command_starter import Option, command_starter
from tuner.spec.reader import parse_sweep
from tuner.train.own.options import options_of

OPTIONS = [
    Option(flag="--lr", name="lr", default=0.05),
    Option(flag="--batch-size", name="batch_size", default=20),
    Option(flag="--nhid", name="nhid", default=200),
    Option(flag="--emsize", name="emsize", default=200),
    Option(flag="--optimizer", name="optimizer", default="adam", choices=("sgd", "adam")),
    Option(flag="--epochs", name="epochs", default=40),
    Option(flag="--seed", name="seed", default=1),
    Option(flag="--log-interval", name="log_interval", default=200),
    Option(flag="--cuda", name="cuda", default=False, is_switch=True),
    Option(flag="--data", name="data", default="./data"),
    Option(flag="--clip", name="clip", default=0.25),
]

SCRIPT = """
import argparse
print("imported")
p = argparse.ArgumentParser()
p.add_argument("corpus")
p.add_argument("-l", "--lr", type=float, default=20, metavar="RATE")
p.add_argument("--kind", choices=["lstm", "gru"], default="lstm")
p.add_argument("--amp", action="store_true")
p.parse_args()
raise SystemExit("it was run")
"""


def test_options_become_hyperparameters_with_what_their_names_say() -> None:
    text = command_starter("python t.py --clip 0.5 {x}", OPTIONS, file="s.yaml", study="s")
    assert text is not None
    spec, _ = parse_sweep(text, name="s.yaml", root=Path())
    assert spec.command == (
        "python t.py --clip 0.5 {{x}} --lr {learning_rate} --batch-size {batch_size} --nhid {hidden_units} "
        "--emsize {emsize} --optimizer {optimizer} --epochs {epochs} --seed {seed}"
    )
    assert spec.training.epochs == 40
    assert spec.space is not None
    assert spec.space["learning_rate"].default == 0.05
    assert 20 in (spec.space["batch_size"].choices or [])
    assert (spec.space["emsize"].low, spec.space["emsize"].high, spec.space["emsize"].tier) == (50, 800, 2)
    assert spec.space["optimizer"].choices == ["sgd", "adam"]
    assert spec.space["optimizer"].default == "adam", "what the script does by itself is tried first"
    assert "# Options that are not searched: --log-interval (200), --cuda (False), --data (./data)\n" in text


def test_without_a_number_or_a_choice_there_is_no_sweep_file() -> None:
    assert command_starter("python t.py", [OPTIONS[5], OPTIONS[8]], file="s.yaml", study="s") is None


@pytest.mark.slow
def test_a_script_is_asked_for_its_options_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(SCRIPT)
    found = options_of("python t.py corpus.txt", folder=tmp_path)
    assert found == [
        Option(flag="--lr", name="lr", default=20.0),
        Option(flag="--kind", name="kind", default="lstm", choices=("lstm", "gru")),
        Option(flag="--amp", name="amp", default=False, is_switch=True),
    ]
    assert options_of("python -m t corpus.txt", folder=tmp_path) == found


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("python nowhere.py", "there is no file nowhere.py in"),
        ("make train", "must be `python SCRIPT` or `python -m MODULE`, got make train"),
        ("python 't.py", "cannot be split into arguments"),
    ],
)
def test_what_is_no_script_is_said(command: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserCodeError, match=said):
        options_of(command, folder=tmp_path)


@pytest.mark.slow
def test_a_script_without_a_parser_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.py").write_text("raise SystemExit('no corpus')")
    assert run_command_line(["init", "--command", "python t.py"]) == 6
    assert (
        "python t.py parses no options by argparse (no corpus); write the sweep file by hand" in capsys.readouterr().err
    )
    assert run_command_line(["init", "--command", "python t.py", "--model", "cnn"]) == 2
    assert not Path("sweep.yaml").exists()
