"""What `tuner check` says in the words of the course, from the space and the number of training examples."""

from __future__ import annotations

import pytest

from tuner.cli.course import course_notes
from tuner.spec.model import SweepSpec


def notes(space: object, *, num_train: int = 1000, model: str = "mlp", **training: object) -> list[str]:
    data = {"source": "sklearn/digits"}
    spec = {"study": "s", "data": data, "model": model, "space": space, "training": training}
    return course_notes(SweepSpec.model_validate(spec), num_train=num_train)


def test_lambda_is_m_times_weight_decay_and_keep_prob_what_dropout_leaves() -> None:
    space = {"weight_decay": {"low": 1e-5, "high": 0.1}, "dropout": {"low": 0.0, "high": 0.6}}
    assert notes(space) == ["lambda = m x weight_decay: 0.01 to 100 with m = 1000", "keep_prob = 1 - dropout: 0.4 to 1"]
    assert notes({"dropout": {"choices": [0.0, 0.5]}}) == []


@pytest.mark.parametrize(
    ("space", "num_train", "training", "expected"),
    [
        ({"batch_size": {}}, 1999, {}, "Ng's rule for fewer than 2,000 examples is all of them"),
        ({"batch_size": {}}, 2000, {}, "Ng's rule is a power of two from 64 to 512"),
        (None, 2000, {}, "Ng's rule is a power of two from 64 to 512"),
        (None, 2000, {"batch_size": 64}, None),
        ({"batch_size": {"choices": [64, "full"]}}, 1000, {}, None),
        ({"learning_rate": {}}, 1000, {}, None),
    ],
)
def test_the_rule_of_the_mini_batch_is_told_where_the_standard_choices_are_searched(
    space: object, num_train: int, training: dict[str, object], expected: str | None
) -> None:
    told = [note for note in notes(space, num_train=num_train, **training) if note.startswith("mini-batch")]
    assert [expected in note for note in told] == ([True] if expected else [])  # type: ignore[operator]


def test_nothing_is_said_of_a_mini_batch_that_the_model_does_not_search() -> None:
    assert not [note for note in notes(None, model="tabular") if note.startswith("mini-batch")]
