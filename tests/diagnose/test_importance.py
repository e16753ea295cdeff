from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.depth import at_depth
from tests.report.simulate import SPACE, simulate
from tuner.diagnose.importance import FALSE_ALARM, Finding, _blocks, _Left, importances
from tuner.records import Direction, TrialRecord
from tuner.spec.space import Dimension, Space


def findings(records: tuple[TrialRecord, ...], space: Space = SPACE) -> dict[str, Finding]:
    return {i.name: i.finding for i in importances(records, space=space, direction=Direction.MAXIMIZE)}


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "studies"), [(25, at_depth(150)), pytest.param(64, 80, marks=pytest.mark.deep)])
def test_pure_noise_cannot_be_told_from_anything(trials: int, studies: int) -> None:
    quiet = 0
    for seed in range(studies):
        noise = simulate(trials=trials, seed=seed, noise_only=True, pruned=0.2, failed=0.05)
        quiet += Finding.MATTERS not in findings(noise.study.records).values()
    assert quiet >= 0.95 * studies


@pytest.mark.slow
def test_the_learning_rate_is_found_to_matter_also_when_bad_trials_were_pruned() -> None:
    for pruned in (0.0, 0.3):
        found = [findings(simulate(trials=40, seed=s, pruned=pruned).study.records) for s in range(10)]
        assert sum(f["learning_rate"] is Finding.MATTERS for f in found) >= 9


def test_what_is_common_to_two_parameters_counts_once() -> None:
    """A second parameter that merely moves with the learning rate gets no importance of its own."""
    study = simulate(trials=60, seed=3).study
    records = tuple(
        TrialRecord(
            number=r.number,
            params={**r.params, "shadow": 0.9 * SPACE["learning_rate"].to_unit(r.params["learning_rate"]) + 0.05},
            seed=0,
            state=r.state,
            best=r.best,
            last=r.last,
        )
        for r in study.records
    )
    shadow = Dimension(name="shadow", kind="float", tier=1, default=0.5, low=0.0, high=1.0)
    found = findings(records, Space((*SPACE.dimensions, shadow)))
    assert sorted([found["learning_rate"], found["shadow"]]) == sorted([Finding.MATTERS, Finding.CANNOT_TELL])


@pytest.mark.slow
def test_a_large_study_says_what_does_not_matter() -> None:
    found = findings(simulate(trials=400, seed=0).study.records)
    assert found["learning_rate"] is Finding.MATTERS
    assert found["lr_decay"] is Finding.DOES_NOT_MATTER
    assert found["batch_size"] is Finding.DOES_NOT_MATTER


def test_intervals_hold_the_share_and_stay_between_nothing_and_all() -> None:
    for item in importances(simulate(trials=64, seed=1).study.records, space=SPACE, direction=Direction.MAXIMIZE):
        assert 0.0 <= item.interval.low <= item.interval.high <= 1.0
        assert item.share <= 1.0
        if item.interval.low > 0.0 and item.interval.high < 1.0:
            assert (item.interval.low + item.interval.high) / 2 == pytest.approx(item.share)
        assert item.floor > 0.0


@pytest.mark.parametrize("trials", [0, 1, 2, 5])
def test_a_handful_of_trials_never_breaks_it(trials: int) -> None:
    found = findings(simulate(trials=trials, seed=0).study.records)
    assert set(found.values()) <= {Finding.CANNOT_TELL}


def test_equal_trials_tell_nothing() -> None:
    records = tuple(
        TrialRecord(number=r.number, params=r.params, seed=0, state=r.state, best=same, last=same)
        for r in simulate(trials=30, seed=0).study.records
        if (same := simulate(trials=1, seed=0).study.records[0].best)
    )
    assert set(findings(records).values()) == {Finding.CANNOT_TELL}


