"""The trials of a sweep before it is run: their configurations, and what they would be trained as."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import cycle

from tuner.execute.facts import TaskFacts
from tuner.execute.planner import Planner
from tuner.records import Direction, Params, TrialJob
from tuner.search.portfolio import learned_starts
from tuner.search.registry import open_strategy
from tuner.search.strategy import Start
from tuner.spec.defaults import build_space
from tuner.spec.known.strategies import known_strategy
from tuner.spec.model import SweepSpec

_SEED = 0
_MOST_FORESEEN = 200
"""Configurations of a search; a longer one has more of the same."""
_MOST_TIMED = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep's trials would be trained as."""

    trials: int
    cohorts: int
    widest: int
    seconds: float
    """Estimated, if every trial trains all its epochs."""
    begin_seconds: float = 0.0
    """For the beginnings of cohorts."""


def plan(spec: SweepSpec, facts: TaskFacts, *, num_workers: int) -> Plan:
    """How the sweep would be trained on so many workers."""
    jobs = _foreseen_jobs(spec)
    cohorts, seconds = Planner(spec, facts, num_workers=num_workers).whole_plan(jobs)
    begin = facts.calibration.get("begin_seconds", 0.0) * len(cohorts) / num_workers
    return Plan(len(jobs), len(cohorts), max(len(c.jobs) for c in cohorts), seconds, begin)


def _foreseen_jobs(spec: SweepSpec) -> list[TrialJob]:
    """Full trainings of all trials."""
    foreseen, trials = _foreseen(spec), spec.search.trials
    return [
        TrialJob(trial=n, params=params, seed=n, to_epoch=spec.training.epochs, folder="")
        for n, params in zip(range(trials), cycle(foreseen), strict=False)
    ]


def _foreseen(spec: SweepSpec) -> list[Params]:
    """The configurations of a search that waits for no results, and else, or beyond, some spread at random."""
    space, draw = build_space(spec), random.Random(_SEED)
    count = min(spec.search.trials, _MOST_FORESEEN)
    found: list[Params] = []
    if known_strategy(spec.search.strategy).is_blind:
        learned = learned_starts(spec, space)
        strategy = open_strategy(spec, space, Direction.MAXIMIZE, learned=learned.starts if learned else ())
        found = [decision.params for decision in strategy.decide([], count) if isinstance(decision, Start)]
    return [*found, *(space.from_units([draw.random() for _ in space]) for _ in range(count - len(found)))]


def to_time(spec: SweepSpec, planner: Planner, *, default: Params) -> list[Params]:
    """Configurations whose training to time: of the search, and first the one of them that takes most memory.

    The default is the first that a search tries which learns from results, and else comes last.
    """
    jobs = _foreseen_jobs(spec)
    largest = max(jobs, key=lambda job: planner.num_bytes(planner.describe(job).values)).params
    others = [largest, *(job.params for job in jobs[: _MOST_TIMED - 2] if job.params != largest)]
    return [*others, default] if known_strategy(spec.search.strategy).is_blind else [default, *others]
