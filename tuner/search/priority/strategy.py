"""Our strategy: Ng's order of priority as the order of exploration, with nothing frozen.

The default configuration comes first, then a short pass through the tiers at the lowest rung. From there on a Gaussian
process over configurations and training length chooses each step: start a new trial, or thaw a paused one. A trial
pauses at a rung when it is not expected to beat the best. `docs/search.md` holds what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import cache

import numpy as np

from tuner.records import Direction, Params, TrialRecord, TrialState
from tuner.search.distinct import Key
from tuner.search.observe import best_of, values_at_rungs
from tuner.search.priority.cohorts import CohortStrategy
from tuner.search.priority.explorer import Explorer, Session
from tuner.search.priority.opening import Wait
from tuner.search.request import Request, with_rungs
from tuner.search.rungs import REDUCTION_FACTOR, next_rung, priority_rungs, rungs_of
from tuner.search.strategy import Advance, Decision, Start, Strategy
from tuner.trials import OrderKey, Trials

_FULL_AFTER = 15.0
"""After so many full trainings' worth of epochs, new configurations are trained in full at once. With ten, regret
at a budget of 40 fell from .042 to .030, and rose by up to .010 at 20 (`benchmarks/search_quality.py`)."""
_OPTIMISM = 1.0
"""A trial goes on at a rung while its expected value plus so many standard deviations reaches the best."""
_OPTIMISM_WHILE_LEARNING = 2.0
"""The same for a trial that does not fit its training set yet: what it lacks may be length. Took 17.0 in
place of 18.2 s to an accuracy of 0.95 on real trainings; for all trials alike it was worse on LCBench
(`docs/search.md`)."""


def _where_it_stands(record: TrialRecord) -> tuple[TrialState, int, int]:
    return record.state, record.to_epoch, len(record.rungs)


def _interrupted(record: TrialRecord) -> tuple[()] | None:
    return () if record.state is TrialState.PAUSED and record.epochs < record.to_epoch else None


@cache
def _best_first_at(rung: int, direction: Direction) -> OrderKey:
    def key(record: TrialRecord) -> tuple[float] | None:
        return next(((-direction.sign * value,) for _, value in values_at_rungs(record, (rung,))), None)

    return key


class PriorityStrategy:
    """Chooses between new and paused trials by the improvement expected for each epoch to a full training."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._rungs = explorer.rungs
        self._lines: list[str] = []
        self._said: set[str] = set()
        self._idle_at: object = None
        """When nothing was left to decide: not thought over again at every epoch of the last trials."""

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        session = self._explorer.session(records, room=room)
        moment = (room, session.records.edition(_where_it_stands))
        if moment == self._idle_at:
            return []
        decisions: list[Decision] = []
        while len(decisions) < room:
            decision = self._next(session)
            if decision is None:
                break
            session.take(decision)
            decisions.append(decision)
        if not decisions and session.starts_left <= 0:
            self._idle_at = moment
        return decisions

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = self._lines, []
        return (*lines, *self._explorer.regularisation.explain())

    def _next(self, session: Session) -> Start | Advance | None:
        for record in session.records.ordered(_interrupted):
            return Advance(trial=record.number, to_epoch=record.to_epoch)
        if session.starts_left > 0:
            start = session.scheduled_start()
            if start is not None:
                self._say_opening(start)
                return start
        advance = self._explorer.opening.next_advance(session.records)
        if isinstance(advance, Advance):
            return advance
        if advance is Wait.FOR_RUNNING and session.starts_left <= 0:
            return None
        if not self._explorer.opening.is_telling(session.records):
            return None
        return self._by_model(session)

    def _by_model(self, session: Session) -> Start | Advance | None:
        paused = session.paused
        if session.starts_left <= 0:
            session.say_if_used_up()
            return self._finish(session, paused)
        late = session.spent >= _FULL_AFTER
        if late:
            self._say(f"{_FULL_AFTER:g} full trainings are spent: new configurations are trained in full from here on")
        else:
            latest = (session.records[number] for number in session.fresh)
            going_on = self._go_on(session, [r for r in latest if r.state is TrialState.PAUSED])
            if going_on is not None:
                return going_on
        to_epoch = self._rungs[-1] if late else self._rungs[0]
        proposal = session.modelled_start(to_epoch=to_epoch)
        appraisal = session.appraise(paused)
        if appraisal is None:
            promoted = self._promote(session, paused)
            return promoted or (proposal[0] if proposal else self._finish(session, paused))
        if proposal is None:
            return self._finish(session, paused)
        gains = appraisal.log_improvement - np.log([self._explorer.epochs - r.epochs for r in paused])
        best = int(np.argmax(gains))
        if gains[best] >= proposal[1] - np.log(self._explorer.epochs):
            return Advance(trial=paused[best].number, to_epoch=self._next_epoch(paused[best]))
        return proposal[0]

    def _go_on(self, session: Session, paused: Sequence[TrialRecord]) -> Advance | None:
        """Send on the most promising of these trials that may still beat the best."""
        appraisal = session.appraise(paused)
        if appraisal is None:
            return None
        optimism = np.where(session.still_learns(paused), _OPTIMISM_WHILE_LEARNING, _OPTIMISM)
        hope = appraisal.mean + optimism * appraisal.deviation
        best = int(np.argmax(hope))
        if hope[best] < session.incumbent:
            return None
        return Advance(trial=paused[best].number, to_epoch=self._next_epoch(paused[best]))

    def _promote(self, session: Session, paused: Sequence[TrialRecord]) -> Advance | None:
        """Without a model: send on a trial that is among the best third of all that reached its rung."""
        for rung in reversed(self._rungs[:-1]):
            value_at = _best_first_at(rung, self._explorer.direction)
            reached = session.records.ordered(value_at)
            num_promoted = len(reached) // REDUCTION_FACTOR
            if not num_promoted:
                continue
            last = reached[num_promoted - 1]
            least = (value_at(last) or (), last.number)
            for record in paused:
                if record.epochs == rung and (at := value_at(record)) is not None and (at, record.number) <= least:
                    return Advance(trial=record.number, to_epoch=self._next_epoch(record))
        return None

    def _finish(self, session: Session, paused: Sequence[TrialRecord]) -> Advance | None:
        """All trials are started: train those that may still be the best, and the leader in any case."""
        leader = best_of(session.records, self._explorer.direction)
        if leader is not None and leader.state is TrialState.PAUSED:
            return Advance(trial=leader.number, to_epoch=self._next_epoch(leader))
        return self._go_on(session, paused) if session.modelled else self._promote(session, paused)

    def _next_epoch(self, record: TrialRecord) -> int:
        return next_rung(self._rungs, after=record.epochs)

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._lines.append(line)

    def _say_opening(self, start: Start) -> None:
        for step in self._explorer.opening.passes:
            if step.label == start.tier:
                names = ", ".join(self._explorer.cube.dimensions[j].name for j in step.columns)
                trials = "1 trial" if step.count == 1 else f"{step.count} trials"
                self._say(f"{step.label} opens with {trials} to epoch {self._rungs[0]}: {names}")


