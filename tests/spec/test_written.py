"""What is written from the models: the starter file, the JSON Schema, the reference."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from docs.sweep_file import reference
from tests.spec.helpers import HEAD
from tuner.cli.main import run_command_line
from tuner.spec.defaults import build_space
from tuner.spec.edit.starter import starter_text
from tuner.spec.reader import parse_sweep, read_sweep
from tuner.spec.schema import sweep_schema

REPOSITORY = Path(__file__).parents[2]
SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))


class TestStarter:
    @pytest.mark.parametrize("model", ["mlp", "tabular", "cnn", "my_net.py:build", "package.module:Net"])
    @pytest.mark.parametrize("source", ["sklearn/digits", "a b #c.csv", "C:\\data\\x.csv", "1e3", "true", "{a: b}"])
    def test_it_is_read_back_without_warnings(self, model: str, source: str) -> None:
        text = starter_text(file="my sweep.yaml", study="s-1", source=source, model=model)
        spec, warnings = parse_sweep(text, name="s.yaml", root=Path("/"))
        assert warnings == ()
        assert (spec.study, spec.data.source, spec.model.kind) == ("s-1", source, model)

    @pytest.mark.parametrize("model", ["mlp", "tabular", "cnn", "net.py:build"])
    def test_its_space_is_the_default_space(self, model: str) -> None:
        text = starter_text(file="s.yaml", study="s", source="a.csv", model=model)
        spec, _ = parse_sweep(text, name="s.yaml", root=Path("/"))
        assert spec.space is not None
        assert build_space(spec) == build_space(spec.model_copy(update={"space": None}))

    def test_init_writes_it_and_does_not_overwrite(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run_command_line(["init", "first try.yaml", "--data", "x.csv", "--model", "cnn"]) == 0
        assert capsys.readouterr().err == "wrote first try.yaml; look it over, then: tuner run 'first try.yaml'\n"
        path = Path("first try.yaml")
        spec = read_sweep(path).spec
        assert (spec.study, spec.data.source, spec.model.kind) == ("first-try", "x.csv", "cnn")

        path.write_text("mine")
        assert run_command_line(["init", "first try.yaml"]) == 2
        assert "first try.yaml exists; give another name, or --force to overwrite it" in capsys.readouterr().err
        assert path.read_text() == "mine"

        assert run_command_line(["init", "first try.yaml", "--force"]) == 0
        assert read_sweep(path).spec.model.kind == "mlp"
        assert [p.name for p in tmp_path.iterdir()] == ["first try.yaml"]

    def test_init_without_a_name_writes_sweep_yaml(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert run_command_line(["init"]) == 0
        assert read_sweep(Path("sweep.yaml")).spec.study == "sweep"

    def test_init_refuses_a_model_that_there_is_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run_command_line(["init", "--model", "mpl"]) == 3
        assert 'got mpl. Did you mean "mlp"?' in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_init_says_when_it_cannot_write(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a file").touch()
        assert run_command_line(["init", str(tmp_path / "a file" / "s.yaml")]) == 5
        assert "cannot be written: " in capsys.readouterr().err
        assert (tmp_path / "a file").read_bytes() == b""


class TestSchema:
    @pytest.mark.slow
    def test_the_command_prints_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_command_line(["schema"]) == 0
        assert json.loads(capsys.readouterr().out) == sweep_schema()

    @pytest.mark.slow
    def test_it_is_a_schema(self) -> None:
        jsonschema.Draft202012Validator.check_schema(sweep_schema())

    @pytest.mark.slow
    @pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
    def test_shipped_sweeps_satisfy_it(self, path: Path) -> None:
        jsonschema.validate(YAML(typ="safe", pure=True).load(path), sweep_schema())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "text",
        [
            "model: cnn",
            "model: {kind: cnn, channels: 8}",
            "model: {kind: a:b, anything: 1}",
            "space: {own: {low: 1, high: 2, tier: 1}, learning_rate: {}}",
            "data: {source: a, split: {train: 0.5, dev: 0.5}}",
            "training: {batch_size: full, optimizer: adam}",
            "space: {batch_size: {choices: [1, full]}, momentum: {when: {nesterov: [true]}}}",
        ],
    )
    def test_what_the_reader_accepts_satisfies_it(self, text: str) -> None:
        values = YAML(typ="safe", pure=True).load(HEAD) | YAML(typ="safe", pure=True).load(text)
        jsonschema.validate(values, sweep_schema())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "text",
        [
            "root: /x",
            "spce: {}",
            "study: [a]",
            "training: {epoch: 1}",
            "training: {momentum: 1.5}",
            "training: {batch_size: 0}",
            "data: {source: a, split: {train: 60, dev: 40}}",
            "space: {learning_rate: {step: 0}}",
            "space: {learning_rate: {hgih: 1}}",
            "search: {strategy: tpee}",
            "model: {kind: cnn, channels: [8]}",
        ],
    )
    def test_what_the_reader_refuses_does_not(self, text: str) -> None:
        values = YAML(typ="safe", pure=True).load(HEAD) | YAML(typ="safe", pure=True).load(text)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values, sweep_schema())


@pytest.mark.slow
class TestReference:
    def test_the_page_is_up_to_date(self) -> None:
        page = (REPOSITORY / "docs" / "sweep-file.md").read_text()
        assert page == reference(), "run: make docs"

    def test_its_example_is_a_sweep_file(self) -> None:
        example = reference().split("```yaml\n")[1].split("```")[0]
        assert parse_sweep(example, name="docs", root=Path("/"))[1] == ()
