"""The sweep's loop, with a scripted executor and a store in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep.parts import EPOCHS, FixedStrategy, Notes, accuracy, states, strategy, sweep
from tuner.errors import DataError, FailureLimitError
from tuner.execute.scripted import ProcessKilledError, ScriptedExecutor
from tuner.records import (
    FailureReason,
    Params,
    TrialEvent,
    TrialFailed,
    TrialJob,
    TrialRecord,
    TrialState,
)
from tuner.search.strategy import Advance, Start, Stop
from tuner.store.memory import MemoryStore
from tuner.sweep import loop
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher, Watchers

NAN = float("nan")


def start(x: float, *, to_epoch: int = EPOCHS) -> Start:
    return Start(params={"x": x}, to_epoch=to_epoch, tier="all")


# Totals


def test_the_number_of_trials_is_a_total_over_all_runs(tmp_path: Path) -> None:
    store = MemoryStore()
    for trials, expected in ((7, 7), (7, 7), (5, 7), (10, 10)):
        assert sweep(tmp_path, strategy(trials=trials), store=store, width=3).run()
        assert states(store) == [TrialState.COMPLETE] * expected
    assert len({record.params["x"] for record in store.records()}) == 10


def test_a_pruned_trial_counts(tmp_path: Path) -> None:
    store = MemoryStore()
    assert sweep(tmp_path, strategy(trials=30, pruner="asha"), store=store).run()
    assert len(store.records()) == 30
    assert set(states(store)) == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_failed_trial_counts_and_can_be_tried_again(tmp_path: Path) -> None:
    broken = True

    def curve(params: Params, epoch: int) -> float:
        if broken and float(params["x"]) > 0.5:
            raise ValueError(f"not with {params['x']}")
        return accuracy(params, epoch)

    store = MemoryStore()
    assert sweep(tmp_path, strategy(trials=6), curve=curve, store=store, consecutive_failures=9).run()
    failed = [record for record in store.records() if record.state is TrialState.FAILED]
    assert 0 < len(failed) < 6
    broken = False
    assert sweep(tmp_path, strategy(trials=6), curve=curve, store=store).run(failed)
    assert states(store) == [TrialState.COMPLETE] * 6


# Decisions


def test_decisions_are_carried_out(tmp_path: Path) -> None:
    store, notes = MemoryStore(), Notes()
    plan = FixedStrategy(
        [start(0.2, to_epoch=1), start(0.8, to_epoch=1)],
        [],
        [Stop(trial=0, reason="worse"), Advance(trial=1, to_epoch=EPOCHS), start(0.4, to_epoch=2)],
    )
    planned, let_go = sweep(tmp_path, plan, store=store, watcher=notes), list[str]()
    planned.executor.let_go = let_go.extend  # type: ignore[method-assign]
    assert planned.run()
    assert let_go == [str(planned.folders(0))]
    loser, winner, left = store.records()
    assert (loser.state, loser.reason, loser.value) == (TrialState.PRUNED, "worse", 0.05)
    assert (winner.state, winner.value, winner.rungs) == (TrialState.COMPLETE, 0.8, ((1, 0.2), (EPOCHS, 0.8)))
    assert (left.state, left.reason, left.value) == (TrialState.PRUNED, "not advanced beyond epoch 2", 0.2)
    assert [record.number for record in notes.over] == [0, 1, 2]
    assert notes.begun == [0, 1, 1, 2]


def test_the_strategy_sees_what_is_running(tmp_path: Path) -> None:
    plan = FixedStrategy([start(0.1), start(0.2)], [start(0.3)])
    sweep(tmp_path, plan, width=2).run()
    assert plan.seen[:2] == [(), (TrialState.COMPLETE, TrialState.RUNNING)]


def test_what_the_strategy_explains_is_said(tmp_path: Path) -> None:
    class Talking(FixedStrategy):
        def explain(self) -> tuple[str, ...]:
            return ("tier 2 opens",)

    notes = Notes()
    sweep(tmp_path, Talking([start(0.1)]), watcher=notes).run()
    assert set(notes.lines) == {"tier 2 opens"}


# Failures


def test_a_killed_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    killed: list[int] = []

    def curve(params: Params, epoch: int) -> float:
        if epoch == 3 and not killed:
            killed.append(epoch)
            raise ProcessKilledError("its process was killed by SIGKILL (9)")
        return accuracy(params, epoch)

    store, notes = MemoryStore(), Notes()
    assert sweep(tmp_path, FixedStrategy([start(0.5)]), curve=curve, store=store, watcher=notes).run()
    (record,) = store.records()
    assert (record.state, record.epochs, record.attempts) == (TrialState.COMPLETE, EPOCHS, 2)
    assert notes.lines == [
        "trial 0 is tried again: its process was killed by SIGKILL (9)",
        "trial 0 goes on after epoch 2",
    ]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_trial_that_is_killed_again_and_again_fails(tmp_path: Path, retries: int) -> None:
    def curve(params: Params, epoch: int) -> float:
        raise ProcessKilledError("its process was killed by SIGKILL (9)")

    store = MemoryStore()
    assert sweep(tmp_path, FixedStrategy([start(0.5)]), curve=curve, store=store, retries=retries).run()
    (record,) = store.records()
    assert (record.state, record.attempts) == (TrialState.FAILED, retries + 1)
    assert record.reason == "killed: its process was killed by SIGKILL (9)"


def test_pauses_do_not_use_up_retries(tmp_path: Path) -> None:
    def curve(params: Params, epoch: int) -> float:
        if epoch == EPOCHS and "killed" not in seen:
            seen.append("killed")
            raise ProcessKilledError("gone")
        return accuracy(params, epoch)

    seen: list[str] = []
    store = MemoryStore()
    advances = [[Advance(trial=0, to_epoch=epoch)] for epoch in range(2, EPOCHS + 1)]
    plan = FixedStrategy([start(0.5, to_epoch=1)], *advances)
    assert sweep(tmp_path, plan, curve=curve, store=store, width=1).run()
    assert states(store) == [TrialState.COMPLETE]


def test_the_same_failure_again_and_again_ends_the_sweep_with_the_cause(tmp_path: Path) -> None:
    def curve(params: Params, epoch: int) -> float:
        raise KeyError(f"no such layer: 0x7f{int(1e6 * float(params['x'])):x} of {params['x']}")

    store = MemoryStore()
    running = sweep(tmp_path, strategy(trials=20), curve=curve, store=store, width=5)
    with pytest.raises(FailureLimitError, match="the last 3 trials failed in the same way") as caught:
        running.run()
    assert caught.value.exit_code == 7
    assert str(caught.value).count("no such layer") == 1
    assert "--retry-failed" in str(caught.value)
    assert states(store).count(TrialState.FAILED) == 3
    assert TrialState.RUNNING not in states(store)
    assert "Traceback" in (tmp_path / "0000" / "log.txt").read_text()


def test_failures_with_successes_between_them_do_not_end_the_sweep(tmp_path: Path) -> None:
    def curve(params: Params, epoch: int) -> float:
        if float(params["x"]) > 0.5:
            raise ValueError("too much")
        return accuracy(params, epoch)

    store = MemoryStore()
    plan = FixedStrategy(*([start(x)] for x in (0.9, 0.8, 0.1, 0.7, 0.6, 0.2)))
    assert sweep(tmp_path, plan, curve=curve, store=store, width=1).run()
    assert states(store).count(TrialState.FAILED) == 4


def test_different_failures_do_not_end_the_sweep(tmp_path: Path) -> None:
    def curve(params: Params, epoch: int) -> float:
        raise (ValueError if float(params["x"]) > 0.5 else TypeError)("broken")

    store = MemoryStore()
    plan = FixedStrategy(*([start(x)] for x in (0.9, 0.1, 0.8, 0.2)))
    assert sweep(tmp_path, plan, curve=curve, store=store, width=1).run()
    assert states(store) == [TrialState.FAILED] * 4


def test_divergence_does_not_end_the_sweep(tmp_path: Path) -> None:
    store = MemoryStore()
    assert sweep(tmp_path, strategy(trials=8), curve=lambda params, epoch: NAN, store=store).run()
    assert {record.reason.partition(":")[0] for record in store.records()} == {FailureReason.DIVERGED.value}


def test_an_executor_that_cannot_go_on_ends_the_sweep_and_leaves_nothing_running(tmp_path: Path) -> None:
    class Broken(ScriptedExecutor):
        def events(self, timeout_seconds: float) -> list[TrialEvent]:
            if len(self.checkpoints) == 2 and not self._interrupted:
                raise DataError("the file has gone")
            return super().events(timeout_seconds)

    store = MemoryStore()
    broken = Broken(accuracy, epochs=EPOCHS, width=4)
    with pytest.raises(DataError):
        sweep(tmp_path, strategy(trials=9), store=store, executor=broken).run()
    assert TrialState.RUNNING not in states(store)
    assert sweep(tmp_path, strategy(trials=9), store=store).run()
    assert states(store) == [TrialState.COMPLETE] * 9


# What is told


class CarefulStore(MemoryStore):
    """Knows what has been made durable."""

    def __init__(self) -> None:
        super().__init__()
        self.durable: dict[int, TrialRecord] = {}

    def flush(self) -> None:
        self.durable = {record.number: record for record in self.records()}


@pytest.mark.parametrize("pruner", ["none", "asha"])
def test_an_end_is_told_once_and_only_when_it_is_durable(tmp_path: Path, pruner: str) -> None:
    store = CarefulStore()

    def check(record: TrialRecord) -> None:
        assert store.durable[record.number] == record

    def curve(params: Params, epoch: int) -> float:
        return NAN if float(params["x"]) > 0.8 else accuracy(params, epoch)

    notes = Notes(on_end=check)
    assert sweep(tmp_path, strategy(trials=25, pruner=pruner), curve=curve, store=store, watcher=notes).run()
    assert sorted(record.number for record in notes.over) == list(range(25))
    assert store.durable == {record.number: record for record in store.records()}


def test_a_listener_that_fails_is_left_out_and_the_sweep_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Tracker(Watcher):
        def ended(self, record: TrialRecord) -> None:
            raise ConnectionError("the tracker is away")

    store, notes = MemoryStore(), Notes()
    assert sweep(tmp_path, strategy(trials=5), store=store, watcher=Watchers([Tracker(), notes])).run()
    assert len(notes.over) == 5
    assert caplog.text.count("the tracker is away") == 1


# Stopping


class Stopper(Watcher):
    """Asks to stop when so many trials have ended."""

    def __init__(self, stop: StopRequest, *, after: int) -> None:
        self._stop = stop
        self._left = after

    def ended(self, record: TrialRecord) -> None:
        self._left -= 1
        if self._left == 0:
            self._stop.out_of_time = True


def test_a_stopped_sweep_leaves_nothing_running_and_goes_on_to_the_same_end(tmp_path: Path) -> None:
    unbroken = MemoryStore()
    sweep(tmp_path, strategy(trials=12), store=unbroken).run()
    store = MemoryStore()
    stop = StopRequest()
    assert not sweep(
        tmp_path, strategy(trials=12), store=store, stop=stop, watcher=Stopper(stop, after=5), width=4
    ).run()
    assert TrialState.RUNNING not in states(store)
    assert TrialState.PAUSED in states(store)
    again = MemoryStore(records=store.records())
    assert len(again.interrupted()) == states(store).count(TrialState.PAUSED)
    assert sweep(tmp_path, strategy(trials=12), store=again, width=4).run()
    assert [(r.params, r.value) for r in again.records()] == [(r.params, r.value) for r in unbroken.records()]


def test_what_a_crash_left_running_goes_on_where_it_was(tmp_path: Path) -> None:
    crashed = MemoryStore()
    crashed.start([({"x": 0.5}, EPOCHS, "all"), ({"x": 0.6}, 2, "all")])
    store = MemoryStore(records=crashed.records())
    executor = ScriptedExecutor(accuracy, epochs=EPOCHS)
    before = ScriptedExecutor(accuracy, epochs=EPOCHS)
    before.submit([TrialJob(trial=0, params={"x": 0.5}, seed=0, to_epoch=3, folder="")])
    before.events(0.0)
    executor.checkpoints = before.checkpoints
    notes = Notes()
    assert sweep(tmp_path, FixedStrategy(), store=store, executor=executor, watcher=notes).run()
    assert notes.lines == ["trial 0 goes on after epoch 3", "trial 1 goes on from its start"]
    assert [(r.state, r.epochs) for r in store.records()] == [(TrialState.COMPLETE, EPOCHS), (TrialState.PRUNED, 2)]


def test_trials_that_do_not_end_in_time_are_left_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(ScriptedExecutor):
        def events(self, timeout_seconds: float) -> list[TrialEvent]:
            stop.out_of_time = True
            return []

    monkeypatch.setattr(loop, "GRACE_SECONDS", 0.05)
    store, stop = MemoryStore(), StopRequest()
    deaf = Deaf(accuracy, epochs=EPOCHS)
    assert not sweep(tmp_path, strategy(trials=1), store=store, executor=deaf, stop=stop).run()
    assert states(store) == [TrialState.PAUSED]
    assert "trial 0 did not end in time" in caplog.text
    assert [r.number for r in MemoryStore(records=store.records()).interrupted()] == [0]


def test_a_worker_that_is_killed_while_the_sweep_stops_fails_no_trial(tmp_path: Path) -> None:
    class Killed(ScriptedExecutor):
        def events(self, timeout_seconds: float) -> list[TrialEvent]:
            if not self._interrupted:
                stop.out_of_time = True
                return []
            return [
                TrialFailed(trial=job.trial, reason=FailureReason.KILLED, message="gone", retryable=True)
                for job in self._queue[:1]
            ] + super().events(0.0)[1:]

    store, stop = MemoryStore(), StopRequest()
    killed = Killed(accuracy, epochs=EPOCHS, width=2)
    assert not sweep(tmp_path, strategy(trials=2), store=store, executor=killed, stop=stop).run()
    assert states(store) == [TrialState.PAUSED, TrialState.PAUSED]
