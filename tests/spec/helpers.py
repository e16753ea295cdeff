"""Short ways to read sweep files from text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tuner.errors import SweepFileError
from tuner.spec.model import SweepSpec
from tuner.spec.reader import parse_sweep

HEAD = "study: s\ndata: {source: sklearn/digits}\n"


def read(text: str, *, overrides: Sequence[str] = (), is_clear: bool = True) -> SweepSpec:
    """The sweep of a text behind `HEAD`, which has no errors, and no warnings unless it need not be clear."""
    spec, warnings = parse_sweep(HEAD + text, name="s.yaml", root=Path("/sweeps"), overrides=overrides)
    assert warnings == () or not is_clear
    return spec


def warnings_of(text: str) -> list[str]:
    """The warnings of a text that stands behind `HEAD`."""
    return list(parse_sweep(HEAD + text, name="s.yaml", root=Path("/sweeps"))[1])


def errors_of(text: str, *, overrides: Sequence[str] = ()) -> list[str]:
    """The errors of a whole text, none if it can be used."""
    try:
        parse_sweep(text, name="s.yaml", root=Path("/sweeps"), overrides=overrides)
    except SweepFileError as error:
        return list(error.problems)
    return []
