"""How trials are put in order for the importances."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.test_leaderboard import record
from tuner.diagnose.scores import rank_scores
from tuner.records import Direction, TrialState


@pytest.mark.parametrize(("direction", "best_last"), [(Direction.MAXIMIZE, [0, 2, 1]), (Direction.MINIMIZE, [1, 2, 0])])
def test_the_best_trial_ranks_highest_and_a_diverged_one_lowest(direction: Direction, best_last: list[int]) -> None:
    records = [record(0, 0.1), record(1, 0.9), record(2, 0.5), record(3, None, state=TrialState.FAILED)]
    diverged = [*records[:3], replace(records[3], reason="diverged: nan")]
    trials, ranks = rank_scores(diverged, direction=direction)
    order = [trial.number for _, trial in sorted(zip(ranks, trials, strict=True), key=lambda pair: pair[0])]
    assert order == [3, *best_last]
