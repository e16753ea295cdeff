"""How long a sweep will take and what memory it needs, from what a rehearsal has measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.execute.facts import TaskFacts
from tuner.execute.foreseen import Plan
from tuner.execute.planner import Planner
from tuner.execute.preflight import Preflight
from tuner.execute.scarcity import what_takes_less
from tuner.execute.scripted import ScriptedExecutor
from tuner.records import Direction, Params
from tuner.search.portfolio import learned_starts
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import Sweep
from tuner.sweep.needs import needed_memory
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher

_TRIAL_SECONDS = 0.006
"""Of the coordinator, for each trial: to decide, to store and to tell (`benchmarks/scale.py`)."""
_REPORT_TRIAL_SECONDS = 0.003
"""Of the reports, for each trial."""
_REPORT_STARTS = 2.0
"""What reports take at least, in starts of a worker, by which the machine's pace at importing and drawing is known."""
_COORDINATOR_BYTES = 2**28
_MUCH_WAITING = 0.2
"""Such a share of the time is worth a word."""
_MOST_PLAYED = 200
"""Trials of a search that is played through to see how many epochs it trains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Forecast:
    """Seconds of a sweep by the clock, part by part."""

    start: float
    load: float
    training: float
    report: float
    epochs: int
    """Of all trials and finalists, as far as trials are not stopped early by themselves."""
    waited_share: float = 0.0
    """Of these seconds, in which others have the cores, if they leave as much as they did just now."""

    @property
    def seconds(self) -> float:
        return self.start + self.load + self.training + self.report

    @property
    def text(self) -> str:
        """In words."""
        parts = {"start": self.start, "loading": self.load, f"training of {self.epochs:,} epochs": self.training,
                 "report": self.report}  # fmt: skip
        whole = shown_seconds(self.seconds)
        each = ", ".join(f"{k} {shown_seconds(v)}" for k, v in parts.items())
        said = f"{whole if whole.startswith('under') else f'about {whole}'}: {each}"
        if self.waited_share < _MUCH_WAITING:
            return said
        alone = shown_seconds(self.seconds * (1 - self.waited_share))
        return (
            f"{said}; on a machine that is as busy as now, where others have the cores for {self.waited_share:.0%} "
            f"of it: alone {alone}"
        )


def forecast(spec: SweepSpec, found: Preflight, planned: Plan) -> Forecast:
    """How long the sweep will take.

    Args:
        spec: The sweep file.
        found: What was measured.
        planned: Its trials on all workers, if each trained all its epochs.
    """
    epochs = expected_epochs(spec, found.facts)
    share = epochs / (planned.trials * spec.training.epochs)
    return Forecast(
        start=found.start_seconds,
        load=found.load_seconds,
        training=planned.seconds * share + planned.begin_seconds + _TRIAL_SECONDS * planned.trials,
        report=_REPORT_STARTS * found.start_seconds + _REPORT_TRIAL_SECONDS * planned.trials,
        epochs=epochs,
        waited_share=found.waited_share,
    )


def expected_epochs(spec: SweepSpec, facts: TaskFacts | None = None) -> int:
    """How many epochs the search and its finalists train, if no trial is stopped early by itself.

    A search that pauses or gives up trials is played through, against a made-up course of training; one that starts
    whole cohorts, where it is known by the facts of the machine, does neither.
    """
    search, epochs = spec.search, spec.training.epochs
    finalists = 0 if spec.finalists is None else min(spec.finalists.count, search.trials) * spec.finalists.seeds
    pauses = search.pruner not in (None, "none") or (search.strategy == "priority" and search.pruner is None)
    pauses = pauses and (facts is None or Planner(spec, facts, num_workers=1).cohorts is None)
    trained = _played(spec) if pauses else search.trials * epochs
    if search.stop is not None and search.stop.epochs is not None:
        trained = min(trained, search.stop.epochs)
    return trained + finalists * epochs


def _played(spec: SweepSpec) -> int:
    """Epochs of the search, the later trials of a long one being like those before."""
    trials = min(spec.search.trials, _MOST_PLAYED)
    strategy = (
        spec.search.strategy if spec.search.strategy == "priority" else "random"
    )  # of samplers, the pruner counts
    changes = {"trials": trials, "strategy": strategy, "stop": None, "start": (), "warm_start": None}
    played = spec.model_copy(update={"search": spec.search.model_copy(update=changes), "constraints": ()})
    space = build_space(spec)
    store = MemoryStore()
    learned = learned_starts(spec, space)
    Sweep(
        open_strategy(played, space, Direction.MAXIMIZE, learned=learned.starts if learned else ()),
        store,
        ScriptedExecutor(lambda p, epoch: _course(p, epoch, space, spec.training.epochs), epochs=spec.training.epochs),
        folders=lambda number: Path(f"{number}"),
        limits=spec.limits,
        watcher=Watcher(),
        stop=StopRequest(),
    ).run()
    return round(sum(record.epochs for record in store.records()) * spec.search.trials / trials)


def _course(params: Params, epoch: int, space: Space, epochs: int) -> float:
    """An accuracy that is best in the middle of the space, and comes near its end in a third of the epochs."""
    units = [unit for unit in space.to_units(params) if unit == unit]
    away = sum((unit - 0.5) ** 2 for unit in units) / max(1, len(units))
    return float((0.95 - away) * (1 - 0.6 ** (1 + 12 * epoch / epochs)))


def memory_text(spec: SweepSpec, found: Preflight, *, num_workers: int, free_bytes: int | None) -> str:
    """What memory the sweep needs, and what there is; empty where nothing was measured."""
    if not found.shared_bytes:
        return ""
    needed = _COORDINATOR_BYTES + found.shared_bytes + found.mapped_bytes + num_workers * found.worker_bytes
    text = needed_memory(needed, num_workers=num_workers, free_bytes=free_bytes)
    if free_bytes is not None and needed > free_bytes:
        text += f": too little; what takes less: {'; '.join(what_takes_less(spec, several=num_workers > 1))}"
    return text


def shown_seconds(seconds: float) -> str:
    """A duration in words, never zero."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