class _PriorityProposer:
    """The same choice of new configurations for a strategy that prunes by another rule: see `Proposer`."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._session: Session | None = None

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        if not pending or self._session is None:
            self._session = self._explorer.session(trials, room=1)
        start = self._session.scheduled_start()
        if start is None:
            proposal = self._session.modelled_start(to_epoch=self._explorer.rungs[0])
            if proposal is None:
                return None
            start = proposal[0]
        self._session.take(start)
        return start.params, start.tier

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        return self._explorer.regularisation.explain()


def make_strategy(request: Request) -> tuple[Strategy, int]:
    """With rungs of its own, or those of the pruner that is asked for."""
    rungs = (
        priority_rungs(request.epochs) if request.pruner is None else rungs_of(request.pruner, epochs=request.epochs)
    )
    explorer = Explorer(
        request.space,
        direction=request.direction,
        rungs=rungs,
        trials=request.trials,
        seed=request.seed,
        regularisation_always=request.regularisation_always,
        noise=request.noise,
        target_error=request.target_error,
        earlier=request.earlier,
        learned=request.learned,
        is_thrifty=not request.asked.synchronous,
    )
    if request.pruner is None and request.cohorts is not None:
        return CohortStrategy(explorer, request.cohorts), request.epochs
    if request.pruner is None:
        return PriorityStrategy(explorer), rungs[0]
    return with_rungs(request, _PriorityProposer(explorer))