def test_conditional_and_vanished_values_are_taken_as_they_come() -> None:
    base = simulate(trials=30, seed=2).study.records
    beta = Dimension(name="beta1", kind="float", tier=2, default=0.9, low=0.8, high=0.99, when={"optimizer": ("adam",)})
    optimizer = Dimension(name="optimizer", kind="categorical", tier=2, default="sgd", choices=("sgd", "adam"))
    records = tuple(
        TrialRecord(
            number=r.number,
            params={"optimizer": "adam", "beta1": 0.8 + 0.005 * i} if i % 2 else {"optimizer": "sgd" if i else "lion"},
            seed=0,
            state=r.state,
            best=r.best,
            last=r.last,
        )
        for i, r in enumerate(base)
    )
    assert set(findings(records, Space((optimizer, beta)))) == {"optimizer", "beta1"}


def test_what_a_staged_search_fixed_gets_no_credit_for_what_it_found_before() -> None:
    """Batch size is tried in the second stage, when the learning rate is good already; it does nothing itself."""
    base = [r for r in simulate(trials=60, seed=4, spread=0.2).study.records if r.best]
    by_value = sorted(base, key=lambda r: r.value or 0.0)
    early, late = by_value[:30], by_value[30:]
    staged = [
        TrialRecord(number=i, params={**r.params, "batch_size": 64}, seed=0, state=r.state, tier="tier 1", best=r.best)
        for i, r in enumerate(early)
    ]
    staged += [
        TrialRecord(
            number=30 + i,
            params={**r.params, "batch_size": (32, 128, 256)[i % 3]},
            seed=0,
            state=r.state,
            tier="tier 2",
            best=r.best,
        )
        for i, r in enumerate(late)
    ]
    assert findings(tuple(staged))["batch_size"] is not Finding.MATTERS


@pytest.mark.slow
def test_the_last_trials_of_a_long_study_count_as_the_first_do() -> None:
    base = simulate(trials=1200, seed=0).study.records
    default = SPACE["momentum"].default
    late = tuple(r if r.number >= 900 else replace(r, params={**r.params, "momentum": default}) for r in base)
    found = {i.name: i for i in importances(late, space=SPACE, direction=Direction.MAXIMIZE)}
    assert "momentum" in found
    assert found["momentum"].num_trials == 1000


def test_the_more_hyperparameters_compete_the_higher_lies_the_floor() -> None:
    rng = np.random.default_rng(0)
    block, ranks = rng.standard_normal((60, 2)), rng.standard_normal(60)
    left = _Left.of(np.ones((60, 1)), ranks, seed=0)
    floors = [left.share_and_floor(block, rivals=n)[1] for n in (1, 6, 30)]
    assert floors == sorted(set(floors))


def test_what_luck_explains_is_what_regressions_on_shuffled_ranks_say() -> None:
    rng = np.random.default_rng(1)
    before = np.c_[np.ones(40), rng.standard_normal((40, 2))]
    block, ranks = rng.standard_normal((40, 3)), rng.standard_normal(40)

    def unexplained(columns: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((targets - columns @ np.linalg.lstsq(columns, targets, rcond=None)[0]) ** 2).sum(axis=0)

    left = _Left.of(before, ranks, seed=0)
    assert left.sizes == pytest.approx(unexplained(before, left.shuffled))
    both = unexplained(np.c_[before, block], left.shuffled)
    parts = np.sort(1 - both / left.sizes)
    of_luck = parts[int(np.ceil((1 - FALSE_ALARM) * 2000)) - 1]
    size = (left.left**2).sum() / ((ranks - ranks.mean()) ** 2).sum()
    assert left.share_and_floor(block, rivals=1)[1] == pytest.approx((of_luck - (1 - of_luck) * 3 / 34) * size)


def test_a_curve_bends_twice_only_where_there_are_trials_for_it() -> None:
    rate = SPACE["learning_rate"]
    for trials, columns in ((15, 2), (18, 3)):
        (block,) = _blocks(simulate(trials=trials, seed=0).study.records, [rate])
        assert block.shape == (trials, columns)
