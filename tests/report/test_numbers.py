"""How numbers are written for people."""

from __future__ import annotations

import pytest

from tuner.report.words.numbers import moment_text, number_of


@pytest.mark.parametrize(("count", "said"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_one_is_counted_in_the_singular(count: int, said: str) -> None:
    assert number_of(count, "trial") == said


def test_a_moment_has_no_fraction_of_a_second() -> None:
    assert moment_text("2026-11-27T22:42:23.838842+00:00") == "2026-11-27 22:42:23 UTC"
    assert moment_text("") == ""
