"""Strategies made of two parts: one proposes configurations, one rules at rungs which trials go on."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Protocol

from tuner.records import Params, ParamValue, TrialRecord, TrialState
from tuner.search.designs import quasi_random
from tuner.search.distinct import Distinct, Key, Taken, key_of, taken_by
from tuner.search.observe import in_state, num_unended
from tuner.search.optuna.study import StudyMirror
from tuner.search.rungs import next_rung
from tuner.search.seeding import generator
from tuner.search.strategy import Advance, Decision, Start, Stop
from tuner.spec.space import Space
from tuner.trials import Trials, trials_of

_DISTINCT_PURPOSE = 1


class Proposer(Protocol):
    """Chooses configurations; the records are those of the last `sync` of the mirror that it shares, if any."""

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """The next configuration and its tier; None while there is nothing to propose.

        Args:
            trials: All trials of the study.
            pending: Configurations proposed since, in the same batch.
            taken: The configurations of all these.
        """
        ...

    def settle(self, params: Params) -> None:
        """The last proposal is going to run as these parameters."""
        ...

    def explain(self) -> list[str]:
        """Lines for the log since the last call."""
        ...


class ProposerStrategy:
    """Advances trials from rung to rung as a pruner allows, and starts what a proposer proposes."""

    def __init__(
        self,
        space: Space,
        proposer: Proposer,
        *,
        mirror: StudyMirror | None,
        rungs: tuple[int, ...],
        trials: int,
        seed: int,
        at_once: int | None = None,
    ) -> None:
        """
        Args:
            space: What is searched.
            proposer: Chooses configurations.
            mirror: Holds the pruner; None where no pruner and no Optuna sampler is used.
            rungs: The epochs at which the pruner looks; the last is the full training.
            trials: Total number of trials of the study.
            seed: The search seed.
            at_once: No trial is started while so many have not ended; as many as there is room for if None.
        """
        self._at_once = at_once
        self._space = space
        self._proposer = proposer
        self._mirror = mirror
        self._rungs = rungs
        self._trials = trials
        self._seed = seed
        self._distinct = Distinct(space)
        self._lines: list[str] = []
        self._exhausted = False

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        if self._mirror is not None:
            self._mirror.sync(trials)
        decisions = self._judge(trials, room)
        room -= sum(isinstance(d, Advance) for d in decisions)
        pending: list[Params] = []
        if self._at_once is not None:
            room = min(room, self._at_once - num_unended(trials))
        taken = Taken(taken_by(trials))
        for _ in range(min(room, self._trials - len(trials))):
            start = self._start(trials, pending, taken)
            if start is None:
                break
            pending.append(start.params)
            taken.add(key_of(start.params))
            decisions.append(start)
        return decisions

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines = (*self._lines, *self._proposer.explain())
        self._lines = []
        return lines

    def _judge(self, trials: Trials, room: int) -> list[Decision]:
        decisions: list[Decision] = []
        for record in in_state(trials, TrialState.PAUSED):
            if not room:
                break
            if self._mirror is not None and self._mirror.gives_up(record):
                reason = f"pruned at epoch {record.epochs}: worse than earlier trials there"
                decisions.append(Stop(trial=record.number, reason=reason))
                continue
            decisions.append(Advance(trial=record.number, to_epoch=next_rung(self._rungs, after=record.epochs)))
            room -= 1
        return decisions

    def _start(self, trials: Trials, pending: list[Params], taken: Taken) -> Start | None:
        if self._distinct.left(taken) == 0:
            self._say_once_exhausted(len(taken))
            return None
        proposal = self._proposer.propose(trials, pending, taken=taken)
        if proposal is None:
            return None
        proposed, tier = proposal
        rng = generator(self._seed, len(trials) + len(pending), _DISTINCT_PURPOSE)
        params: dict[str, ParamValue] | None = self._distinct.untried(dict(proposed), taken=taken, rng=rng)
        if params is None:
            self._say_once_exhausted(len(taken))
            return None
        self._proposer.settle(params)
        return Start(params=params, to_epoch=self._rungs[0], tier=tier)

    def _say_once_exhausted(self, tried: int) -> None:
        if not self._exhausted:
            self._exhausted = True
            self._lines.append(f"all {tried} configurations of the space have been tried")


class OptunaProposer:
    """Asks the sampler of a mirror study."""

    def __init__(self, mirror: StudyMirror) -> None:
        self._mirror = mirror

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        return self._mirror.ask(), "all"

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""
        self._mirror.replace_asked(params)

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        return []


class ListProposer:
    """Proposes configurations known in advance, in order, but for those tried before."""

    def __init__(self, configurations: Sequence[Params]) -> None:
        self._left = [(configuration, key_of(configuration)) for configuration in reversed(configurations)]

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        while self._left and not pending and self._left[-1][1] in taken:
            self._left.pop()
        return next(((params, "all") for params, key in reversed(self._left) if key not in taken), None)

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        return []


class QuasiRandomProposer:
    """Points of one scrambled Sobol sequence, by number, so that a restart goes on where it was."""

    def __init__(self, space: Space, *, seed: int) -> None:
        self._space = space
        self._seed = seed

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        return quasi_random(self._space, len(trials) + len(pending), 1, seed=self._seed)[0], "all"

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        return []
