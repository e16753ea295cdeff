"""Early stopping as a state machine, against the rule in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.cohorts import curves, jobs, make_task, run_cohort
from tuner.records import Direction, EpochResult, TrialFinished
from tuner.spec.model import EarlyStoppingSpec
from tuner.train.loop.early_stopping import Patience

# Tenths, so that differences that equal min_delta are common.
METRICS = st.lists(st.integers(-20, 20), min_size=1, max_size=40)


def result(metric: float, *, dev_loss: float = 1.0, train_loss: float = 1.0) -> EpochResult:
    return EpochResult(
        epoch=1, train_loss=train_loss, dev_loss=dev_loss, train_metric=0.0, dev_metric=metric, learning_rate=0.1,
        seconds=1.0,
    )  # fmt: skip


@given(METRICS, st.integers(0, 5), st.integers(1, 6), st.sampled_from(Direction))
def test_it_ends_exactly_patience_epochs_after_the_last_improvement(
    metrics: list[int], min_delta: int, patience: int, direction: Direction
) -> None:
    rule = EarlyStoppingSpec(patience=patience, min_delta=min_delta)
    state = Patience()
    reference, improved_at = None, 0
    for epoch, metric in enumerate(metrics, start=1):
        state = state.after(result(metric), direction=direction, rule=rule)
        signed = metric if direction is Direction.MAXIMIZE else -metric
        if reference is None or signed - reference > min_delta:
            reference, improved_at = signed, epoch
        assert state.exhausted(rule) == (epoch - improved_at >= patience)
        assert not state.exhausted(None)


def test_many_small_steps_that_add_up_are_an_improvement() -> None:
    """The reference is the last value that counted, so slow progress is seen once it is large enough."""
    state = Patience()
    for value in (0.50, 0.504, 0.508, 0.512):
        state = state.after(result(value), direction=Direction.MAXIMIZE, rule=EarlyStoppingSpec(min_delta=0.01))
    assert state == Patience(0.512, 0)


def test_a_nan_is_no_improvement() -> None:
    state = Patience(0.5, 1).after(result(math.nan), direction=Direction.MAXIMIZE, rule=None)
    assert state == Patience(0.5, 2)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("monitor", ["dev_loss", "train_loss"])
def test_a_monitored_loss_falls_whichever_way_the_metric_is_better(monitor: str, direction: Direction) -> None:
    rule = EarlyStoppingSpec(monitor=monitor)  # type: ignore[arg-type]
    state, seen = Patience(), []
    for loss in (0.5, 0.4, 0.6, math.nan, 0.41, 0.3):
        state = state.after(result(0.9, **{monitor: loss}), direction=direction, rule=rule)  # type: ignore[arg-type]
        seen.append(state.stale_epochs)
    assert seen == [0, 0, 1, 1, 2, 0]  # a loss that was not reported says nothing


@pytest.mark.slow
def test_a_trial_that_is_stopped_by_its_dev_loss_ranks_by_its_metric(tmp_path: Path) -> None:
    """The dev loss rises from over-fitting while the accuracy still creeps up."""
    stopping = EarlyStoppingSpec(patience=2, monitor="dev_loss")
    task = make_task(epochs=30, batch_size=16, early_stopping=stopping)
    events = run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.3}], to_epoch=30))
    (finished,) = (event for event in events if isinstance(event, TrialFinished))
    losses = [r.dev_loss for r in curves(events)[0]]
    assert finished.reason == f"early stopping at epoch {len(losses)}"
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 3
