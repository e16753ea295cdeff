"""Training on a part of the training examples: which they are, and that nothing else differs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, make_task, run_cohort
from tests.train.test_folds import folded
from tuner.data.dataset import TrainingData
from tuner.data.stored import StreamedInputs
from tuner.records import PART_METRIC, Part, TrialFinished
from tuner.train.batch.part import examples_of, order_of_part
from tuner.train.task import Task

SHARES = (0.1, 0.25, 0.5, 0.8)


@given(
    classes=st.lists(st.integers(0, 4), min_size=10, max_size=200),
    draw=st.integers(1, 5),
    share=st.sampled_from(SHARES),
)
def test_each_part_holds_the_smaller_ones_and_every_class_in_its_share(
    classes: list[int], draw: int, share: float
) -> None:
    targets = torch.tensor(classes)
    parts = [examples_of(Part(share=s, draw=draw), targets).tolist() for s in SHARES]
    for smaller, larger in pairwise(parts):
        assert set(smaller) <= set(larger)
    chosen = examples_of(Part(share=share, draw=draw), targets)
    assert len(set(chosen.tolist())) == len(chosen) == max(1, round(share * len(targets)))
    present = sorted(set(classes))
    if len(chosen) >= len(present):
        assert sorted(set(targets[chosen].tolist())) == present
        for one in present:  # the first of each class is in all parts
            assert abs(int((targets[chosen] == one).sum()) - share * classes.count(one)) < 1 + len(present)


@pytest.mark.parametrize("targets", [torch.rand(40, 1), (torch.rand(40, 3) < 0.3).float()])
def test_other_targets_are_drawn_at_random_and_each_draw_is_another(targets: torch.Tensor) -> None:
    found = {tuple(sorted(examples_of(Part(share=0.5, draw=d), targets).tolist())) for d in range(4)}
    assert len(found) == 4
    assert all(len(set(one)) == 20 for one in found)


def test_an_epoch_shows_each_example_of_a_part_as_often_as_any_other() -> None:
    chosen = torch.tensor([3, 5, 8])
    one, other = (order_of_part(chosen, 12, seed=1, epoch=epoch) for epoch in (0, 1))
    assert torch.bincount(one)[chosen].tolist() == [4, 4, 4]
    assert one.tolist() != other.tolist()
    assert len(order_of_part(chosen, 10, seed=1, epoch=0)) == 10


def test_each_window_of_data_on_disk_shows_those_of_its_own() -> None:
    inputs = StreamedInputs(lambda rows: np.zeros((len(rows), 2), np.float32), (20, 2), torch.device("cpu"))
    inputs._most = 8
    window = inputs.window(4)
    order = order_of_part(torch.tensor([1, 6, 9, 19]), inputs, seed=1, epoch=0, batch_size=4)
    assert len(order) == 20
    for place, example in enumerate(order.tolist()):
        assert place // window == example // window
    assert {1, 6, 9, 19} <= set(order.tolist())


def trained(task: Task, folder: Path, part: Part | None) -> tuple[list[tuple[float, ...]], dict[str, object]]:
    (job,) = jobs(folder, [{"learning_rate": 0.05}])
    events = run_cohort(task, [replace(job, part=part)])
    (finished,) = [event for event in events if isinstance(event, TrialFinished)]
    return figures(curves(events)[0]), dict(finished.facts)


@pytest.mark.parametrize("data", [digits(), folded()])
def test_all_of_the_examples_give_the_curve_of_any_other_trial(data: TrainingData, tmp_path: Path) -> None:
    task = make_task(data, batch_size=50)
    usual, _ = trained(task, tmp_path / "usual", None)
    whole, facts = trained(task, tmp_path / "whole", Part(share=1.0, draw=1))
    half, _ = trained(task, tmp_path / "half", Part(share=0.5, draw=1))
    assert whole == usual
    assert half != usual
    assert len(half) == len(usual)
    assert 0 < float(str(facts[PART_METRIC])) <= 1


def test_a_network_is_measured_on_the_part_that_it_has_seen(tmp_path: Path) -> None:
    """A tenth of the digits is learnt by heart, of which an accuracy on all of them would not be 1."""
    task = make_task(digits(), epochs=30, batch_size=10)
    (job,) = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=30)
    events = run_cohort(task, [replace(job, part=Part(share=0.1, draw=1))])
    (finished,) = [event for event in events if isinstance(event, TrialFinished)]
    assert finished.facts[PART_METRIC] == 1.0
    assert max(result.train_metric for result in curves(events)[0]) < 1.0


@pytest.mark.slow
def test_parts_are_trained_in_one_cohort_to_the_curves_that_they_have_alone(tmp_path: Path) -> None:
    task = make_task(diabetes(), batch_size=32)
    parts = [Part(share=0.25, draw=1), Part(share=1.0, draw=1), Part(share=0.25, draw=2)]
    of_all = [replace(job, part=p) for job, p in zip(jobs(tmp_path / "all", [{}] * 3), parts, strict=True)]
    together = curves(run_cohort(task, of_all))
    alone = replace(jobs(tmp_path / "alone", [{}] * 3)[2], part=parts[2])
    assert figures(curves(run_cohort(task, [alone]))[2]) == figures(together[2])
    paused = [replace(job, part=parts[2]) for job in jobs(tmp_path / "paused", [{}] * 3, to_epoch=1)]
    run_cohort(task, [paused[2]])
    going_on = replace(jobs(tmp_path / "paused", [{}] * 3)[2], part=parts[2])
    assert figures(curves(run_cohort(task, [going_on]))[2]) == figures(together[2])
