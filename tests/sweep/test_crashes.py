"""Any sequence of runs, kills and stops ends where an undisturbed run ends."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.depth import at_depth
from tests.sweep.parts import EPOCHS, Notes, accuracy, strategy, sweep
from tuner.execute.scripted import ProcessKilledError, ScriptedExecutor
from tuner.records import EpochResult, Params, TrialEvent, TrialJob, TrialRecord, TrialState
from tuner.store.memory import MemoryStore
from tuner.sweep.stop import StopRequest
from tuner.sweep.told import Told
from tuner.sweep.watcher import Watchers


class KilledError(BaseException):
    """The coordinator was killed with SIGKILL: nothing may catch this."""


class Fuse:
    """Kills after so many steps."""

    def __init__(self, steps: int | None) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KilledError


class Database:
    """What would be on disk: the records of the last write that was complete."""

    def __init__(self) -> None:
        self.records: tuple[TrialRecord, ...] = ()


class WrittenStore(MemoryStore):
    """A store that a kill may hit at any change, with a writer that is behind by up to what was not flushed."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database, self._fuse = database, fuse
        self._unwritten: list[tuple[TrialRecord, ...]] = []
        super().__init__(records=database.records)

    def _changed(self, record: TrialRecord, *, progress_only: bool) -> None:
        self._fuse.step()
        self._unwritten.append(tuple(self.trials))

    def flush(self) -> None:
        self._fuse.step()
        self._write(len(self._unwritten))
        self._fuse.step()

    def crash(self, rng: random.Random) -> None:
        """The writer came as far as it came."""
        self._write(rng.randint(0, len(self._unwritten)))

    def _write(self, number: int) -> None:
        if number:
            self._database.records = self._unwritten[number - 1]
            del self._unwritten[:number]


class Crashes(RuleBasedStateMachine):
    """One study, run again and again."""

    pruner = "none"

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.checkpoints: dict[int, tuple[EpochResult, ...]] = {}
        self.total = 6
        self.trained: Counter[tuple[float, int]] = Counter()
        self.told: dict[int, TrialRecord] = {}
        self.complete = False
        self.heard = Told()
        self.listener = Notes()

    def run(self, *, seed: int = 0, kill_after: int | None = None, stop_after: int | None = None) -> None:
        rng, fuse, stop = random.Random(seed), Fuse(kill_after), StopRequest()
        store = WrittenStore(self.database, fuse)
        machine = self

        class Executor(ScriptedExecutor):
            calls = 0

            def submit(self, jobs: Sequence[TrialJob]) -> None:
                fuse.step()
                super().submit(jobs)

            def events(self, timeout_seconds: float) -> list[TrialEvent]:
                self.calls += 1
                stop.out_of_time = stop_after is not None and self.calls > stop_after
                return super().events(timeout_seconds)

        def curve(params: Params, epoch: int) -> float:
            fuse.step()
            machine.trained[float(params["x"]), epoch] += 1
            return machine.measure(params, epoch)

        def announce(record: TrialRecord) -> None:
            fuse.step()
            assert record.number not in machine.told
            machine.told[record.number] = record

        executor = Executor(curve, epochs=EPOCHS, width=3)
        executor.checkpoints = self.checkpoints
        plan = strategy(trials=self.total, pruner=self.pruner)
        watchers = Watchers([self.listener, Notes(on_end=announce)])
        running = sweep(
            Path("/nowhere"), plan, store=store, executor=executor, watcher=watchers, stop=stop, told=self.heard
        )
        try:
            self.complete = running.run()
        except KilledError:
            self.complete = False
            store.crash(rng)

    def measure(self, params: Params, epoch: int) -> float:
        x = float(params["x"])
        if epoch == 2 and 0.4 < x < 0.5:
            return float("nan")
        if epoch == 3 and x < 0.3 and self.trained[x, epoch] == 1:
            raise ProcessKilledError("a worker was killed")
        return accuracy(params, epoch)

    @rule(seed=st.integers(0, 100), steps=st.integers(0, 80))
    def killed(self, seed: int, steps: int) -> None:
        self.run(seed=seed, kill_after=steps)

    @rule(calls=st.integers(0, 12))
    def stopped(self, calls: int) -> None:
        self.run(stop_after=calls)
        assert all(r.state is not TrialState.RUNNING for r in self.database.records)

    @rule(calls=st.integers(0, 12), seed=st.integers(0, 100), steps=st.integers(0, 80))
    def stopped_and_killed(self, calls: int, seed: int, steps: int) -> None:
        self.run(stop_after=calls, seed=seed, kill_after=steps)

    @rule()
    def undisturbed(self) -> None:
        self.run()
        assert self.complete

    @precondition(lambda self: self.total < 20)
    @rule(more=st.integers(1, 5))
    def raise_the_total(self, more: int) -> None:
        self.total += more
        self.complete = False

    @invariant()
    def what_was_told_is_in_the_database(self) -> None:
        stored = {record.number: record for record in self.database.records}
        for number, record in self.told.items():
            assert stored[number] == record

    @invariant()
    def there_are_never_too_many_trials(self) -> None:
        assert [record.number for record in self.database.records] == list(range(len(self.database.records)))
        assert len(self.database.records) <= self.total

    @invariant()
    def no_epoch_is_trained_twice(self) -> None:
        twice = {key: count for key, count in self.trained.items() if count > 1}
        assert all(epoch == 3 and count == 2 and x < 0.3 for (x, epoch), count in twice.items() if not self.diverges(x))

    def diverges(self, x: float) -> bool:
        """A trial that diverges has no checkpoint of the epoch in which it does."""
        return 0.4 < x < 0.5

    @invariant()
    def a_listener_hears_of_each_epoch_once_and_in_order(self) -> None:
        heard: dict[int, list[int]] = {}
        for trial, epoch in self.listener.heard:
            heard.setdefault(trial, []).append(epoch)
        assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in heard.values())
        if self.complete:
            expected = {record.number: record.epochs for record in self.database.records if record.epochs}
            assert {trial: len(epochs) for trial, epochs in heard.items()} == expected

    @invariant()
    def a_complete_sweep_is_the_undisturbed_one(self) -> None:
        if not self.complete:
            return
        assert len(self.database.records) == self.total
        assert all(record.state.final for record in self.database.records)
        assert not [r for r in self.database.records if r.reason.startswith("killed")]

    def teardown(self) -> None:
        self.run()
        assert self.complete
        self.a_complete_sweep_is_the_undisturbed_one()
        if self.pruner != "none":
            return  # what is pruned depends on the order in which trials end
        reference = MemoryStore()
        self.trained = Counter()
        sweep(
            Path("/nowhere"),
            strategy(trials=self.total),
            curve=lambda params, epoch: self.measure(params, epoch) if epoch != 3 else accuracy(params, epoch),
            store=reference,
        ).run()

        def outcome(records: Sequence[TrialRecord]) -> list[object]:
            return [(r.params, r.seed, r.state, r.reason, r.value, r.epochs, r.rungs) for r in records]

        assert outcome(self.database.records) == outcome(reference.records())


class CrashesWithPruning(Crashes):
    """The same with rungs, pauses and advances between them."""

    pruner = "asha"


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=at_depth(60), stateful_step_count=12, deadline=None)
TestCrashes.pytestmark = [pytest.mark.slow]
TestCrashesWithPruning = CrashesWithPruning.TestCase
TestCrashesWithPruning.settings = settings(max_examples=at_depth(30), stateful_step_count=12, deadline=None)
TestCrashesWithPruning.pytestmark = [pytest.mark.slow]
