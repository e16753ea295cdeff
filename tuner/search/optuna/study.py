"""An in-memory Optuna study that mirrors the trial records, for Optuna's samplers and pruners to look at.

The mirror follows the records by small steps where it can and is built anew where it cannot, so that what it
holds is a function of the records alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import TrialState as OptunaState
from optuna.trial import create_trial

from tuner.ranking import usable_value
from tuner.records import Direction, Params, ParamValue, TrialRecord, TrialState
from tuner.search.observe import failed_by_configuration, in_state, values_at_rungs, worst_value
from tuner.search.optuna.space import distribution_of, suggest, to_optuna
from tuner.spec.space import Space
from tuner.trials import Mark, Trials, trials_of

_STUDY_NAME = "tuner"  # Hyperband derives a trial's bracket from it
_NOTED = "tpe:relative_params:0"
"""Where TPE notes what it proposed for a trial under way, also in branches that the configuration does not take."""


class StudyMirror:
    """The records as an Optuna study: PAUSED trials are RUNNING there, with their rungs as reports.

    Trials that failed because of their configuration are told as the worst value so far: told as plain failures,
    samplers ignore them and propose the like again (48 against 19 diverging trials of 60).
    """

    def __init__(
        self,
        space: Space,
        *,
        direction: Direction,
        rungs: Sequence[int],
        sampler: Callable[[int], BaseSampler],
        pruner: BasePruner,
        learns: bool = True,
        replay_asks: bool = False,
        earlier: Sequence[TrialRecord] = (),
    ) -> None:
        """
        Args:
            space: What is searched.
            direction: Of the dev metric.
            rungs: Epochs whose values are reported to the pruner.
            sampler: Makes the sampler that asks for trial number n.
            pruner: Looks at each rung that a trial reached.
            learns: Whether the sampler looks at values.
            replay_asks: When building anew, ask the sampler for every trial again: for samplers that keep their state
                in the trials (CMA-ES).
            earlier: Ended trials to learn from, all within the space; they stand before the first record.
        """
        self._space = space
        self._distributions = {d.name: distribution_of(d) for d in space}
        self._direction = direction
        self._rungs = tuple(rungs)
        self._sampler = sampler
        self._pruner = pruner
        self._learns = learns
        self._replay_asks = replay_asks
        self._earlier = [record for record in earlier if record.state.final]
        self._records: list[TrialRecord] = []
        self._mark: Mark | None = None
        """When the mirror followed the trials last."""
        self._worst: float | None = None
        self._reset()

    def sync(self, records: Sequence[TrialRecord]) -> None:
        """Bring the mirror to the state of the records."""
        trials = trials_of(records)
        worst = worst_value(trials, self._direction)
        changed = trials.changed_since(self._mark)
        if not self._can_follow(trials, changed, worst):
            self._reset()
            changed = list(range(len(trials)))
        self._worst = worst
        for place in changed:
            if place >= len(self._params):
                self._append(trials[place])
            self._update(trials[place])
            self._records[place : place + 1] = [trials[place]]
        self._mark = trials.mark()

    def ask(self) -> dict[str, ParamValue]:
        """Ask the sampler for the next trial, which then counts as pending."""
        trial = self._ask_trial()
        params = suggest(trial, self._space)
        if _NOTED in self._storage.get_trial(trial._trial_id).system_attrs:
            # No record holds it, and a mirror made anew must show the sampler the same.
            self._storage.set_trial_system_attr(trial._trial_id, _NOTED, "")
        self._params.append(params)
        self._ids.append(trial._trial_id)
        self.replace_asked(params)
        return params

    def replace_asked(self, params: Params) -> None:
        """The trial asked for last is going to run with these parameters."""
        self._params[-1] = params
        for name, value in params.items():
            distribution = self._distributions[name]
            internal = distribution.to_internal_repr(to_optuna(self._space[name], value))
            self._storage.set_trial_param(self._ids[-1], name, internal, distribution)

    def gives_up(self, record: TrialRecord) -> bool:
        """Whether the pruner gives up a PAUSED trial at the rung that it has reached."""
        if record.epochs not in self._reported.get(record.number, ()):
            return False
        self._judged[record.number] = record.epochs
        return self._pruner.prune(self._study, self._storage.get_trial(self._ids[record.number]))

    def _can_follow(self, trials: Trials, changed: Sequence[int], worst: float | None) -> bool:
        known = range(len(self._params))
        if len(trials) < len(known) or any(trials[k].params != self._params[k] for k in changed if k in known):
            return False
        if self._tells_worst_anew(worst) and self._failed:
            return False  # failed trials were told as another value
        before = self._records
        if self._replay_asks and (
            len(before) < len(known) or any(before[k] != trials[k] for k in changed if k in known)
        ):
            return False  # asked for at a moment when less was known
        if any(before[k].state.final and before[k] != trials[k] for k in changed if k < len(before)):
            return False
        paused = in_state(trials, TrialState.PAUSED)
        return all(r.number not in known or self._judged.get(r.number) != r.epochs for r in paused)

    def _tells_worst_anew(self, worst: float | None) -> bool:
        """Whether failed trials are to be told as another value; what none looks at is told once there is any."""
        return worst != self._worst and (self._learns or worst is None or self._worst is None)

    def _reset(self) -> None:
        self._storage = InMemoryStorage()
        direction = StudyDirection.MAXIMIZE if self._direction is Direction.MAXIMIZE else StudyDirection.MINIMIZE
        with _quiet():
            self._storage.create_new_study([direction], _STUDY_NAME)
            self._study = Study(_STUDY_NAME, self._storage, sampler=self._sampler(0), pruner=self._pruner)
        self._params: list[Params] = []
        self._ids: list[int] = []
        self._records = []
        self._reported: dict[int, set[int]] = {}
        self._judged: dict[int, int] = {}
        self._failed = 0
        """Trials that were told as failed by their configuration."""
        self._settled: set[int] = set()
        self._worst = worst_value(self._earlier, self._direction)
        for record in self._earlier:
            state, value = self._ending(record)
            self._add(record, state=state, value=value, reports=dict(values_at_rungs(record, self._rungs)))
        self._worst = None

    def _ask_trial(self) -> optuna.Trial:
        self._study.sampler = self._sampler(len(self._params))
        return self._study.ask()

    def _append(self, record: TrialRecord) -> None:
        assert record.number == len(self._params), "records are numbered from 0 without gaps"
        if self._replay_asks:
            self._ids.append(self._ask_trial()._trial_id)
            self._params.append(record.params)
            self.replace_asked(record.params)
            return
        self._ids.append(self._add(record, state=OptunaState.RUNNING))
        self._params.append(record.params)

    def _add(
        self,
        record: TrialRecord,
        *,
        state: OptunaState,
        value: float | None = None,
        reports: dict[int, float] | None = None,
    ) -> int:
        params = {name: given for name, given in record.params.items() if name in self._distributions}
        trial = create_trial(
            state=state,
            value=value,
            params={name: to_optuna(self._space[name], given) for name, given in params.items()},
            distributions={name: self._distributions[name] for name in params},
            intermediate_values=reports,
        )
        return self._storage.create_new_trial(self._study._study_id, template_trial=trial)

    def _update(self, record: TrialRecord) -> None:
        if record.number in self._settled:
            return
        trial_id = self._ids[record.number]
        reported = self._reported.setdefault(record.number, set())
        for epoch, value in values_at_rungs(record, self._rungs):
            if epoch not in reported:
                self._storage.set_trial_intermediate_value(trial_id, epoch, value)
                reported.add(epoch)
                waits_here = record.state is TrialState.PAUSED and epoch == record.epochs
                if not waits_here and epoch != self._rungs[-1]:
                    # Lets the pruner note that the trial passed this rung.
                    self._pruner.prune(self._study, self._storage.get_trial(trial_id))
        if record.state.final:
            self._failed += failed_by_configuration(record)
            state, value_told = self._ending(record)
            self._storage.set_trial_state_values(trial_id, state, None if value_told is None else [value_told])
            self._settled.add(record.number)

    def _ending(self, record: TrialRecord) -> tuple[OptunaState, float | None]:
        if failed_by_configuration(record) and self._worst is not None:
            return OptunaState.COMPLETE, self._worst
        value = usable_value(record)
        if value is None:
            return OptunaState.FAIL, None
        return (OptunaState.COMPLETE if record.state is TrialState.COMPLETE else OptunaState.PRUNED), value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a study that nobody can see."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
