"""YAML 1.2 as sweep files use it, and what is refused of it."""

from __future__ import annotations

import math

import pytest

from tuner.spec.text.document import Document, parse_yaml
from tuner.spec.text.problems import Place


def parse(text: str) -> Document:
    return parse_yaml(text, locate=lambda line, column, written: Place(f"{line}:{column}", (0, line, column), written))


def problems(text: str) -> list[str]:
    return [p.text for p in sorted(parse(text).problems)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-2", -2),
        ("+2", 2),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("no", "no"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("1e-3x", "1e-3x"),
        ("e5", "e5"),
        ("'1'", "1"),
        ('"true"', "true"),
        ('"\\ud83d\\ude00 \\u00e9"', "\U0001f600 \u00e9"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_mean_what_the_core_schema_says(text: str, value: object) -> None:
    document = parse(f"key: {text}")
    assert document.problems == []
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse("a: .nan").value["a"])


def test_places_of_keys_and_values_are_kept() -> None:
    document = parse("a:\n  b: [1, {c: 0x10}]\n")
    assert document.value == {"a": {"b": [1, {"c": 16}]}}
    assert document.keys["a", "b"].label == "2:3"
    assert document.values["a", "b"].label == "2:6"
    assert document.keys["a", "b", 1, "c"].label == "2:11"
    assert document.values["a", "b", 1, "c"] == Place("2:14", (0, 2, 14), "0x10")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\na: 2\na: 3", ["2:1: a: is written twice (first at 1:1); remove one",
                              "3:1: a: is written twice (first at 1:1); remove one"]),
        ("a: &x 1", ["1:4: a: anchors such as &x are not allowed; remove it"]),
        ("a: *x", ["1:4: a: aliases such as *x are not allowed; write the value out"]),
        ("a: [&x [1], *x, *x]", [
            "1:5: a[0]: anchors such as &x are not allowed; remove it",
            "1:13: a[1]: aliases such as *x are not allowed; write the value out",
            "1:17: a[2]: aliases such as *x are not allowed; write the value out",
        ]),
        ("a: !!python/object/apply:os.system [ls]",
         ["1:4: a: tags such as tag:yaml.org,2002:python/object/apply:os.system are not allowed; remove it"]),
        ("a: !!str 1", ["1:4: a: tags such as tag:yaml.org,2002:str are not allowed; remove it"]),
        ("a: 1\n---\nb: 2", ["2:1: a second document begins here; one file holds one sweep"]),
        ("%YAML 1.1\n---\na: 1", ["2:1: must be YAML 1.2; remove the %YAML line"]),
        ("a:\n\tb: 1", ["2:1: is not valid YAML (found character '\\t' that cannot start any token); "
                       "indent with spaces, not tabs"]),
        ("a: {b: 1", ["1:4: is not valid YAML (expected ',' or '}', but got '<stream end>'); "
                      "close the bracket, or add the missing comma"]),
        ("a: 'b", ["1:4: is not valid YAML (found unexpected end of stream); close the quote"]),
        ("a:1\nb: 2", ["2:2: is not valid YAML (mapping values are not allowed here); check the indentation, and that "
                       "every colon behind a key has a space behind it"]),
        ("a: b\x07", ["1:5: holds the character '\\x07', which YAML does not allow; remove it"]),
        ("? [a]\n: {b: [c]}\nd: 1", ["1:3: has a key that is no name; write `name: value`"]),
        ('a: "x\\ud800"', ["1:4: a: holds half of a character; write the character itself"]),
        ('{"\\udfff": 1}', ["1:2: holds half of a character; write the character itself"]),
        ("a: 1234567890123456789", ["1:4: a: must have at most 18 digits; write a smaller number"]),
        ("a: " + "[" * 40 + "]" * 40, ["1:36: a[0][0]: is nested more than 32 deep; no part of a sweep file is"]),
        ("a: 1\n#" + "x" * 10_000, ["2:1: is longer than 10000 characters; no line of a sweep file is"]),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_several_problems_of_one_text_are_all_found_and_the_rest_is_read() -> None:
    document = parse("a: &x 1\nb: *x\na: 2\nc: !t 3\nd: 4")
    assert len(document.problems) == 4
    assert document.value["d"] == 4


def test_an_alias_bomb_stays_small() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
    document = parse(text)
    assert len(document.problems) == 10 + 9 * 9
    assert len(document.values) < 200


@pytest.mark.slow
def test_a_text_of_too_many_values_is_given_up() -> None:
    text = "\n".join(f"k{i}: [1, 2, 3]" for i in range(6000))
    (problem,) = problems(text)
    assert problem.endswith("holds more than 20000 values; a sweep file holds about a hundred")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("study: digits\ndata: {source: a}", "digits"),
        ("data: {study: no, x: [study, a]}\nstudy: digits", "digits"),
        ("[study, digits]", None),
        ("data: {study: no}", None),
        ("study: {study: no}", {"study": "no"}),
        ("study: 2024", 2024),
        ("study: '2024'", "2024"),
        ("", None),
        ("study: a\nb: *nothing [", "a"),
    ],
)
def test_what_stands_before_an_error_is_read(text: str, value: object) -> None:
    found = parse(text).value
    assert (found.get("study") if isinstance(found, dict) else None) == value
