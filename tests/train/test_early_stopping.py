"""Early stopping as a state machine, against the rule in words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train.cohorts import best_of, curves, jobs, make_task, run_cohort
from tuner.paths import TrialPaths
from tuner.records import Direction, EpochResult, EpochsFinished, Params, TrialFinished
from tuner.spec.model import EarlyStoppingSpec
from tuner.train.loop.early_stopping import Patience, kept_of

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


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, {Direction.MAXIMIZE: 2, Direction.MINIMIZE: 0}),
        (EarlyStoppingSpec(), {Direction.MAXIMIZE: 2, Direction.MINIMIZE: 0}),
        (EarlyStoppingSpec(restore_best=False), dict.fromkeys(Direction, 4)),
        (EarlyStoppingSpec(restore_best="monitor"), {Direction.MAXIMIZE: 2, Direction.MINIMIZE: 0}),
        (EarlyStoppingSpec(restore_best="monitor", monitor="dev_loss"), dict.fromkeys(Direction, 1)),
        (EarlyStoppingSpec(restore_best="monitor", monitor="train_loss"), dict.fromkeys(Direction, 3)),
    ],
)
def test_the_epoch_that_is_kept_is_the_one_asked_for(
    rule: EarlyStoppingSpec | None, expected: dict[Direction, int], direction: Direction
) -> None:
    measured = [(0.5, 0.9, 0.8), (0.7, 0.3, 0.6), (0.9, 0.4, 0.5), (0.9, math.nan, 0.2), (0.6, 0.5, 0.3)]
    curve = [result(m, dev_loss=d, train_loss=t) for m, d, t in measured]
    kept = kept_of(curve, direction=direction, rule=rule)
    assert kept is curve[expected[direction]]
    assert kept_of([], direction=direction, rule=rule) is None


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_the_weights_of_the_epoch_that_is_kept_come_through_a_pause(fuse: str, tmp_path: Path) -> None:
    """Rates at which the accuracy jumps about, so that the best, the last and the least loss's epoch differ."""
    params: list[Params] = [{"learning_rate": rate, "momentum": 0.0, "dropout": 0.4} for rate in (1.0, 1.4, 1.7, 2.0)]
    kept: dict[object, list[int]] = {}
    for which in (True, False, "monitor"):
        rule = EarlyStoppingSpec(patience=9, monitor="train_loss", restore_best=which)  # type: ignore[arg-type]
        task = make_task(epochs=8, fuse=fuse, early_stopping=rule)
        for to_epoch in (5, 8):
            members = jobs(tmp_path / str(which), params, to_epoch=to_epoch)
            events = run_cohort(task, members)
        told = {event.trial: event.kept for event in events if isinstance(event, EpochsFinished)}
        for job in members:
            result = told[job.trial]
            assert result is not None
            assert result == best_of(curves(events)[job.trial], rule=rule)
            weights = torch.load(TrialPaths(Path(job.folder)).weights, weights_only=True)
            scores = task.score_dev(task.dev_outputs(task.member(job), weights).unsqueeze(0))
            assert float(scores.loss[0]) == pytest.approx(result.dev_loss, rel=1e-4)
            kept.setdefault(which, []).append(result.epoch)
    assert kept[False] == [8] * 4
    assert len({tuple(epochs) for epochs in kept.values()}) == 3


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
