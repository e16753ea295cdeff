"""What a report says of the zeros that L1 has made."""

from __future__ import annotations

import pytest

from tuner.records import Json, TrialRecord, TrialState
from tuner.report.facts import sparsity_in_words


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, None),
        ({"zero_weights": 0.0, "num_ignored_inputs": 0, "num_inputs": 4}, None),
        ({"zero_weights": "all"}, None),
        ({"zero_weights": 0.25}, "25% of the weights of trial 3 are zero."),
        (
            {"zero_weights": 0.5, "num_ignored_inputs": 0, "num_inputs": 4},
            "50% of the weights of trial 3 are zero, and 0 of 4 inputs are ignored.",
        ),
        (
            {"zero_weights": 0.5, "num_ignored_inputs": 3, "num_inputs": 4, "ignored_inputs": ["age", "bmi"]},
            "50% of the weights of trial 3 are zero, and 3 of 4 inputs are ignored: age, bmi, ...",
        ),
    ],
)
def test_the_share_of_zeros_and_the_ignored_inputs(facts: dict[str, Json], expected: str | None) -> None:
    record = TrialRecord(number=3, params={}, seed=1, state=TrialState.COMPLETE, facts=facts)
    assert sparsity_in_words(record) == expected
