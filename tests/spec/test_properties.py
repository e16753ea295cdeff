"""Any sweep file that is right is read back equal; any that is not ends with messages, never with a traceback."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from tests.depth import at_depth
from tests.spec.strategies import sweep_values
from tuner.errors import SweepFileError
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.kept.changes import diff_sweeps
from tuner.spec.kept.space_values import space_from_json, space_to_json
from tuner.spec.model import SweepSpec
from tuner.spec.reader import parse_sweep

pytestmark = pytest.mark.slow

ROOT = Path("/sweeps")
SWEEPS = sorted(Path(__file__).parents[2].joinpath("sweeps").glob("*.yaml"))
SLOW = settings(max_examples=at_depth(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def to_yaml(values: Any) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_unicode = True
    yaml.default_flow_style = False  # in flow style it writes {a: :b}, which it does not read
    buffer = io.StringIO()
    yaml.dump(values, buffer)
    return buffer.getvalue()


def parse(text: str) -> SweepSpec:
    return parse_sweep(text, name="s.yaml", root=ROOT)[0]


def errors_of(text: str, *, overrides: Sequence[str] = ()) -> tuple[str, ...]:
    try:
        parse_sweep(text, name="s.yaml", root=ROOT, overrides=overrides)
    except SweepFileError as error:
        return error.problems or ("an error without a message",)
    return ()


def is_message(line: str) -> bool:
    """Whether a line says where, on one line that is safe to print."""
    return line.startswith(("s.yaml:", "--set ", "... and ")) and line.isprintable()


@SLOW
@given(sweep_values())
def test_what_is_written_is_read_back_equal(values: dict[str, Any]) -> None:
    expected = SweepSpec.model_validate(values).model_copy(update={"root": str(ROOT)})
    assert parse(to_yaml(values)) == expected
    assert parse(json.dumps(values)) == expected  # JSON is YAML


@SLOW
@given(sweep_values())
def test_a_snapshot_is_the_same_sweep(values: dict[str, Any]) -> None:
    spec = SweepSpec.model_validate(values)
    snapshot = json.loads(json.dumps(spec.model_dump(mode="json")))
    assert SweepSpec.model_validate(snapshot) == spec
    assert diff_sweeps(snapshot, spec) == []
    space = build_space(spec)
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space


@SLOW
@given(sweep_values())
def test_the_space_of_a_sweep_is_sound(values: dict[str, Any]) -> None:
    spec = SweepSpec.model_validate(values)
    space = build_space(spec)
    assert set(space.names) == set(spec.space or {})
    assert [d.tier for d in space] == sorted(d.tier for d in space)
    assert space.contains(space.default())
    for place in (0.0, 0.3, 1.0):
        params = space.from_units([place] * len(space))
        assert space.contains(params)
        assert settings_for(spec, params).items() >= params.items()


def _mutate(draw: st.DrawFn, value: Any) -> Any:
    """The value with one thing in it replaced by anything."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=4,
    )
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.booleans()):
            return {(draw(st.text(max_size=8)) if k == key else k): v for k, v in value.items()}
        return value | {key: _mutate(draw, value[key])}
    return draw(anything)


@settings(max_examples=at_depth(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_of_its_values_gives_a_traceback(data: st.DataObject) -> None:
    values = YAML(typ="safe", pure=True).load(data.draw(st.sampled_from(SWEEPS)))
    for _ in range(data.draw(st.integers(1, 4))):
        values = data.draw(st.composite(lambda draw, value=values: _mutate(draw, value))())
    assert all(is_message(line) for line in errors_of(to_yaml(values)))


@settings(max_examples=at_depth(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_of_its_text_gives_a_traceback(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SWEEPS)).read_text()
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text = (
            text[:start] + data.draw(st.text(alphabet=" \n\t:{}[],-&*!|>'\"#%@`?\\ae1.~\x07é", max_size=6)) + text[end:]
        )
    assert all(is_message(line) for line in errors_of(text))


@settings(max_examples=at_depth(100), deadline=None)
@given(st.lists(st.text(max_size=20) | st.from_regex(r"[a-z_.]{1,20}=[^\n]{0,10}", fullmatch=True), max_size=3))
def test_no_override_gives_a_traceback(overrides: list[str]) -> None:
    assert all(is_message(line) for line in errors_of("study: s\ndata: {source: a}\n", overrides=overrides))


def test_a_name_that_cannot_be_printed_is_escaped_in_the_remedy_too() -> None:
    text = 'study: s\ncommand: "train"\nobjective: {metric: accuracy}\nspace: {"\\e[2J": {}}\n'
    found = errors_of(text)
    assert any("add {" in line for line in found)
    assert all(is_message(line) for line in found)
