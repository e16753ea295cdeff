"""Early stopping as a state machine, against the rule in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuner.records import Direction
from tuner.spec.model import EarlyStoppingSpec
from tuner.train.loop.early_stopping import Patience

# Tenths, so that differences that equal min_delta are common.
METRICS = st.lists(st.integers(-20, 20), min_size=1, max_size=40)


@given(METRICS, st.integers(0, 5), st.integers(1, 6), st.sampled_from(Direction))
def test_it_ends_exactly_patience_epochs_after_the_last_improvement(
    metrics: list[int], min_delta: int, patience: int, direction: Direction
) -> None:
    rule = EarlyStoppingSpec(patience=patience, min_delta=min_delta)
    state = Patience()
    reference, improved_at = None, 0
    for epoch, metric in enumerate(metrics, start=1):
        state = state.after(metric, direction=direction, min_delta=min_delta)
        signed = metric if direction is Direction.MAXIMIZE else -metric
        if reference is None or signed - reference > min_delta:
            reference, improved_at = signed, epoch
        assert state.exhausted(rule) == (epoch - improved_at >= patience)
        assert not state.exhausted(None)


def test_many_small_steps_that_add_up_are_an_improvement() -> None:
    """The reference is the last value that counted, so slow progress is seen once it is large enough."""
    state = Patience()
    for value in (0.50, 0.504, 0.508, 0.512):
        state = state.after(value, direction=Direction.MAXIMIZE, min_delta=0.01)
    assert state == Patience(0.512, 0)


def test_a_nan_is_no_improvement() -> None:
    state = Patience(0.5, 1).after(float("nan"), direction=Direction.MAXIMIZE, min_delta=0.0)
    assert state == Patience(0.5, 2)
