"""Several rounds of one study, each in the part of the space around the winners of the rounds before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tuner.ranking import num_winners
from tuner.records import Direction, Params, TrialRecord, TrialState
from tuner.search.observe import best_first, in_state, num_unended
from tuner.search.strategy import Advance, Decision, Stop, Strategy
from tuner.search.wrap.zoom import tried, zoomed_space
from tuner.spec.space import Space
from tuner.trials import Mark, Trials, trials_of

_MakeStrategy = Callable[[Space, int, int, Sequence[TrialRecord]], Strategy]
"""(space, round, number of trials, earlier trials within the space) to the strategy of a round."""


def winners_of(records: Sequence[TrialRecord], direction: Direction) -> list[Params]:
    """Parameters of the best trials, best first."""
    ordered = best_first(records, direction)
    return [r.params for r in ordered[: num_winners(len(ordered))]]


class Rounds:
    """Gives each round's strategy its own part of the trials, numbered from 0, and a space that shrinks.

    The trials of a round that are still paused when it is over are given up, so that what the next round's space is
    taken from no longer changes.
    """

    def __init__(self, make: _MakeStrategy, space: Space, *, direction: Direction, trials: int, rounds: int) -> None:
        """
        Args:
            make: Makes the strategy of a round.
            space: Of the first round.
            direction: Of the dev metric.
            trials: Total number of trials of the study.
            rounds: How often to zoom; there is one round more.
        """
        self._make = make
        self._space = space
        self._direction = direction
        total = rounds + 1
        self._ends = [trials * (k + 1) // total for k in range(total)]
        self._strategies: dict[int, Strategy] = {}
        self._own = [Trials() for _ in self._ends]
        """The trials of each round, numbered from 0."""
        self._marks: dict[int, Mark] = {}
        self._lines: list[str] = []

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials, first = trials_of(records), 0
        for index, end in enumerate(self._ends):
            decisions = self._round(index, first, end, trials, room)
            is_last = index == len(self._ends) - 1 or len(trials) < end
            if decisions or is_last or in_state(trials, TrialState.RUNNING):
                return decisions
            given_up = [r for r in in_state(trials, TrialState.PAUSED) if first <= r.number < end]
            if given_up:
                return [Stop(trial=r.number, reason=f"round {index + 1} ended at epoch {r.epochs}") for r in given_up]
            first = end
        return []

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = self._lines, []
        return (*lines, *(line for strategy in self._strategies.values() for line in strategy.explain()))

    def _round(self, index: int, first: int, end: int, trials: Trials, room: int) -> list[Decision]:
        own = self._own[index]
        for place in trials.changed_since(self._marks.get(index)):
            if first <= place < end:
                own.put(replace(trials[place], number=place - first))
        own.cut(max(0, min(len(trials), end) - first))
        self._marks[index] = trials.mark()
        if len(trials) >= end and not num_unended(own):
            return []
        if index not in self._strategies:
            self._strategies[index] = self._open(index, end - first, trials[:first])
        return [_shifted(d, first) for d in self._strategies[index].decide(own, room)]

    def _open(self, index: int, trials: int, earlier: Sequence[TrialRecord]) -> Strategy:
        space = self._space
        for k in range(index):
            known = earlier[: self._ends[k]]
            moved = tried(space, (r.params for r in known))
            space, changes = zoomed_space(space, winners_of(known, self._direction), moved=moved)
            if k == index - 1:
                self._lines.append(f"round {index + 1} of {len(self._ends)}: the space is zoomed around the winners")
                self._lines += [f"  {change.dimension.name} {change.text}" for change in changes]
        return self._make(space, index, trials, [r for r in earlier if space.contains(r.params)])


def _shifted(decision: Decision, first: int) -> Decision:
    match decision:
        case Advance(trial=trial, to_epoch=to_epoch):
            return Advance(trial=trial + first, to_epoch=to_epoch)
        case Stop(trial=trial, reason=reason):
            return Stop(trial=trial + first, reason=reason)
        case _:
            return decision
