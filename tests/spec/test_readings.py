"""What a value is read as is said where it may be taken for something else, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.helpers import HEAD
from tuner.spec.reader import parse_sweep

OWN = HEAD + "model: {kind: net.py:build, MODEL}\nspace:\n  momentum: {}\n"


def readings(part: str, *, model: str = "") -> list[str]:
    """The warnings of one line of `space:`, from `is` or `are` or `mix` on, of a network of the user's."""
    text = OWN.replace(", MODEL", f", {model}" if model else "") + f"  {part}\n"
    lines = parse_sweep(text, name="s.yaml", root=Path("/sweeps"))[1]
    return [line.split(": ", 2)[2] for line in lines]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("gain: {low: 0, high: 1, tier: 2}",
         "is read as the 2 whole numbers from 0 to 1; write low: 0.0 for all numbers between, or type: int to have no "
         "such note"),
        ("gain: {low: 1, high: 4, tier: 2}",
         "is read as the 4 whole numbers from 1 to 4; write low: 1.0 for all numbers between, or type: int to have no "
         "such note"),
        ("units: {low: 16, high: 1e3, tier: 2}",
         "is read as all numbers from 16 to 1000, since high is written 1e3; add type: int for whole numbers, or type: "
         "float to have no such note"),
        ("warmup_epochs: {low: 0, high: 5}",
         "is read as all numbers from 0 to 5, which warmup_epochs is by its name; add step: 1 for whole ones, or type: "
         "float to have no such note"),
        ("batch_size: {low: 16, high: 256, step: 16}",
         "is drawn on the logarithmic scale of batch_size, so that its steps are not equally likely, got 16; add log: "
         "false for equal chances, or log: true to have no such note"),
        ("width: {choices: [256, 64, 128], tier: 2}",
         "are read as categories without an order, as they do not ascend; write [64, 128, 256] for numbers of which "
         "neighbours are alike"),
        ("batch_size: {choices: [256, 64, 128]}",
         "are read as categories without an order, as they do not ascend; write [64, 128, 256] for numbers of which "
         "neighbours are alike"),
        ("width: {choices: [1e2, 1e3], tier: 2}",
         "are read as numbers with fractions, since one is written 1e2; write 100 for a whole number"),
        ("width: {choices: [64, '128'], tier: 2}",
         "mix numbers and text, and are read as categories without an order; write all of them alike, if they are of "
         "one kind"),
        ("bias: {choices: [true, 'auto'], tier: 2}",
         "mix switches and text, and are read as categories without an order; write all of them alike, if they are of "
         "one kind"),
        ("bias: {choices: [off, learnt], tier: 2}",
         'is read as text, got off; write false for the switch, or "off" in quotes for the text'),
        ("width: {choices: [1_000, many], tier: 2}",
         'is read as text, got 1_000; write 1000 for the number, or "1_000" in quotes for the text'),
        ("class_weight: {choices: [None, balanced], tier: 2}",
         'is read as text, got None; leave it out for nothing, or "None" in quotes for the text'),
    ],
)  # fmt: skip
def test_what_may_be_taken_for_something_else_is_said(part: str, expected: str) -> None:
    assert readings(part) == [expected]


@pytest.mark.parametrize(
    "part",
    [
        "gain: {low: 0.0, high: 1, tier: 2}",
        "gain: {low: 0, high: 1, step: 0.1, tier: 2}",
        "gain: {low: 0, high: 1, type: int, tier: 2}",
        "gain: {low: 0, high: 100, tier: 2}",
        "blocks: {low: 1, high: 4, tier: 2}",
        "num_heads: {low: 1, high: 8, tier: 2}",
        "hidden_size: {low: 16, high: 256, tier: 2}",
        "scale: {low: 1e-4, high: 1e-1, log: true, tier: 2}",
        "scale: {low: 1.0, high: 1e3, log: true, tier: 2}",
        "scale: {choices: [1e-4, 1e-3, 1e-2], tier: 2}",
        "size: {choices: [0x10, 32, 64], tier: 2}",
        "kind: {choices: [gelu, relu], tier: 2}",
        "kind: {choices: ['no', 'yes'], tier: 2}",
        "kind: {choices: [true, false], tier: 2}",
        "lr_decay: {low: 0, high: 1}",
        "batch_size: {choices: [32, 64, 128]}",
        "batch_size: {choices: [256, 64]}",
    ],
)
def test_what_is_evident_is_not_said(part: str) -> None:
    assert readings(part) == []


def test_settings_of_a_users_network_are_looked_at_too() -> None:
    assert readings("lr_decay: {}", model="bias: no, kernel: 3, name: abc") == [
        'is read as text, got no; write false for the switch, or "no" in quotes for the text'
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("momentum: {low: 0.5, high: 0.9}",
         ["is drawn on a scale of log(1 - value), as momentum is by its name; add log: false for a linear one, or log: "
          "true to have no such note"]),
        ("learning_rate: {low: 0.1, high: 1.0}",
         ["is drawn on a logarithmic scale, as learning_rate is by its name; add log: false for a linear one, or log: "
          "true to have no such note"]),
        ("learning_rate: {low: 1e-4, high: 1.0}", []),
        ("momentum: {low: 0.5, high: 0.9, log: true}", []),
    ],
)  # fmt: skip
def test_the_scale_that_a_name_brings_is_said_to_own_training_code(part: str, expected: list[str]) -> None:
    text = f"study: s\ncommand: t {{params}} {{epochs}}\nobjective: {{metric: accuracy}}\nspace: {{{part}}}\n"
    lines = parse_sweep(text, name="s.yaml", root=Path("/sweeps"))[1]
    assert [line.split(": ", 2)[2] for line in lines] == expected


def test_the_place_is_that_of_the_line() -> None:
    text = HEAD + "model: net.py:build\nspace:\n  gain: {low: 0, high: 1, tier: 2}\n"
    (line,) = parse_sweep(text, name="s.yaml", root=Path("/sweeps"))[1]
    assert line.startswith("s.yaml:5:3: space.gain: ")
