"""Every message of `wrong_files.txt`, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.helpers import errors_of
from tuner.cli.main import run_command_line

TABLE = Path(__file__).with_name("wrong_files.txt").read_text().split("====\n")[1:]
CASES = [tuple(case.split("!\n")) for case in TABLE]


def test_the_table_is_large_enough() -> None:
    assert len(CASES) >= 100
    assert len({text for text, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("text", "messages"), CASES, ids=[messages.split(": ")[1] for _, messages in CASES])
def test_messages(text: str, messages: str) -> None:
    assert errors_of(text) == messages.splitlines()


@pytest.mark.parametrize("case", [0, 20, 60])
def test_a_command_ends_with_the_messages_and_exit_code_3(
    case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, messages = CASES[case]
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(text)
    assert run_command_line(["run", "s.yaml"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: {messages}"


def test_problems_of_all_blocks_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = """\
study: bad/name
finalists: {count: 0}
training: {epoch: 3, optimizer: adm, momentum: 2}
space:
  learning_rate: {low: 1, high: 0.1}
  beta1: {}
  hiden_units: {}
  dropout: {low: no, high: .5, when: {nesterov: 1}}
search: {start: [{lr: 1}, {dropout: x}]}
"""
    places = [line.split(": ")[0].removeprefix("s.yaml:") for line in errors_of(text)]
    assert places == ["1:1", "1:8", "2:20", "3:12", "3:33", "3:48", "5:24", "7:3", "8:18", "8:39", "9:19"]
    lines = [int(place.split(":")[0]) for place in places]
    assert lines == sorted(lines)


def test_of_very_many_problems_the_first_fifty_are_shown() -> None:
    errors = errors_of("study: s\ndata: {source: a}\n" + "".join(f"key{i}: 1\n" for i in range(80)))
    assert len(errors) == 51
    assert errors[0].startswith("s.yaml:3:1: key0")
    assert errors[-1] == "... and 30 more problems"


def test_hostile_names_are_printed_on_one_line_without_control_characters() -> None:
    errors = errors_of(
        'study: s\ndata: {source: a}\n"\\e[31mred\\nnext": 1\nmodel: "\\u202emlp"\n' + f"{'x' * 200}: 1\n"
    )
    assert len(errors) == 3
    for error in errors:
        assert error.isprintable()
        assert len(error) < 400
