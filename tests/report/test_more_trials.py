from __future__ import annotations

import numpy as np
import pytest

from tests.report.simulate import simulate
from tests.report.test_leaderboard import record
from tuner.records import Direction, TrialState
from tuner.report.certainty.more_trials import best_of_k
from tuner.report.tables.cost import cost_of


@pytest.mark.slow
@pytest.mark.parametrize("direction", Direction)
def test_expected_best_of_k_agrees_with_drawing(direction: Direction) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=12)
    found = best_of_k([record(i, v) for i, v in enumerate(values)], direction=direction)
    assert found is not None
    best = max if direction is Direction.MAXIMIZE else min
    for k in (1, 3, 7, 12):
        drawn = [best(rng.choice(values, size=k, replace=False)) for _ in range(4000)]
        assert found.mean[k - 1] == pytest.approx(np.mean(drawn), abs=0.06)
        assert found.low[k - 1] <= found.mean[k - 1] <= found.high[k - 1] or k == 12
    assert found.mean[-1] == pytest.approx(best(values))


def test_of_many_trials_some_counts_stand_for_all() -> None:
    values = np.random.default_rng(0).random(1000)
    found = best_of_k([record(i, v) for i, v in enumerate(values)], direction=Direction.MAXIMIZE)
    assert found is not None
    assert (found.counts[0], found.counts[-1]) == (1, 1000)
    assert 500 in found.counts
    assert len(found.counts) <= 201
    for k, mean in zip(found.counts, found.mean, strict=True):  # of uniform numbers, the largest of k
        assert mean == pytest.approx(k / (k + 1), abs=0.02)
    assert found.gain == found.mean[-1] - found.mean[found.counts.index(500)]


def test_a_study_that_has_found_its_best_early_says_so() -> None:
    values = [0.9] * 20 + [0.5] * 20
    found = best_of_k([record(i, v) for i, v in enumerate(values)], direction=Direction.MAXIMIZE, noise=0.005)
    assert found is not None
    assert "hardly help" in found.text("accuracy")


def test_too_few_trials_have_no_curve() -> None:
    assert best_of_k([record(i, 0.5) for i in range(7)], direction=Direction.MAXIMIZE) is None
    assert best_of_k([record(i, None) for i in range(20)], direction=Direction.MAXIMIZE) is None


def test_cost_counts_what_pruning_spared() -> None:
    study = simulate(trials=40, seed=0, pruned=0.25, failed=0.1, finalists=2).study
    cost = cost_of(study.records, finalists=study.finalists, full_epochs=20)
    assert sum(cost.states.values()) == 40
    assert cost.epochs == sum(r.epochs for r in study.records)
    assert cost.epochs_spared == cost.states["pruned"] * 14
    pruned = [r for r in study.records if r.state is TrialState.PRUNED]
    assert cost.seconds_spared == pytest.approx(sum(14 * r.seconds / r.epochs for r in pruned))
    assert cost.finalist_seconds == pytest.approx(12.0)


def test_wall_clock_time_leaves_out_the_pause_between_two_runs() -> None:
    from dataclasses import replace

    first = replace(record(0, 0.5), started="2026-01-01T00:00:00+00:00", ended="2026-01-01T00:10:00+00:00")
    overlapping = replace(record(1, 0.5), started="2026-01-01T00:05:00+00:00", ended="2026-01-01T00:15:00+00:00")
    next_day = replace(record(2, 0.5), started="2026-01-02T00:00:00+00:00", ended="2026-01-02T00:05:00+00:00")
    broken = replace(record(3, 0.5), started="yesterday", ended="")
    cost = cost_of([next_day, first, overlapping, broken], finalists=[], full_epochs=3)
    assert cost.wall_seconds == 20 * 60
    assert cost.trials_per_hour == pytest.approx(12.0)
