"""The command that goes on with a run: complete, quoted, without what is done once and without passwords."""

from __future__ import annotations

import shlex

import pytest

from tuner.cli.command_line import command_to_go_on, say_how_to_go_on
from tuner.cli.main import run_command_line


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "sweep.yaml"],
        ["run", "my sweeps/größe.yaml", "-n", "8", "--set", "space.learning_rate={low: 1e-3, high: 1}"],
        ["run", "s.yaml", "--results", "it's here", "--store", "sqlite:///a b.db", "--seed", "3", "--time", "2h"],
        ["--debug", "confirm", "digits", "--seeds", "5"],
    ],
)
def test_a_shell_reads_the_same_arguments_again(arguments: list[str]) -> None:
    assert shlex.split(command_to_go_on(arguments)) == ["tuner", *arguments]


@pytest.mark.parametrize("flag", ["--fresh", "--retry-failed"])
def test_what_is_done_once_is_not_done_over_again(flag: str) -> None:
    assert command_to_go_on(["run", "s.yaml", flag, "-n", "8"]) == "tuner run s.yaml -n 8"


@pytest.mark.parametrize("url", ["postgresql://me:hu/sh@host/db", "postgresql://host/db?user=me&password=hu/sh"])
def test_a_password_is_not_said_but_that_there_is_one(url: str) -> None:
    command = command_to_go_on(["run", "s.yaml", "--store", url])
    assert shlex.split(command)[-1] == url.replace("hu/sh", "***")
    assert say_how_to_go_on(command, why="interrupted").endswith(f"{command}   (with the password in the place of ***)")
    assert "***" not in say_how_to_go_on("tuner run s.yaml", why="out of time")


@pytest.mark.parametrize("error", [MemoryError(), ImportError("x.so: failed to map segment from shared object")])
def test_too_little_memory_is_said_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("tuner.cli.main.cli.main", fail)
    assert run_command_line(["status", "study"]) == 1
    said = capsys.readouterr().err
    assert "there is not enough memory" in said
    assert len(said.splitlines()) == 1
