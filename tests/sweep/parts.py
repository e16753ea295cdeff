"""The parts of a sweep, without processes, files or databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tuner.execute.executor import Executor
from tuner.execute.scripted import Curve, ScriptedExecutor
from tuner.records import Direction, EpochResult, Params, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Decision, Strategy
from tuner.spec.model import DataSpec, LimitsSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Dimension, Space
from tuner.store.memory import MemoryStore
from tuner.store.store import StudyStore
from tuner.sweep.loop import Sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.told import Told
from tuner.sweep.watcher import Watcher

EPOCHS = 4
SPACE = Space((Dimension(name="x", kind="float", tier=1, default=0.5, low=0.0, high=1.0),))


def accuracy(params: Params, epoch: int) -> float:
    return float(params["x"]) * epoch / EPOCHS


def strategy(*, trials: int, name: str = "random", pruner: str = "none") -> Strategy:
    spec = SweepSpec(
        study="s",
        data=DataSpec(source="x.csv"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=trials, strategy=name, pruner=pruner),  # type: ignore[arg-type]
    )
    return open_strategy(spec, SPACE, Direction.MAXIMIZE)


class FixedStrategy:
    """Says what it is told to, one list for each call."""

    def __init__(self, *decisions: Sequence[Decision]) -> None:
        self._decisions = list(decisions)
        self.seen: list[tuple[TrialState, ...]] = []

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        self.seen.append(tuple(record.state for record in records))
        return list(self._decisions.pop(0)) if self._decisions else []

    def explain(self) -> tuple[str, ...]:
        return ()


class Notes(Watcher):
    """Writes down what it is told."""

    def __init__(self, on_end: Callable[[TrialRecord], None] = lambda record: None) -> None:
        self.begun: list[int] = []
        self.over: list[TrialRecord] = []
        self.lines: list[str] = []
        self.heard: list[tuple[int, int]] = []
        """(trial, epoch), in the order in which it was told."""
        self._on_end = on_end

    def started(self, records: Sequence[TrialRecord]) -> None:
        self.begun += [record.number for record in records]

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        assert record.epochs >= results[-1].epoch
        self.heard += [(record.number, result.epoch) for result in results]

    def ended(self, record: TrialRecord) -> None:
        self._on_end(record)
        self.over.append(record)

    def said(self, line: str) -> None:
        self.lines.append(line)


def sweep(
    folder: Path,
    plan: Strategy,
    *,
    curve: Curve = accuracy,
    store: StudyStore | None = None,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
    stop: StopRequest | None = None,
    told: Told | None = None,
    width: int = 2,
    **limits: Any,
) -> Sweep:
    return Sweep(
        plan,
        store if store is not None else MemoryStore(),
        executor or ScriptedExecutor(curve, epochs=EPOCHS, width=width),
        folders=lambda number: folder / f"{number:04d}",
        limits=LimitsSpec(**limits),
        watcher=watcher or Watcher(),
        stop=stop or StopRequest(),
        told=told,
    )


def states(store: StudyStore) -> list[TrialState]:
    return [record.state for record in store.records()]
