"""What every study store promises. A store's tests inherit `StoreContract` and say how it is opened."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    FailureReason,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialPaused,
    TrialRecord,
    TrialStarted,
    TrialState,
)
from tuner.spec.space import Dimension, Space
from tuner.store.store import StudyStore

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128)),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=16, high=256, scale="log"),
        Dimension(name="activation", kind="categorical", tier=3, default="relu", choices=("relu", "tanh", True, 1)),
        Dimension(name="width", kind="int", tier=3, default=32, low=16, high=64, step=16),
    )
)


class StoreHome(Protocol):
    """A place where studies can be opened again and again."""

    def open(self, study: str, *, direction: Direction = Direction.MAXIMIZE, seed: int = 0) -> StudyStore: ...


def epoch_result(epoch: int, dev_metric: float, **others: float) -> EpochResult:
    """The measurements of an epoch, those not given made up from its number."""
    values: dict[str, Any] = {
        "train_loss": 1 / epoch,
        "dev_loss": 1.5 / epoch,
        "train_metric": dev_metric + 0.01,
        "learning_rate": 0.1 / epoch,
        "seconds": 0.25 * epoch,
    }
    return EpochResult(epoch=epoch, dev_metric=dev_metric, **{**values, **others})


def started(trial: int, from_epoch: int = 0) -> TrialStarted:
    return TrialStarted(
        trial=trial,
        worker="worker 0",
        device="cpu",
        path="stacked",
        cohort_width=4,
        from_epoch=from_epoch,
        num_parameters=1234,
    )


def train(store: StudyStore, trial: int, metrics: list[float]) -> TrialRecord:
    """Record that a trial trained further epochs with these dev metrics."""
    first = store.records()[trial].epochs + 1
    store.record(started(trial, first - 1))
    return store.record(
        EpochsFinished(trial=trial, results=tuple(epoch_result(e, m) for e, m in enumerate(metrics, start=first)))
    )


def same(found: tuple[TrialRecord, ...], wanted: tuple[TrialRecord, ...]) -> bool:
    """Equality that takes a NaN for itself, and tells 1 from True and 1.0."""
    return repr(found) == repr(wanted)


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FLOATS | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
FACTS = st.dictionaries(st.text(max_size=20), JSON, max_size=3)
PARAMS = st.fixed_dictionaries(
    {"learning_rate": st.floats(1e-9, 100.0) | st.sampled_from([1, 0.01])},
    optional={
        "momentum": st.floats(0.5, 0.99),
        "batch_size": st.sampled_from([32, 64, 128]),
        "hidden_units": st.integers(1, 5000),
        "activation": st.sampled_from(["relu", "tanh", True, 1]),
        "width": st.integers(1, 100),
    },
)
STARTS = st.tuples(PARAMS, st.integers(1, 100), st.text(max_size=12))
EPOCHS = st.lists(st.tuples(FLOATS, FLOATS), max_size=4)


class StoreContract:
    """Inherit, and define the fixture `home`."""

    num_examples = 15
    """Histories to try in the property test."""

    _names = (f"study-{number}" for number in itertools.count())

    @pytest.fixture
    def study(self) -> str:
        return next(self._names)

    def test_new_study_has_no_trials(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        assert store.records() == ()
        assert store.interrupted() == ()
        assert store.get("sweep") is None
        store.close()

    def test_trials_are_numbered_onwards_and_run(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        first = store.start([(SPACE.default(), 3, "default"), (SPACE.default(), 3, "tier 1")])
        second = store.start([({**SPACE.default(), "learning_rate": 0.5}, 9, "tier 2")])
        assert [r.number for r in first + second] == [0, 1, 2]
        assert {r.state for r in store.records()} == {TrialState.RUNNING}
        assert second[0].params["learning_rate"] == 0.5
        assert (second[0].to_epoch, second[0].tier) == (9, "tier 2")
        assert all(r.started.endswith("+00:00") for r in first)
        store.close()

    def test_seeds_differ_between_trials_and_follow_from_the_search_seed(self, home: StoreHome, study: str) -> None:
        def seeds(name: str, seed: int) -> list[int]:
            store = home.open(name, seed=seed)
            found = [r.seed for r in store.start([(SPACE.default(), 1, "")] * 8)]
            store.close()
            return found

        again, other = f"{study}-again", f"{study}-other"
        assert seeds(study, 0) == seeds(again, 0)
        assert len(set(seeds(other, 1) + seeds(f"{study}-third", 0))) == 16

    def test_the_seed_that_trials_are_given_is_the_one_that_is_kept(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 1, "")] * 2, seed=7)
        store.close()
        again = home.open(study)
        assert [r.seed for r in again.records()] == [7, 7]
        again.close()

    def test_finalists_have_seeds_of_their_own(self, home: StoreHome, study: str) -> None:
        main, finalists = home.open(study), home.open(f"{study}/finalists")
        assert main.start([(SPACE.default(), 1, "")])[0].seed != finalists.start([(SPACE.default(), 1, "")])[0].seed
        main.close()
        finalists.close()

    def test_first_facts_are_there_from_the_start(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        trials = [(SPACE.default(), 1, ""), (SPACE.default(), 1, "")]
        store.start(trials, facts=[{"repeat_of": 7}, {"repeat_of": 8}])
        store.close()
        assert [r.facts["repeat_of"] for r in home.open(study).records()] == [7, 8]

    @pytest.mark.parametrize(
        ("direction", "best_epoch"), [(Direction.MAXIMIZE, 2), (Direction.MINIMIZE, 1)], ids=lambda v: str(v)
    )
    def test_best_epoch_follows_the_direction_and_is_the_first_of_equals(
        self, home: StoreHome, study: str, direction: Direction, best_epoch: int
    ) -> None:
        store = home.open(study, direction=direction)
        store.start([(SPACE.default(), 4, "")])
        record = train(store, 0, [0.5, 0.7, 0.7, 0.5])
        assert record.best is not None
        assert record.best.epoch == best_epoch
        assert record.epochs == 4
        store.close()

    def test_a_pause_ends_at_a_rung_with_the_best_so_far(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 2, "")])
        train(store, 0, [0.8, 0.6])
        assert store.record(TrialPaused(trial=0, epoch=2)).state is TrialState.PAUSED
        assert store.advance(0, 4).state is TrialState.RUNNING
        train(store, 0, [0.7, 0.9])
        record = store.record(TrialFinished(trial=0, reason="all epochs", facts={"dead_units": 0.1}))
        assert record.rungs == ((2, 0.8), (4, 0.9))
        assert (record.state, record.reason, record.facts["dead_units"]) == (TrialState.COMPLETE, "all epochs", 0.1)
        assert record.ended >= record.started
        store.close()

    def test_trials_go_on_from_where_another_is(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([({**SPACE.default(), "hidden_units": 20 + n, "learning_rate": 0.1 * n}, 2, "") for n in (1, 2, 3)])
        for trial, metrics in enumerate(([0.8, 0.9], [0.5, 0.4], [0.3, 0.2])):
            train(store, trial, metrics)
            store.record(TrialPaused(trial=trial, epoch=2))
        seeds = [record.seed for record in store.records()]
        values = [{**SPACE.default(), "hidden_units": 21, "learning_rate": rate} for rate in (0.08, 0.12)]
        store.copy([(1, 0, values[0]), (2, 0, values[1])])
        first, second, third = store.records()
        assert [record.params for record in (second, third)] == values
        assert second.seed == third.seed == first.seed == seeds[0]
        assert (second.best, second.last, second.state) == (first.best, first.last, TrialState.PAUSED)
        assert second.rungs == ((2, 0.5),), "what it had reached by itself stays"
        assert not first.phases
        assert [(p.from_epoch, p.trial, p.params["learning_rate"]) for p in second.phases] == [
            (0, 0, 0.1),
            (2, 1, 0.08),
        ]
        store.close()
        with closing(home.open(study)) as reopened:
            assert same(reopened.records(), (first, second, third))

    def test_an_interruption_is_no_rung_and_the_trial_can_be_continued(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 9, ""), (SPACE.default(), 2, ""), (SPACE.default(), 3, "")])
        train(store, 0, [0.5, 0.6])
        store.record(TrialInterrupted(trial=0))
        train(store, 1, [0.5, 0.6])
        store.record(TrialPaused(trial=1, epoch=2))
        store.close()
        store = home.open(study)  # trial 2 was never taken up
        assert [r.number for r in store.interrupted()] == [0, 2]
        record = store.advance(0, 9)
        assert (record.state, record.rungs, record.epochs) == (TrialState.RUNNING, (), 2)
        store.close()

    def test_a_diverged_trial_fails_with_its_reason(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 9, "")])
        train(store, 0, [float("nan")])
        record = store.record(TrialFailed(trial=0, reason=FailureReason.DIVERGED, message="the loss is NaN in epoch 1"))
        assert (record.state, record.reason) == (TrialState.FAILED, "diverged: the loss is NaN in epoch 1")
        assert record.value is None
        store.close()

    def test_a_trial_without_a_finite_metric_never_completes(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 2, "")])
        train(store, 0, [float("nan"), float("inf")])
        record = store.record(TrialFinished(trial=0, reason="all epochs"))
        assert record.state is TrialState.FAILED
        assert record.reason.startswith("diverged")
        store.close()

    def test_the_strategy_gives_a_trial_up(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 2, "")])
        train(store, 0, [0.4, 0.3])
        store.record(TrialPaused(trial=0, epoch=2))
        record = store.end(0, TrialState.PRUNED, "worse than the median")
        assert (record.state, record.reason, record.value) == (TrialState.PRUNED, "worse than the median", 0.4)
        with pytest.raises(AssertionError):
            store.end(0, TrialState.FAILED, "again")
        store.close()

    def test_a_failed_trial_can_be_tried_again(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 2, "")])
        train(store, 0, [0.4])
        store.record(TrialFailed(trial=0, reason=FailureReason.KILLED, message="signal 9", retryable=True))
        store.flush()
        record = store.advance(0, 2)
        assert (record.state, record.reason, record.ended) == (TrialState.RUNNING, "", "")
        train(store, 0, [0.6])
        store.record(TrialFinished(trial=0, reason="all epochs"))
        wanted = store.records()
        store.close()
        assert same(home.open(study).records(), wanted)

    def test_facts_are_added_to_a_finished_trial(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 1, "")])
        train(store, 0, [0.4])
        store.record(TrialFinished(trial=0, reason="all epochs"))
        store.flush()
        store.annotate(0, {"verdict": "variance"})
        store.close()
        assert home.open(study).records()[0].facts["verdict"] == "variance"

    def test_facts_that_are_too_long_are_left_out_and_named(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.start([(SPACE.default(), 1, "")])
        record = store.annotate(0, {"short": 1, "long": "x" * 100_000})
        assert dict(record.facts) == {"short": 1, "left_out": ["long"]}
        store.close()

    def test_the_study_keeps_facts(self, home: StoreHome, study: str) -> None:
        store = home.open(study)
        store.set("sweep", {"study": "digits", "ranges": (1, 2)})
        store.set("sweep", {"study": "digits", "ranges": (1, 3)})
        assert store.get("sweep") == {"study": "digits", "ranges": [1, 3]}
        store.close()
        store = home.open(study)
        assert store.get("sweep") == {"study": "digits", "ranges": [1, 3]}
        store.set("sweep", None)
        assert store.get("sweep") is None
        store.close()

    def test_records_survive_being_closed_and_opened(self, home: StoreHome) -> None:
        @settings(max_examples=self.num_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(data=st.data())
        def survive(data: st.DataObject) -> None:
            study = next(self._names)
            direction = data.draw(st.sampled_from(list(Direction)), label="direction")
            with closing(home.open(study, direction=direction)) as store:
                for _ in range(data.draw(st.integers(1, 12), label="steps")):
                    step(store, data.draw)
                    if data.draw(st.booleans(), label="flush"):
                        store.flush()
                wanted = store.records()
            with closing(home.open(study, direction=direction)) as reopened:
                assert same(reopened.records(), wanted)

        survive()


def step(store: StudyStore, draw: Callable[..., Any]) -> None:
    """Let something happen to a store that may happen to it."""
    open_trials = [r for r in store.records() if not r.state.final]
    if not open_trials or draw(st.integers(0, 4), label="start") == 0:
        store.start(draw(st.lists(STARTS, min_size=1, max_size=3), label="starts"))
        return
    record = draw(st.sampled_from(open_trials), label="trial")
    trial = record.number
    match draw(st.sampled_from(sorted(_STEPS)), label="step"):
        case "train":
            metrics = draw(EPOCHS, label="epochs")
            results = enumerate(metrics, start=record.epochs + 1)
            store.record(started(trial, record.epochs))
            store.record(
                EpochsFinished(
                    trial=trial, results=tuple(epoch_result(e, dev, train_loss=loss) for e, (dev, loss) in results)
                )
            )
        case "pause":
            store.record(TrialPaused(trial=trial, epoch=record.epochs, facts=draw(FACTS, label="facts")))
        case "advance":
            store.advance(trial, draw(st.integers(1, 100), label="to"))
        case "interrupt":
            store.record(TrialInterrupted(trial=trial))
        case "annotate":
            store.annotate(trial, draw(FACTS, label="facts"))
        case "finish":
            store.record(TrialFinished(trial=trial, reason=draw(st.text(max_size=20)), facts=draw(FACTS)))
        case "fail":
            reason = draw(st.sampled_from(list(FailureReason)))
            store.record(TrialFailed(trial=trial, reason=reason, message=draw(st.text(max_size=20))))
        case "end":
            store.end(trial, TrialState.PRUNED, draw(st.text(max_size=20)))


_STEPS = {"train", "pause", "advance", "interrupt", "annotate", "finish", "fail", "end"}
