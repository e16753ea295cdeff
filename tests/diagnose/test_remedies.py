"""The recipe as ends of ranges."""

from __future__ import annotations

import pytest

from tuner.diagnose.error_parts import Verdict
from tuner.diagnose.remedies import contradictions, remedies


@pytest.mark.parametrize("verdict", [None, *Verdict])
def test_no_end_is_asked_for_and_worked_against_at_once(verdict: Verdict | None) -> None:
    assert not remedies(verdict) & contradictions(verdict)


def test_variance_keeps_room_for_regularisation_and_bias_for_larger_networks() -> None:
    assert ("dropout", "high") in remedies(Verdict.VARIANCE)
    assert ("hidden_units", "high") in remedies(Verdict.BIAS)
    assert ("hidden_units", "high") in remedies(Verdict.BIAS_OR_NOISE)
    assert {("dropout", "high"), ("channels", "high")} <= remedies(Verdict.BOTH)
    assert ("weight_decay", "low") in contradictions(Verdict.VARIANCE)
    assert remedies(Verdict.UNDECIDED) == remedies(None) == frozenset()
