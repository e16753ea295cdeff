"""Reading from disk, overrides, and what the reader makes of the shorthands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.spec.helpers import HEAD, errors_of, read
from tuner.errors import SweepFileError
from tuner.spec.model import EarlyStoppingSpec, ModelSpec, SplitSpec
from tuner.spec.reader import MAX_BYTES, read_study_name, read_sweep


def refusal(path: Path) -> str:
    with pytest.raises(SweepFileError) as caught:
        read_sweep(path)
    (problem,) = caught.value.problems
    with pytest.raises(SweepFileError):
        read_study_name(path)
    return problem


def test_a_file_is_read_with_its_folder_its_text_and_its_warnings(tmp_path: Path) -> None:
    path = tmp_path / "digits.yaml"
    text = HEAD + "# a comment\nspace: {momentum: {high: 0.9999}}\n"
    path.write_text(text)
    file = read_sweep(path, overrides=["search.trials=7"])
    assert file.spec.root == str(tmp_path.resolve())
    assert file.spec.search.trials == 7
    assert file.path == path
    assert file.text == text
    assert file.warnings == (
        f"{path}:4:26: space.momentum.high: averages over more than 1000 steps above 0.999, got 0.9999; "
        "write 0.999 or less",
    )


def test_the_folder_is_absolute_whatever_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "s.yaml").write_text(HEAD)
    monkeypatch.chdir(tmp_path)
    assert read_sweep(Path("inner/s.yaml")).spec.root == str((tmp_path / "inner").resolve())


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"search: {trials: 3}\r\n")
    assert read_sweep(path).spec.search.trials == 3
    assert read_study_name(path) == "s"


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(HEAD)
    path = tmp_path / "digts.yaml"
    assert refusal(path) == f'{path}: there is no such file. Did you mean "{tmp_path / "digits.yaml"}"?'
    assert refusal(tmp_path / "no" / "x.yaml").endswith(
        "x.yaml: there is no such file; `tuner init` writes one to start from"
    )


def test_a_folder_is_no_sweep_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: is no file; give the path of a sweep file"


def test_a_large_file_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(50 * MAX_BYTES)  # a sparse file: reading it would give 50 MB of zeros, and another error
    assert refusal(path) == f"{path}: is larger than 1 MiB; a sweep file is a few kilobytes, data goes elsewhere"


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"study: s\ndata: {source: caf\xe9.csv}\n")
    assert refusal(path) == f"{path}:2:1: is not UTF-8 text; save it as UTF-8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: a}", "study: is required; add `study: NAME`"),
        ("study: ../../etc", "study: must begin with a letter or a digit and hold only letters, digits, `.`, `_` and "
                             "`-`, got ../../etc"),
        ("study: 2024", "study: must begin with a letter or a digit and hold only letters, digits, `.`, `_` and `-`, "
                        "got 2024"),
        ("study: " + "x" * 101, "study: must begin with a letter or a digit and hold only letters, digits, `.`, `_` "
                                "and `-`, got " + "x" * 57 + "..."),
        ("study:\n\t- a", "is not valid YAML; see: tuner check {path}"),
    ],
)  # fmt: skip
def test_a_study_name_is_checked_before_it_becomes_a_path(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SweepFileError) as caught:
        read_study_name(path)
    assert caught.value.problems == (f"{path}: {message.format(path=path)}",)


@pytest.mark.parametrize("rest", ["training: {epoch: 3}", "training: {epoch: [", "study: t", "a: *b"])
def test_a_study_name_is_read_from_a_file_that_is_wrong_elsewhere(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(f"study: s\n{rest}\n")
    assert read_study_name(path) == "s"


def test_a_study_name_needs_no_pydantic(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(HEAD)
    code = (
        "import sys; from pathlib import Path; from tuner.spec.reader import read_study_name; "
        f"assert read_study_name(Path({str(path)!r})) == 's'; "
        "print(sorted({'pydantic', 'torch', 'optuna', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("", ModelSpec()),
        ("model: cnn", ModelSpec(kind="cnn")),
        ("model:", ModelSpec()),
        ("model: {kind: cnn, hidden_units: 64}", ModelSpec(kind="cnn", settings={"hidden_units": 64})),
        ("model: {hidden_units: 64}", ModelSpec(settings={"hidden_units": 64})),
        ("model: {settings: {hidden_units: 64}}", ModelSpec(settings={"hidden_units": 64})),
        ("model: {settings: {hidden_units: 64}, norm: batch}",
         ModelSpec(settings={"hidden_units": 64, "norm": "batch"})),
        ("model: net.py:build", ModelSpec(kind="net.py:build")),
        ("model: {kind: a.b:c, width: 3, name: x}", ModelSpec(kind="a.b:c", settings={"width": 3, "name": "x"})),
    ],
)  # fmt: skip
def test_every_form_of_the_model(text: str, model: ModelSpec) -> None:
    assert read(text).model == model


def test_a_key_with_nothing_behind_it_counts_as_left_out() -> None:
    assert read("space:\ntraining:\n  # optimizer: adam\nfinalists:\nsearch: {pruner: , trials: 3}") == read(
        "search: {trials: 3}"
    )


def test_numbers_keep_the_form_that_they_are_written_in() -> None:
    space = read("model: a:b\nspace: {n: {low: 1, high: 3, tier: 1}, x: {low: 1.0, high: 3, tier: 1}}").space
    assert space is not None
    assert type(space["n"].low) is int
    assert type(space["x"].low) is float


class TestOverrides:
    def test_values_are_replaced_and_blocks_are_made(self) -> None:
        spec = read(
            "model: cnn\ntraining: {epochs: 3}",
            overrides=[
                "search.trials=8",
                "model.hidden_units=32",
                "training.early_stopping.patience=2",
                "training.learning_rate=1e-2",
                "data.split={train: 0.5, dev: 0.5}",
                "space.momentum={low: 0.6}",
                "study = t",
            ],
        )
        assert spec.search.trials == 8
        assert spec.model == ModelSpec(kind="cnn", settings={"hidden_units": 32})
        assert spec.training.early_stopping == EarlyStoppingSpec(patience=2)
        assert spec.training.learning_rate == 0.01
        assert spec.training.epochs == 3
        assert spec.data.split == SplitSpec(train=0.5, dev=0.5)
        assert spec.space is not None
        assert spec.space["momentum"].low == 0.6
        assert spec.study == "t"

    def test_null_leaves_a_key_out(self) -> None:
        spec = read("space: {learning_rate: {}, momentum: {}}\nfinalists: {}",
                    overrides=["space.momentum=null", "finalists="])  # fmt: skip
        assert list(spec.space or {}) == ["learning_rate"]
        assert spec.finalists is None

    def test_the_last_of_several_counts(self) -> None:
        assert read("", overrides=["search.trials=8", "search.trials=9"]).search.trials == 9

    def test_a_wrong_value_of_the_file_may_be_replaced(self) -> None:
        assert read("search: {trials: many}", overrides=["search.trials=8"]).search.trials == 8

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("search.trials=0", "search.trials: must be at least 1, got 0"),
            ("search.trial=3", 'search.trial: is not a key of `search`. Did you mean "trials"?'),
            ("training.epochs=1.5", "training.epochs: must be a whole number, got 1.5"),
            ("search.trials", "must be key.path=value; for example --set search.trials=8"),
            ("=3", "must be key.path=value; for example --set search.trials=8"),
            ("a..b=1", "must be key.path=value; for example --set search.trials=8"),
            ("search.start=[{momentum: 2}]",
             "search.start[0].momentum: must be a number from 0.5 to 0.99, its range, got 2"),
            ("study=*a", "aliases such as *a are not allowed; write the value out"),
            ("study=[a", "is not valid YAML (expected ',' or ']', but got '<stream end>'); "
                         "close the bracket, or add the missing comma"),
            ("model.colour=3", "model.colour: is no setting of mlp; known settings: hidden_units, hidden_layers, "
                              "activation, norm, residual"),
        ],
    )  # fmt: skip
    def test_errors_name_the_flag_as_their_place(self, override: str, message: str) -> None:
        assert errors_of(HEAD, overrides=[override]) == [f"--set {override}: {message}"]

    def test_errors_of_flags_come_behind_those_of_the_file(self) -> None:
        errors = errors_of(HEAD + "lr: 1", overrides=["search.seed=x", "search.trials=0"])
        assert [e.split(": ")[0] for e in errors] == ["s.yaml:3:1", "--set search.seed=x", "--set search.trials=0"]
