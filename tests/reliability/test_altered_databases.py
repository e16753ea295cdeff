"""A database with any of its values altered: one line, with the file and the cause, or the command as ever."""

from __future__ import annotations

import io
import random
import sqlite3
import traceback
from collections.abc import Sequence
from contextlib import closing, redirect_stderr, redirect_stdout
from itertools import cycle
from pathlib import Path

import pytest

from tests.contracts.store_contract import train
from tests.reliability.alterations import Alteration, alterations, without_rules
from tuner.cli.main import run_command_line
from tuner.errors import StorageError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialFinished
from tuner.spec.defaults import build_space
from tuner.spec.kept.space_values import space_to_json
from tuner.spec.reader import parse_sweep
from tuner.store.optuna_store import open_store
from tuner.store.reader import read_study
from tuner.store.study_data import StudyData

NUM_TRIED = 400
"""At least, of some ten thousand alterations."""
SWEEP = """
study: study
data: {source: sklearn/digits}
space:
  learning_rate: {low: 1e-4, high: 1.0}
  hidden_units: {low: 16, high: 64}
  activation: {choices: [relu, tanh]}
  dropout: {low: 0.0, high: 0.5, when: {activation: [relu]}}
objective: {metric: accuracy, target_error: 0.02}
training: {epochs: 3}
search: {trials: 6}
finalists: {count: 2, seeds: 2}
"""
DATA = {
    "task": "classification", "input_shape": [1, 8, 8], "num_outputs": 10, "num_train": 100, "num_dev": 50,
    "num_test": 50, "folds": 0, "class_names": ["0", "1"], "sha256": "ab", "notes": ["a note"], "train_dev_auroc": 0.6,
}  # fmt: skip
TEST = {
    "value": 0.9, "interval": [0.8, 0.95], "examples": 50, "seconds": 1.0, "trial": 0, "params": {"learning_rate": 0.1},
    "why": "best", "at": "2026-01-31T12:30:05.000001+00:00",
}  # fmt: skip
COMMANDS = (
    ("status", "study"), ("status", "study", "--json"), ("report", "study"), ("report", "study", "--format", "json"),
    ("report", "study", "--format", "csv"), ("report", "study", "--format", "markdown"),
    ("report", "study", "-o", "report.parquet", "--format", "parquet"), ("best", "study"),
    ("best", "study", "--format", "json"), ("show", "study", "0"), ("show", "study", "0", "--json"),
    ("show", "study", "1", "--finalist"), ("logs", "study", "0"), ("compare", "study", "study:1"),
    ("compare", "study", "study", "--json"), ("refine", "study", "-o", "next.yaml", "--force"), ("doctor", "study"),
    ("test", "study"),
)  # fmt: skip
PAGE = ("report", "study", "--format", "html")
"""Which takes as long as all others."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database of a finished study of six trials and four re-trainings, without the rules of its schema."""
    paths = StudyPaths(tmp_path_factory.mktemp("sound") / "study")
    spec, _ = parse_sweep(SWEEP, name="sweep.yaml", root=paths.folder.parent)
    space = build_space(spec)
    facts = {
        "sweep": spec.model_dump(mode="json"), "root": str(paths.folder), "space": space_to_json(space), "data": DATA,
        "versions": {"torch": "2"}, "code_files": {"net.py": "ab"}, "code:1a2b3c4d": {"net.py": "ab"}, "weights": "",
        "command": "tuner run sweep.yaml", "tests": [TEST],
        "elapsed_seconds": 2.0,
    }  # fmt: skip
    for name, count in (("study", 6), ("study/finalists", 4)):
        with open_store(paths, study=name, direction=Direction.MAXIMIZE, metric="accuracy", space=space) as store:
            for key, value in facts.items() if name == "study" else ():
                store.set(key, value)
            for number in range(count):
                params = space.default() | {"learning_rate": 0.1 + 0.01 * number}
                known = {"repeat_of": number // 2} if name != "study" else {"dead_units": {"1": 0.1}}
                store.start([(params, 3, "all")], facts=[known | {"gradient_norms": {"1": 1.0, "2": 2.0}}])
                train(store, number, [0.5, 0.9 - 0.01 * number])
                store.record(TrialFinished(trial=number, reason="all epochs", facts={"objectives": {"parameters": 9}}))
    without_rules(paths.database)
    return paths.database.read_bytes()


@pytest.fixture
def altered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    monkeypatch.chdir(tmp_path)
    paths = StudyPaths(tmp_path / "results" / "study")
    paths.folder.mkdir(parents=True)
    return paths


def read(paths: StudyPaths) -> StudyData | None:
    """The study; None if it is refused, in one line that names the file."""
    try:
        return read_study(paths, study="study")
    except (StorageError, StudyNotFoundError) as error:
        said = str(error)
    assert str(paths.database) in said
    assert len(said.splitlines()) == 1
    assert len(said) < 1000
    return None


def command(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed to stderr."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")  # as the program itself opens it
    err = io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        return run_command_line(list(arguments)), err.getvalue()


@pytest.mark.parametrize(
    ("all_of_them", "commands_on"),
    [pytest.param(False, 5, marks=pytest.mark.slow), pytest.param(True, 3, marks=pytest.mark.deep)],
    ids=["some", "all"],
)
def test_an_altered_database_is_refused_in_one_line_or_read_as_ever(
    sound: bytes, altered: StudyPaths, all_of_them: bool, commands_on: int
) -> None:
    """Read each; on every so many of them, try another command."""
    altered.database.write_bytes(sound)
    every = list(alterations(altered.database, trials=(1, 8)))
    chosen = every if all_of_them else some_of_each_place(every, random.Random(0))
    assert len(chosen) >= NUM_TRIED
    refused, failed, commands = 0, [], cycle((*COMMANDS, PAGE) if all_of_them else COMMANDS)
    for count, alteration in enumerate(chosen):
        altered.database.write_bytes(sound)
        alteration.apply(altered.database)
        try:
            is_read = read(altered) is not None
            refused += not is_read
            if count % commands_on == 0:
                arguments = next(commands)
                is_unread = "trial_intermediate_values" in alteration.name  # which runs alone look at
                _try_command(arguments, is_read=None if is_unread else is_read)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            failed.append(f"{alteration.name}: {type(error).__name__} {error} ({place.filename}:{place.lineno})"[:1000])
    assert not failed, "\n".join(failed)
    assert len(chosen) / 4 < refused < len(chosen)


def some_of_each_place(every: Sequence[Alteration], rng: random.Random) -> list[Alteration]:
    """One of each column of each row, and of each hundred of them another one."""
    places: dict[str, list[Alteration]] = {}
    for alteration in every:
        places.setdefault(alteration.place, []).append(alteration)
    return [one for found in places.values() for one in rng.sample(found, 1 + len(found) // 100)]


def _try_command(arguments: Sequence[str], *, is_read: bool | None) -> None:
    """`is_read`: whether the study can be read; None where the command may not read what is altered."""
    code, said = command(*arguments)
    assert code in ((4, 5) if is_read is False else range(7)), (arguments, said)
    assert "Traceback" not in said
    assert "\x1b" not in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "cause"),
    [
        ("UPDATE study_user_attributes SET value_json = '{oops' WHERE key = 'sweep'", 'fact "sweep": it is not JSON'),
        ("UPDATE study_user_attributes SET value_json = '[[]]' WHERE key = 'space'", 'fact "space": it must be a list'),
        (
            "UPDATE study_user_attributes SET value_json = '{\"num_dev\": \"x\"}' WHERE key = 'data'",
            "data.num_dev",
        ),
        ("UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'tier' AND trial_id = 2", "trial 1: attri"),
        ("UPDATE study_user_attributes SET key = x'ff00' WHERE key = 'root'", "a fact's name must be text, got b'"),
        (
            "UPDATE study_user_attributes SET value_json = json_set(value_json, '$.metric', json('\"\\ud800\"')) "
            "WHERE key = 'tuner'",
            "metric must be a name, got '\\ud800'",
        ),
        (
            "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'tier' AND trial_id = 8",
            "finalist 1: attri",
        ),
        ("UPDATE trial_params SET distribution_json = '{}' WHERE trial_id = 2", 'trial 1, parameter "learning_rate"'),
        ("UPDATE trial_params SET param_value = 9 WHERE param_name = 'activation'", "the place of one of 2 choices"),
        ("UPDATE trials SET number = 0 WHERE trial_id = 2", "another one has its number, 0"),
        ("UPDATE study_directions SET direction = 'UP'", "must be MAXIMIZE or MINIMIZE, got 'UP'"),
    ],
)
def test_the_line_names_the_file_the_place_and_the_cause(
    sound: bytes, altered: StudyPaths, statement: str, cause: str
) -> None:
    altered.database.write_bytes(sound)
    Alteration("", statement).apply(altered.database)
    before = altered.database.read_bytes()
    for arguments in (("status", "study"), ("report", "study"), ("best", "study"), ("show", "study", "0")):
        code, said = command(*arguments)
        assert code == 5
        assert f"{altered.database} is damaged: " in said
        assert cause in said
        assert len(said.splitlines()) == 1
    assert altered.database.read_bytes() == before


@pytest.mark.slow
def test_what_a_run_alone_looks_at_stops_a_run_and_no_report(sound: bytes, altered: StudyPaths) -> None:
    altered.database.write_bytes(sound)
    Alteration("", "UPDATE trial_intermediate_values SET step = 'x'").apply(altered.database)
    with pytest.raises(StorageError, match="an intermediate value: its step must be a whole number"):
        read_study(altered, study="study")
    assert [command(*arguments)[0] for arguments in (("status", "study"), ("report", "study"))] == [0, 0]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\nb", "x" * 3000, "9/" * 50])
def test_a_study_of_a_name_that_no_folder_bears_is_said_to_be_another_one(
    sound: bytes, altered: StudyPaths, name: str
) -> None:
    altered.database.write_bytes(sound)
    Alteration("", "UPDATE studies SET study_name = ? WHERE study_name = 'study'", (name,)).apply(altered.database)
    assert read(altered) is None
    Alteration("", "UPDATE alembic_version SET version_num = ?", (name,)).apply(altered.database)
    assert read(altered) is None
    Alteration("", "DROP TABLE trials").apply(altered.database)
    Alteration("", f'CREATE TABLE "{name or " "}" (x)').apply(altered.database)
    assert read(altered) is None


@pytest.mark.slow
@pytest.mark.parametrize("ids", [(7, 8), (1, 8), tuple(range(1, 11))])
def test_metrics_that_no_square_holds_end_no_report(sound: bytes, altered: StudyPaths, ids: tuple[int, ...]) -> None:
    altered.database.write_bytes(sound)
    for trial in ids:
        Alteration(
            "",
            "UPDATE trial_user_attributes SET value_json = json_set(value_json, '$.dev_metric', ?) "
            "WHERE key = 'best' AND trial_id = ?",
            (1e160 if trial % 2 else -1e160 * trial, trial),
        ).apply(altered.database)
    assert read(altered) is not None
    for arguments in (*COMMANDS, PAGE):
        _try_command(arguments, is_read=True)


def test_a_run_refuses_it_as_a_reader_does(sound: bytes, altered: StudyPaths) -> None:
    for statement in (
        "UPDATE trial_user_attributes SET value_json = '{oops' WHERE key = 'best' AND trial_id = 2",
        "UPDATE trials SET datetime_start = 'words' WHERE trial_id = 2; ",
        "UPDATE study_user_attributes SET value_json = '[' WHERE key = 'versions'",
    ):
        altered.database.write_bytes(sound)
        Alteration("", statement).apply(altered.database)
        spec, _ = parse_sweep(SWEEP, name="sweep.yaml", root=altered.folder)
        arguments = {"study": "study", "direction": Direction.MAXIMIZE, "metric": "accuracy"}
        if read(altered) is None:
            with pytest.raises(StorageError, match="is damaged"):
                open_store(altered, space=build_space(spec), **arguments)  # type: ignore[arg-type]
        else:
            open_store(altered, space=build_space(spec), **arguments).close()  # type: ignore[arg-type]


def test_doctor_leaves_out_what_is_damaged_and_saves_the_rest(sound: bytes, altered: StudyPaths) -> None:
    altered.database.write_bytes(sound)
    for statement in (
        "UPDATE study_user_attributes SET value_json = '{oops' WHERE key = 'versions'",
        "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'best' AND trial_id = 2",
        "UPDATE trial_params SET param_value = 'x' WHERE trial_id = 8",
    ):
        Alteration("", statement).apply(altered.database)
    code, said = command("doctor", "study", "--repair", "mended.db")
    assert code == 0, said
    assert [line[:30] for line in said.splitlines() if "left out" in line] == [
        "left out: trial 1, parameter \"", 'left out: the study\'s fact "ve', 'left out: trial 1: attribute "',
    ]  # fmt: skip
    with closing(sqlite3.connect("mended.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    mended = read_study(altered, study="study", url="mended.db")
    assert [r.number for r in mended.records] == [0, 2, 3, 4, 5]
    assert [r.number for r in mended.finalists] == [0, 2, 3]
    assert "versions" not in mended.facts
