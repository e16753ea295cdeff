"""How good is a search on a device on which wide cohorts cost hardly more than single trials, and how wide are they?

    python benchmarks/search_cohorts.py --surrogate DIR --instances FILE --reference FILE [--trials 64] [--seeds 2]

Whole studies, on a simulated GPU: trials train together as `tuner.execute.planner` groups them, and an epoch of a
cohort takes what the planner estimates, padding included. For each way to ask: mean regret in the end, and how much
more that is than with one trial at a time, with the standard error of the paired differences; regret after the time of
four full trainings of the default configuration; the mean number of trials in an epoch of a cohort; the device's time
and the trials' epochs, in full trainings of the default configuration.

`today` is what the planner asks for; `8` asks for so many at once, of which each is decided on by itself; `8+full`
trains all of them in full, without rungs.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the process has one core

from search_quality import load, portfolio_for
from surrogate import EPOCHS, SPACE, Instance, SurrogateExecutor, read_instances

from tuner.execute.facts import TaskFacts
from tuner.execute.planner import Planner
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.records import Direction, EpochsFinished, TrialEvent, TrialFinished, TrialJob, TrialPaused
from tuner.search.portfolio import learned_starts
from tuner.search.priority import strategy as priority
from tuner.search.registry import open_strategy
from tuner.search.seeding import derived_seed
from tuner.spec.model import DataSpec, DimensionSpec, LimitsSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.portfolio import NO_PORTFOLIO
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import StopRequest, Sweep
from tuner.sweep.watcher import Watcher

FACTS = TaskFacts(
    metric="accuracy",
    direction=Direction.MAXIMIZE,
    data={"num_train": 5000, "num_dev": 1000, "input_shape": [30], "num_outputs": 5},
    device="cuda:0",
    calibration={"overhead_seconds": 1e-5, "flops_per_second": 2e13},
)
"""Of a middling data set and a GPU, about."""
EARLY = 4
"""Full trainings of the default configuration, after whose time regret is looked at, too."""


class WideDevice(SurrogateExecutor):
    """Trains one cohort at a time, epoch by epoch; trials of its shape join it, as in `tuner.execute.pool`."""

    def __init__(self, planner: Planner, *, room: int | None, surrogate: Path, instance: Instance, seed: int) -> None:
        super().__init__(load(surrogate), instance, seed=seed)
        self.planner = planner
        self._asked = room
        self._waiting = Waiting()
        self._cohort: dict[int, PlannedJob] = {}
        self.seconds = 0.0
        self.best = -math.inf
        self.steps: list[tuple[float, float]] = []
        """(seconds, best accuracy in percent) after each time that trials have ended."""
        self.rows: list[int] = []
        """Trials in each epoch of a cohort."""

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._waiting.add(self.planner.describe(job) for job in jobs)
        for job in jobs:
            if job.trial not in self._curves:
                self._curves[job.trial] = self._surrogate.curve(self._instance, job.params)
        self._fill()

    def room(self) -> int:
        if self._asked is None and self.planner.cohorts is not None:
            return 0 if self._cohort or len(self._waiting) else self.planner.cohorts.size
        each, busy = self._asked or self.planner.room_per_worker, len(self._waiting) + len(self._cohort)
        return each - busy if busy <= each // 2 else 0

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        """Train until the next trials end."""
        self._fill()
        if not self._cohort:
            return []
        planned = list(self._cohort.values())
        epochs = min(p.job.to_epoch - self._epochs.get(p.job.trial, 0) for p in planned)
        self.seconds += epochs * self.planner.seconds(planned) / max(p.job.to_epoch for p in planned)
        self.rows += [len(planned)] * epochs
        events = [event for p in planned for event in self._train(p.job, epochs)]
        self.steps.append((self.seconds, 100 * self.best))
        return events

    def _train(self, job: TrialJob, epochs: int) -> Iterator[TrialEvent]:
        first = self._epochs.get(job.trial, 0)
        last = self._epochs[job.trial] = first + epochs
        results = self._curves[job.trial][first:last]
        self.best = max(self.best, *(result.dev_metric for result in results))
        yield EpochsFinished(trial=job.trial, results=results)
        if last == job.to_epoch:
            del self._cohort[job.trial]
            if last == EPOCHS:
                yield TrialFinished(trial=job.trial, reason="all epochs")
            else:
                yield TrialPaused(trial=job.trial, epoch=last)

    def _fill(self) -> None:
        if self._cohort:
            same = list(self._waiting.of(next(iter(self._cohort.values())).key))
            chosen = self.planner.joining(same, members=list(self._cohort.values()))
        else:
            cohort = self.planner.next_cohort(self._waiting, idle=1)
            chosen = [] if cohort is None else list(cohort.jobs)
        self._waiting.take(chosen)
        self._cohort |= {p.job.trial: p for p in chosen}
        if chosen:
            self.planner.widths.note_cohort(len(self._cohort))


@contextmanager
def in_full(asked: bool) -> Iterator[None]:
    """Has trials trained without rungs."""
    given = priority.priority_rungs
    if asked:
        priority.priority_rungs = lambda epochs: (epochs,)
    try:
        yield
    finally:
        priority.priority_rungs = given


def play(way: str, given: Any, instance: Instance, seed: int) -> dict[str, float]:
    """Run one study."""
    chance = derived_seed(seed, instance.code)
    portfolio = portfolio_for(instance, given.portfolio)
    search = SearchSpec(
        trials=given.trials,
        seed=chance,
        regularisation="always",
        portfolio=NO_PORTFOLIO if portfolio is None else str(portfolio.resolve()),
    )
    spec = SweepSpec(
        study="benchmark",
        data=DataSpec(source="surrogate"),
        training=TrainingSpec(epochs=EPOCHS),
        search=search,
        space={d.name: DimensionSpec(low=d.low, high=d.high, default=d.default) for d in SPACE},
    )
    asked, _, full = way.partition("+")
    learned, planner = learned_starts(spec, SPACE), Planner(spec, FACTS, num_workers=1)
    room, cohorts = (None, planner.cohorts) if asked == "today" else (int(asked), None)
    with in_full(bool(full)):
        strategy = open_strategy(
            spec, SPACE, Direction.MAXIMIZE, learned=learned.starts if learned else (), cohorts=cohorts
        )
    device = WideDevice(planner, room=room, surrogate=given.surrogate, instance=instance, seed=chance)
    Sweep(
        strategy, MemoryStore(), device, folders=lambda number: Path(f"{number}"), limits=LimitsSpec(),
        watcher=Watcher(), stop=StopRequest(),
    ).run()  # fmt: skip
    default = TrialJob(trial=0, params=SPACE.default(), seed=0, to_epoch=EPOCHS, folder="", name="")
    unit = device.planner.describe(default).seconds
    early = [accuracy for seconds, accuracy in device.steps if seconds <= EARLY * unit]
    return {
        "regret": instance.regret(100 * device.best),
        "early": instance.regret(early[-1]) if early else 1.0,
        "width": statistics.fmean(device.rows),
        "device": device.seconds / unit,
        "trained": sum(device.rows) / EPOCHS,
    }


def main() -> None:
    """Parse the command line, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surrogate", type=Path, required=True, help="folder of model.onnx")
    parser.add_argument("--instances", type=Path, required=True, help="JSON: data set to code")
    parser.add_argument("--reference", type=Path, required=True, help="JSON: data set to best and median values")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--portfolio", type=Path, help="as of search_quality.py")
    parser.add_argument("--ways", default="1,today,8,8+full", help="the first is what the others are compared with")
    given = parser.parse_args()
    base: list[float] = []
    for way in given.ways.split(","):
        found = [
            play(way, given, instance, seed)
            for instance in read_instances(given.instances, given.reference)
            for seed in range(given.seeds)
        ]
        base = base or [each["regret"] for each in found]
        more = [each["regret"] - other for each, other in zip(found, base, strict=True)]
        error = statistics.pstdev(more) / len(more) ** 0.5
        means = " ".join(f"{name} {statistics.fmean(each[name] for each in found):.3f}" for name in found[0])
        print(f"{way:8} {statistics.fmean(more):+.3f} ({error:.3f}) {means}", flush=True)


if __name__ == "__main__":
    main()
