"""The parts of the model: the Gaussian process, the cube, the acquisition, the observations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import norm

from tests.contracts.strategy_contract import CONDITIONAL, CONTINUOUS, DISCRETE
from tests.depth import at_depth
from tests.search.test_priority import explorer
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.search.cube import Cube
from tuner.search.observe import worst_value
from tuner.search.priority import gp
from tuner.search.priority.acquisition import Candidates, log_expected_improvement
from tuner.search.priority.diagnosis import Diagnosis, diagnose
from tuner.search.priority.effort import FULL, LIGHT, MIDDLE, QUICK, Effort, worthwhile
from tuner.search.priority.gp import Prior, Process, fit
from tuner.search.priority.observations import Observations, measured_by, observe
from tuner.search.priority.response import Response


def data(n: int = 25, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((n, columns))
    y = np.sin(5 * x[:, 0]) + 0.3 * x[:, 1] + x[:, -1] + 0.05 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


PRIOR = Prior(length_scales=np.array([0.3, 0.6, 1.0, 0.8]))
ORDERED = np.zeros(4, dtype=bool)


class TestGaussianProcess:
    @pytest.mark.parametrize("unordered", [ORDERED, np.array([False, True, False, False])])
    def test_the_gradient_of_the_fit_is_right(self, unordered: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
        x, y = data()
        x[:, 1] = np.round(x[:, 1] * 2) / 2
        seen = {}

        def catch(loss: object, start: np.ndarray, **options: object) -> object:
            seen["loss"] = loss
            return type("Found", (), {"x": start})

        monkeypatch.setattr(gp, "minimize", catch)
        theta = fit(x, y, prior=PRIOR, unordered=unordered, iterations=1) + 0.1
        numeric = approx_fprime(theta, lambda t: seen["loss"](t)[0], 1e-6)
        np.testing.assert_allclose(seen["loss"](theta)[1], numeric, rtol=1e-3, atol=1e-4)

    def test_it_predicts_what_it_saw_and_doubts_elsewhere(self) -> None:
        x, y = data(60)
        process = Process(x, y, theta=fit(x, y, prior=PRIOR, unordered=ORDERED, iterations=50), unordered=ORDERED)
        mean, deviation = process.predict(x)
        assert np.corrcoef(mean, y)[0, 1] > 0.99
        _, outside = process.predict(np.array([[3.0, 3.0, 3.0, 1.0]]))
        assert outside[0] > 3 * deviation.max()

    def test_believing_changes_no_mean_and_equals_observing_the_prediction(self) -> None:
        x, y = data()
        theta = fit(x, y, prior=PRIOR, unordered=ORDERED, iterations=30)
        points = np.random.default_rng(1).random((7, 4))
        pending = np.array([[0.2, 0.4, 0.6, 1.0], [0.7, 0.4, 0.1, 1.0]])
        process = Process(x, y, theta=theta, unordered=ORDERED)
        pool = process.pool(points)
        before = pool.mean.copy()
        told = Process(
            np.vstack([x, pending]),
            np.append(y, process.predict(pending)[0]),
            theta=theta,
            unordered=ORDERED,
        )
        process.believe(pending)
        for mean, deviation in ((pool.mean, pool.deviation), process.predict(points)):
            np.testing.assert_allclose(mean, before, atol=1e-7)
            np.testing.assert_allclose(mean, told.predict(points)[0], atol=1e-6)
            np.testing.assert_allclose(deviation, told.predict(points)[1], atol=1e-6)

    def test_repeated_observations_do_not_break_it(self) -> None:
        x, y = data(10)
        x, y = np.vstack([x] * 5), np.concatenate([y] * 5)
        theta = fit(x, y, prior=PRIOR, unordered=ORDERED, iterations=30)
        process = Process(x, y, theta=theta, unordered=ORDERED)
        process.believe(x[:1])
        process.believe(x)  # each of them five times
        assert np.isfinite(process.predict(x)[1]).all()

    def test_what_is_believed_one_after_the_other_is_believed_together(self) -> None:
        x, y = data()
        theta = fit(x, y, prior=PRIOR, unordered=ORDERED, iterations=30)
        points = np.random.default_rng(1).random((9, 4))
        together, one_by_one = (Process(x, y, theta=theta, unordered=ORDERED) for _ in range(2))
        pools = [process.pool(points) for process in (together, one_by_one)]
        pending = np.random.default_rng(2).random((20, 4))
        together.believe(pending)
        for point in pending:
            one_by_one.believe(point[None])
        np.testing.assert_allclose(pools[0].deviation, pools[1].deviation, atol=1e-8)
        np.testing.assert_allclose(together.predict(points)[1], one_by_one.predict(points)[1], atol=1e-8)


class TestResponse:
    def test_beside_a_promising_pending_point_nothing_more_is_to_be_gained(self) -> None:
        rng = np.random.default_rng(0)
        points = np.vstack([rng.random((40, 4)), 0.2 * rng.random((5, 4))])  # only the poor ones are trained in full
        lengths = np.repeat([0.5, 1.0], [40, 5])
        worth = 2 * lengths - ((points - 0.5) ** 2).sum(axis=1)
        seen = Observations(x=np.column_stack([points, lengths]), y=(worth - worth.mean()) / worth.std())
        pending = np.full((1, 4), 0.5)
        beside = pending + 0.01
        response = Response(seen, Cube(CONTINUOUS), trials=beside, effort=FULL, rng=rng)
        assert response.appraise(pending).mean[0] > response.incumbent + 0.1  # it promises more than was ever seen
        before = response.appraise_trials([0]).log_improvement[0]
        assert response.appraise(beside).log_improvement[0] == pytest.approx(before)
        response.believe(pending)
        after = response.appraise_trials([0]).log_improvement[0]
        assert after < before - 2
        assert response.appraise(beside).log_improvement[0] == pytest.approx(after)

    def test_of_very_many_pending_points_the_most_promising_count(self) -> None:
        rng = np.random.default_rng(0)
        points = rng.random((60, 4))
        worth = -((points - 0.5) ** 2).sum(axis=1)
        seen = Observations(x=np.column_stack([points, np.ones(60)]), y=(worth - worth.mean()) / worth.std())
        poor = np.column_stack([0.1 * rng.random((QUICK.pending, 3)), 0.9 + 0.1 * rng.random(QUICK.pending)])
        pending = np.vstack([poor, np.full((1, 4), 0.5)])
        beside = np.full((1, 4), 0.51)
        responses = [
            Response(seen, Cube(CONTINUOUS), trials=beside, effort=QUICK, rng=np.random.default_rng(0))
            for _ in range(2)
        ]
        before = responses[0].appraise(beside).deviation[0]
        responses[0].believe(poor)
        responses[1].believe(pending)
        assert responses[0].appraise(beside).deviation[0] == pytest.approx(before, rel=0.05)
        assert responses[1].appraise(beside).deviation[0] < 0.7 * before


class TestExpectedImprovement:
    @given(st.floats(-8, 8), st.floats(0.01, 10))
    def test_it_is_the_textbook_value(self, z: float, deviation: float) -> None:
        expected = deviation * (z * norm.cdf(z) + norm.pdf(z))
        found = log_expected_improvement(np.array([z * deviation]), np.array([deviation]), 0.0)
        assert found[0] == pytest.approx(math.log(expected), rel=1e-4, abs=1e-4)

    def test_it_stays_finite_and_ordered_far_from_the_best(self) -> None:
        means = -np.logspace(0, 8, 60)
        found = log_expected_improvement(means, np.ones(60), 0.0)
        assert np.isfinite(found).all()
        assert (np.diff(found) < 0).all()


class TestCube:
    @pytest.mark.parametrize("space", [CONTINUOUS, CONDITIONAL, DISCRETE])
    def test_snapped_points_are_configurations(self, space: object) -> None:
        cube = Cube(space)  # type: ignore[arg-type]
        for point in cube.snap(np.random.default_rng(0).random((200, cube.columns))):
            params = cube.params(point)
            assert cube.space.contains(params)
            np.testing.assert_allclose(cube.units(params), point, atol=1e-4)

    def test_fixed_dimensions_have_no_column(self) -> None:
        cube = Cube(CONDITIONAL)
        assert "fixed" not in [d.name for d in cube.dimensions]
        assert cube.params(cube.default)["fixed"] == 0.5


class TestCandidates:
    def draw(self, *, open_columns: list[bool], upwards: list[bool]) -> Candidates:
        return Candidates(
            Cube(CONTINUOUS),
            open_columns=np.array(open_columns),
            upwards=np.array(upwards),
            rng=np.random.default_rng(0),
        )

    def test_closed_columns_stay(self) -> None:
        candidates = self.draw(open_columns=[True, True, True, False], upwards=[False] * 4)
        cube = Cube(CONTINUOUS)
        base = cube.snap(np.full((1, 4), 0.3))
        assert set(candidates.anywhere(50)[:, 3]) == {cube.default[3]}
        assert set(candidates.around(base, 50)[:, 3]) == {base[0, 3]}
        assert set(candidates.near(base, each=50, step=0.1)[:, 3]) == {base[0, 3]}

    def test_every_move_moves(self) -> None:
        candidates = self.draw(open_columns=[True, False, False, False], upwards=[False] * 4)
        base = Cube(CONTINUOUS).snap(np.full((1, 4), 0.5))
        assert (np.abs(candidates.around(base, 200) - base).max(axis=1) > 0).all()

    def test_favoured_columns_grow(self) -> None:
        candidates = self.draw(open_columns=[True] * 4, upwards=[False, False, True, False])
        base = np.full((1, 4), 0.5)
        moved = candidates.around(base, 2000) - 0.5
        assert moved[:, 2].mean() > 0.02
        assert abs(moved[:, 1].mean()) < 0.02


def record(number: int, value: float, *, state: TrialState = TrialState.PAUSED, epoch: int = 3) -> TrialRecord:
    nan = math.nan
    last = EpochResult(
        epoch=epoch, train_loss=nan, dev_loss=nan, train_metric=nan, dev_metric=value, learning_rate=0.1, seconds=5.0
    )
    params = {**CONTINUOUS.default(), "learning_rate": 0.001 * (number + 1)}
    rungs = () if state is TrialState.RUNNING else ((epoch, value),)
    return TrialRecord(number=number, params=params, seed=0, state=state, rungs=rungs, best=last, last=last)


class TestObservations:
    def seen(self, records: list[TrialRecord], *, running: bool = True, direction: Direction = Direction.MAXIMIZE):  # type: ignore[no-untyped-def]
        points = np.array([Cube(CONTINUOUS).units(record.params) for record in records])
        measured = [measured_by(27, running=running)(record) for record in records]
        return observe(measured, points, direction=direction, worst=worst_value(records, direction))

    def test_nothing_is_nothing(self) -> None:
        assert self.seen([]) is None

    def test_running_trials_count_as_far_as_they_have_come(self) -> None:
        records = [record(0, 0.5), record(1, 0.6, state=TrialState.RUNNING, epoch=7)]
        assert len(self.seen(records).y) == 2
        assert len(self.seen(records, running=False).y) == 1
        assert self.seen(records).x[1, -1] == pytest.approx(math.log(7) / math.log(27))

    def test_early_stopping_counts_as_full_training(self) -> None:
        assert self.seen([record(0, 0.5, state=TrialState.COMPLETE, epoch=9)]).x[0, -1] == 1.0

    def test_a_diverged_trial_is_the_worst_and_a_killed_one_is_nothing(self) -> None:
        good = [record(n, 0.5 + 0.1 * n) for n in range(3)]
        diverged = replace(record(3, 0.9), state=TrialState.FAILED, reason="diverged: loss is NaN")
        killed = replace(record(3, 0.9), state=TrialState.FAILED, reason="killed: signal 9")
        seen = self.seen([*good, diverged])
        assert seen.y[3] == seen.y.min()
        assert len(self.seen([*good, killed]).y) == 3

    def test_terrible_values_do_not_drown_the_good_ones(self) -> None:
        records = [record(n, 0.90 + 0.01 * n) for n in range(6)] + [record(6, -1e6)]
        y = self.seen(records).y
        assert y.min() > -4
        assert np.diff(y[:6]).min() > 0.1

    def test_less_is_better_where_it_is_minimised(self) -> None:
        y = self.seen([record(0, 0.5), record(1, 0.4)], direction=Direction.MINIMIZE).y
        assert y[1] > y[0]


class TestDiagnosis:
    def found(self, direction: Direction, *, dev: float, train: float, state: TrialState) -> Diagnosis:
        records = [measured(record(n, dev, state=state, epoch=27), train) for n in range(3)]
        diagnosis = diagnose(records, direction=direction, noise=0.01, target_error=0.05)
        assert diagnosis is not None
        return diagnosis

    @pytest.mark.parametrize(
        ("direction", "dev", "train"), [(Direction.MAXIMIZE, 0.7, 0.8), (Direction.MINIMIZE, 0.3, 0.2)]
    )
    def test_the_gap_is_what_dev_lacks_to_train_and_the_bias_what_train_lacks_to_the_target(
        self, direction: Direction, dev: float, train: float
    ) -> None:
        found = self.found(direction, dev=dev, train=train, state=TrialState.COMPLETE)
        assert (found.gap, found.bias, found.noise) == pytest.approx((0.1, 0.15, 0.02))
        assert found.shows_variance
        assert found.shows_bias

    def test_a_gap_within_two_standard_errors_is_no_variance(self) -> None:
        found = self.found(Direction.MAXIMIZE, dev=0.785, train=0.8, state=TrialState.COMPLETE)
        assert not found.shows_variance
        assert found.shows_bias

    def test_what_held_out_training_examples_do_not_show_is_a_mismatch_and_no_variance(self) -> None:
        records = [measured(record(n, 0.6, state=TrialState.COMPLETE, epoch=27), 0.99) for n in range(3)]
        records = [replace(r, facts={**r.facts, "train_dev_metric": 0.98}) for r in records]
        found = diagnose(records, direction=Direction.MAXIMIZE, noise=0.01, target_error=0.05)
        assert found is not None
        assert found.gap == pytest.approx(0.01)
        assert not found.shows_variance


def measured(trial: TrialRecord, train_metric: float) -> TrialRecord:
    """The same, with this training metric at its best and its last epoch."""
    best, last = (None if r is None else replace(r, train_metric=train_metric) for r in (trial.best, trial.last))
    return replace(trial, best=best, last=last)


def test_where_trials_are_too_cheap_for_a_model_a_new_one_lies_near_a_good_one_every_other_time() -> None:
    def cheap(number: int, value: float, rate: float) -> TrialRecord:
        trial = record(number, value, state=TrialState.COMPLETE, epoch=27)
        assert trial.last is not None
        return replace(
            trial, params={**trial.params, "learning_rate": rate}, last=replace(trial.last, seconds=1e-5), tier="all"
        )

    failed = replace(record(1, 0.0, state=TrialState.FAILED), rungs=(), best=None, last=None)
    made, lowest = explorer([]), CONTINUOUS["learning_rate"].low
    single = made.session([cheap(0, 0.9, 0.3), failed], room=1)
    assert not single.modelled
    assert single.modelled_start(to_epoch=3) is not None
    near: list[float] = []
    for others in range(0, 40, 2):
        good = [cheap(n, 0.9 + n / 1000, 0.3) for n in range(4)]
        session = made.session([*good, *(cheap(4 + n, 0.1, lowest) for n in range(others))], room=1)
        start = session.modelled_start(to_epoch=3)
        assert start is not None
        near.append(CONTINUOUS["learning_rate"].to_unit(start[0].params["learning_rate"]))
    assert np.median(near) > 0.7


class TestEffort:
    @settings(max_examples=at_depth(30))
    @given(st.integers(1, 400), st.integers(1, 64))
    def test_it_stays_within_its_share(self, trials: int, decisions: int) -> None:
        records = [record(n, 0.5) for n in range(trials)]
        effort = worthwhile(records, decisions=decisions)
        assert effort is None or effort.seconds(trials, decisions) <= 0.025 * decisions * 5.0

    @pytest.mark.parametrize(
        ("seconds", "effort"), [(5.0, FULL), (0.3, MIDDLE), (0.18, LIGHT), (0.12, QUICK), (0.001, None)]
    )
    def test_the_dearer_the_trials_the_better_the_model(self, seconds: float, effort: Effort | None) -> None:
        trial = record(0, 0.5)
        assert trial.last is not None
        trial = replace(trial, last=replace(trial.last, seconds=seconds))
        assert worthwhile([trial], decisions=1) is effort
        twice = replace(trial, rungs=((1, 0.4), *trial.rungs), last=replace(trial.last, seconds=2 * seconds))
        assert worthwhile([twice], decisions=1) is effort  # two decisions, each worth as much

    def test_of_very_many_workers_it_leaves_the_one_that_decides_most_of_its_time(self) -> None:
        trial = record(0, 0.5)
        assert trial.last is not None
        records = [replace(trial, number=n, last=replace(trial.last, seconds=60.0)) for n in range(2000)]
        assert worthwhile(records, decisions=1, under_way=9) is FULL
        assert worthwhile(records, decisions=1, under_way=999) in (MIDDLE, LIGHT, QUICK)
        assert worthwhile(records, decisions=10, under_way=90) is FULL  # one fit serves them all


def test_small_moves_move_half_of_the_open_coordinates_and_stay_near_their_own_base() -> None:
    cube = Cube(CONTINUOUS)
    rng = np.random.default_rng(0)
    open_columns, upwards = np.array([True, True, True, False]), np.zeros(4, dtype=bool)
    candidates = Candidates(cube, open_columns=open_columns, upwards=upwards, rng=rng)
    bases = cube.snap(np.array([[0.3] * 4, [0.7] * 4]))
    moves = candidates.near(bases, each=100, step=0.02) - np.repeat(bases, 100, axis=0)
    assert 0.4 < (np.abs(moves[:, :2]) > 1e-9).mean() < 0.6
    assert np.abs(moves).max() < 0.15


def test_a_proposal_is_a_configuration_that_was_not_tried_while_there_is_one() -> None:
    cube = Cube(DISCRETE)
    places = cube.snap(np.array([[a, b] for a in (0.0, 0.5, 1.0) for b in (0.0, 1 / 3, 2 / 3, 1.0)]))
    tried = places[:8]
    values = np.linspace(-1.0, 1.0, len(tried))  # better towards what is left
    seen = Observations(x=np.column_stack([tried, np.ones(len(tried))]), y=values)
    rng = np.random.default_rng(0)
    response = Response(seen, cube, trials=tried, effort=LIGHT, rng=rng)
    both = np.array([True, True])
    point, _ = response.propose(Candidates(cube, open_columns=both, upwards=~both, rng=rng), tried)
    assert np.abs(tried - point).max(axis=1).min() > 0.1
