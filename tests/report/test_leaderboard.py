from __future__ import annotations

import itertools
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.report.simulate import SPACE, SimulatedStudy
from tuner.ranking import best_trial, rank_trials, trials_apart
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.report.tables.leaderboard import TrialNote, leaderboard
from tuner.store.study_data import StudyData


def record(number: int, value: float | None, *, state: TrialState = TrialState.COMPLETE, size: int = 10) -> TrialRecord:
    best = None
    if value is not None:
        best = EpochResult(
            epoch=3, train_loss=0.1, dev_loss=0.2, train_metric=0.9, dev_metric=value, learning_rate=0.1, seconds=1.5
        )
    return TrialRecord(
        number=number, params={"learning_rate": 0.1}, seed=7, state=state, best=best, last=best, num_parameters=size
    )


def study(*records: TrialRecord, direction: Direction = Direction.MAXIMIZE) -> StudyData:
    return StudyData(name="s", direction=direction, metric="accuracy", records=records, finalists=(), facts={})


def test_columns_are_in_the_promised_order(mixed: SimulatedStudy) -> None:
    promised = ["rank", "trial", "state", "dev_accuracy", "train_accuracy", "gap", *SPACE.names]
    promised += ["parameters", "best_epoch", "epochs", "seconds", "reason"]
    assert list(leaderboard(mixed.study).columns)[: len(promised)] == promised


def test_only_finished_trials_are_ranked_and_every_trial_has_a_row(mixed: SimulatedStudy) -> None:
    frame = leaderboard(mixed.study)
    assert sorted(frame["trial"]) == [r.number for r in mixed.study.records]
    ranked = frame[frame["rank"].notna()]
    assert set(ranked["state"]) == {"complete"}
    assert list(ranked["rank"]) == list(range(1, len(ranked) + 1))
    assert ranked["dev_accuracy"].is_monotonic_decreasing
    apart = list(frame["state"][len(ranked) :])
    assert apart == ["pruned"] * apart.count("pruned") + ["failed"] * apart.count("failed")


def test_a_pruned_trial_with_the_best_value_is_not_the_best() -> None:
    records = (record(0, 0.8), record(1, 0.99, state=TrialState.PRUNED))
    assert best_trial(records, direction=Direction.MAXIMIZE) is records[0]


def test_among_equals_the_smaller_network_comes_first() -> None:
    ranked = rank_trials([record(0, 0.9, size=500), record(1, 0.9, size=100)], direction=Direction.MAXIMIZE)
    assert [r.number for r in ranked] == [1, 0]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=12), st.sampled_from(Direction))
def test_no_number_breaks_the_order(values: list[float], direction: Direction) -> None:
    records = [record(i, v) for i, v in enumerate(values)]
    ranked = rank_trials(records, direction=direction)
    assert len(ranked) == sum(math.isfinite(v) for v in values)
    assert len(ranked) + len(trials_apart(records, direction=direction)) == len(values)
    assert not any(direction.better(b.value or 0.0, a.value or 0.0) for a, b in itertools.pairwise(ranked))


def test_gap_is_positive_where_dev_is_worse_whatever_the_direction() -> None:
    assert leaderboard(study(record(0, 0.8)))["gap"][0] > 0
    assert leaderboard(study(record(0, 1.2), direction=Direction.MINIMIZE))["gap"][0] > 0


def test_a_hyperparameter_named_like_a_column_keeps_both() -> None:
    one = replace(record(0, 0.8), params={"rank": 3, "seconds": "x"})
    frame = leaderboard(study(one))
    assert list(frame["params.rank"]) == [3]
    assert list(frame["params.seconds"]) == ["x"]
    assert list(frame["rank"]) == [1]


def test_a_study_without_trials_gives_an_empty_table_with_its_columns() -> None:
    frame = leaderboard(study(), notes={})
    assert frame.empty
    assert "ci_low" in frame.columns


def test_notes_come_after_the_promised_columns() -> None:
    frame = leaderboard(study(record(0, 0.8)), notes={0: TrialNote(ci_low=0.7, ci_high=0.9, tie=True)})
    assert list(frame.columns).index("ci_low") > list(frame.columns).index("reason")
    assert list(frame["tie"]) == ["yes"]
