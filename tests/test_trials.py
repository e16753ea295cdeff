"""What is kept of trials is what a look at all of them says, whatever has happened to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.report.test_leaderboard import record
from tuner.ranking import usable_value
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.observe import best_first, in_state, num_unended, worst_value
from tuner.trials import Trials, trials_of


def epochs(record: TrialRecord) -> int:
    return record.epochs


def state(record: TrialRecord) -> TrialState:
    return record.state


def made(number: int, state: TrialState, value: float | None, violation: float) -> TrialRecord:
    return replace(record(number, value, state=state), facts={"violation": violation})


changes = st.lists(
    st.tuples(
        st.integers(0, 8),
        st.sampled_from(TrialState),
        st.sampled_from([None, 0.1, 0.2, 0.3, float("nan")]),
        st.sampled_from([0.0, 0.0, 0.5]),
        st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=at_depth(60))
@given(changes, st.sampled_from(Direction))
def test_what_is_kept_is_what_a_look_at_all_trials_says(
    moves: list[tuple[int, TrialState, float | None, float, bool]], direction: Direction
) -> None:
    trials, follower, mark = Trials(), Trials(), None
    edition = trials.edition(state)
    for number, new_state, value, violation, cuts in moves:
        if cuts:
            trials.cut(number)
        else:
            trials.put(made(min(number, len(trials)), new_state, value, violation))
        alone = list(trials)
        assert trials.total(epochs) == sum(r.epochs for r in alone)
        assert list(trials.each(state))[: len(alone)] == [r.state for r in alone]
        assert trials.held(state) == {s: n for s in TrialState if (n := sum(r.state is s for r in alone))}
        usable = [r for r in alone if usable_value(r) is not None]
        in_order = sorted(usable, key=lambda r: (r.violation, -direction.sign * (usable_value(r) or 0.0)))
        assert [*best_first(trials, direction)] == in_order
        assert worst_value(trials, direction) == worst_value(alone, direction)
        assert [*in_state(trials, TrialState.PAUSED)] == [r for r in alone if r.state is TrialState.PAUSED]
        assert num_unended(trials) == sum(not r.state.final for r in alone)
        edition, before = trials.edition(state), edition
        mark = follower.follow(trials, since=mark)
        assert list(follower) == alone
        assert follower.total(epochs) == trials.total(epochs)
        assert edition >= before


def test_an_edition_changes_with_its_aspect_alone() -> None:
    trials = Trials([record(0, 0.5, state=TrialState.RUNNING)])
    first = trials.edition(state)
    trials.put(record(0, 0.6, state=TrialState.RUNNING))
    assert trials.edition(state) == first
    trials.put(record(0, 0.6))
    assert trials.edition(state) != first


def test_only_what_has_changed_is_looked_at_again() -> None:
    looked_at: list[int] = []

    def measure(record: TrialRecord) -> int:
        looked_at.append(record.number)
        return record.epochs

    trials = Trials([record(n, 0.5) for n in range(100)])
    trials.total(measure)
    looked_at.clear()
    trials.put(record(7, 0.7))
    trials.put(record(7, 0.8))
    trials.total(measure)
    trials.total(measure)
    assert looked_at == [7]


def test_trials_with_missing_numbers_are_found_by_them() -> None:
    trials = Trials([record(2, 0.5), record(5, 0.6)])
    trials.put(record(5, 0.7))
    trials.put(record(9, 0.8))
    assert [trials.numbered(n).value for n in (2, 5, 9)] == [0.5, 0.7, 0.8]
    for missing in (0, 3, 10):
        with pytest.raises(KeyError):
            trials.numbered(missing)


def test_a_list_is_followed_as_trials_are() -> None:
    follower = Trials()
    records = [record(n, n / 10) for n in range(4)]
    assert follower.follow(records, since=None) is None
    assert follower.follow([*records[:2], record(2, 0.9)], since=None) is None
    assert [r.value for r in follower] == [0.0, 0.1, 0.9]
    assert trials_of(follower) is follower
    assert list(trials_of(records)) == records
