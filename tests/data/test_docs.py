"""The page on data names every kind of source, and its sweep files are ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tuner.data.notes import _MOSTLY_ONE
from tuner.data.preparation import MOST_CATEGORIES
from tuner.data.sources import SOURCES
from tuner.data.split import auto_share
from tuner.data.targets import MOST_INTEGER_CLASSES
from tuner.spec.model import DataSpec

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_sweep_files_of_the_page_are_valid(block: str) -> None:
    DataSpec.model_validate(YAML(typ="safe").load(block)["data"])


@pytest.mark.parametrize("kind", list(SOURCES))
def test_every_kind_of_source_is_described(kind: str) -> None:
    assert kind.split(" (")[0] in PAGE


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| ([\d,]+) \| \d+ % \| ([\d,]+) \| ([\d,]+) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 4
    for examples, dev, test in rows:
        num, *parts = (int(n.replace(",", "")) for n in (examples, dev, test))
        assert all(abs(auto_share(num) * num - part) <= 1 for part in parts)
    assert f"up to {MOST_INTEGER_CLASSES} with" in PAGE
    assert f"More than {MOST_CATEGORIES} distinct texts" in PAGE
    assert f"one class with {_MOSTLY_ONE:.0%} of the".replace("%", " %") in PAGE
