"""The priority strategy as Optuna's own classes, for `study.optimize` with a define-by-run objective.

Optuna can give a trial up but not thaw it, so part of what makes the strategy frugal is missing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.records import Direction, EpochResult, FailureReason, ParamValue, TrialRecord, TrialState
from tuner.search.cube import readable
from tuner.search.observe import no_noise
from tuner.search.priority.explorer import Explorer, Session
from tuner.search.rungs import priority_rungs
from tuner.search.seeding import generator
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.space import Dimension, Scale, Space

_STATES = {
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAILED,
}
_INDEPENDENT_PURPOSE = 5
_UNLIMITED = 10**9  # trials: Optuna is told how many elsewhere


class PrioritySampler(BaseSampler):
    """Searches in Ng's order of priority: the default first, a short pass through the tiers, then a model.

    With a `PriorityPruner` (or any other) it learns from intermediate values, which `trial.report` gives with the
    number of finished epochs as the step.
    """

    def __init__(
        self,
        *,
        epochs: int = 1,
        tiers: Mapping[str, int] | None = None,
        defaults: Mapping[str, ParamValue] | None = None,
        seed: int = 0,
    ) -> None:
        """
        Args:
            epochs: Steps of a full training; 1 if the objective reports no intermediate values.
            tiers: Priority of each parameter, 1 to 3; hyperparameters with a known name have theirs, others tier 2.
            defaults: Values of the first trial; known names have theirs, others the middle of their range.
            seed: Of the search.
        """
        self.epochs = epochs
        self._tiers = dict(tiers or {})
        self._defaults = dict(defaults or {})
        self._seed = seed
        self._space = IntersectionSearchSpace(include_pruned=True)
        self._explorer: Explorer | None = None

    def reseed_rng(self) -> None:
        """Nothing to do: chance depends on the seed and on the number of trials alone."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that every finished trial has."""
        found: dict[str, BaseDistribution] = self._space.calculate(study)
        return {name: d for name, d in sorted(found.items()) if not d.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next configuration."""
        if not search_space:
            return {}
        session = self.session(study, search_space, [t for t in _trials(study) if t.number != trial.number])
        start = session.scheduled_start()
        if start is None:
            proposal = session.modelled_start(to_epoch=self.epochs)
            start = proposal[0] if proposal else None
        return dict(start.params) if start else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that not every trial has: its default at first, then by chance."""
        dimension = self._dimension(param_name, param_distribution)
        if not any(param_name in t.params for t in _trials(study)):
            return dimension.default
        place = sum(param_name.encode())
        return dimension.from_unit(generator(self._seed, trial.number, _INDEPENDENT_PURPOSE, place).random())

    def session(
        self,
        study: Study,
        search_space: Mapping[str, BaseDistribution],
        trials: Sequence[FrozenTrial],
        *,
        judged: int | None = None,
    ) -> Session:
        """These trials as the strategy sees them; the one whose number is judged waits at its rung."""
        dimensions = [self._dimension(name, distribution) for name, distribution in search_space.items()]
        space = Space(tuple(sorted(dimensions, key=lambda d: (d.tier, d.name))))
        direction = Direction.MINIMIZE if study.direction is StudyDirection.MINIMIZE else Direction.MAXIMIZE
        if self._explorer is None or self._explorer.cube.space != space or self._explorer.direction is not direction:
            self._explorer = self._explore(space, direction)
        known = [t for t in trials if set(space.names) <= set(t.params)]
        records = [self._record(n, t, space, direction, judged=t.number == judged) for n, t in enumerate(known)]
        return self._explorer.session(records, room=1)

    def _explore(self, space: Space, direction: Direction) -> Explorer:
        return Explorer(
            space,
            direction=direction,
            rungs=priority_rungs(self.epochs),
            trials=_UNLIMITED,
            seed=self._seed,
            regularisation_always=True,
            noise=no_noise,
            target_error=0.0,
        )

    def _record(
        self, number: int, trial: FrozenTrial, space: Space, direction: Direction, *, judged: bool
    ) -> TrialRecord:
        values = _best_so_far(trial, direction, epochs=self.epochs)
        state = TrialState.PAUSED if judged else _STATES.get(trial.state, TrialState.RUNNING)
        last = _result(*values[-1]) if values else None
        return TrialRecord(
            number=number,
            params={name: trial.params[name] for name in space.names},
            seed=0,
            state=state,
            reason=f"{FailureReason.DIVERGED}: failed" if state is TrialState.FAILED else "",
            to_epoch=self.epochs,
            rungs=tuple(value for value in values if value[0] in priority_rungs(self.epochs)),
            best=last,
            last=last,
        )

    def _dimension(self, name: str, distribution: BaseDistribution) -> Dimension:
        known = HYPERPARAMETERS.get(name)
        tier = self._tiers.get(name, known.tier if known else 2)
        if isinstance(distribution, CategoricalDistribution):
            choices = tuple(choice for choice in distribution.choices if choice is not None)
            plain = Dimension(name=name, kind="categorical", tier=tier, default=choices[0], choices=choices)
        else:
            assert isinstance(distribution, FloatDistribution | IntDistribution)
            scale: Scale = "log" if distribution.log else "linear"
            if known is not None and known.scale == "log1m" and distribution.low >= 0 and distribution.high < 1:
                scale = "log1m"
            plain = Dimension(
                name=name,
                kind="int" if isinstance(distribution, IntDistribution) else "float",
                tier=tier,
                default=distribution.low,
                low=distribution.low,
                high=distribution.high,
                scale=scale,
                step=distribution.step if distribution.step != 1 or scale != "log" else None,
            )
        return _with_default(plain, self._defaults.get(name, known.default if known else None))


class PriorityPruner(BasePruner):
    """Gives a trial up at a rung when its sampler's model does not expect it to beat the best."""

    def __init__(self, sampler: PrioritySampler, *, optimism: float = 1.0) -> None:
        """
        Args:
            sampler: Of the same study, with `epochs` set.
            optimism: A trial goes on while its expected value plus so many standard deviations reaches the best.
        """
        self._sampler = sampler
        self._optimism = optimism

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up; asked at the rungs only."""
        step = trial.last_step
        if step is None or step not in priority_rungs(self._sampler.epochs)[:-1]:
            return False
        space = self._sampler.infer_relative_search_space(study, trial)
        if not space or not set(space) <= set(trial.params):
            return False
        trials = [t for t in _trials(study) if t.number != trial.number]
        session = self._sampler.session(study, space, [*trials, trial], judged=trial.number)
        appraisal = session.appraise(session.records[-1:])
        if appraisal is None:
            return False
        hope = appraisal.mean[0] + self._optimism * appraisal.deviation[0]
        return bool(hope < session.incumbent)


def _trials(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False)


def _best_so_far(trial: FrozenTrial, direction: Direction, *, epochs: int) -> list[tuple[int, float]]:
    """(epoch, best value so far) of each report, and of the end of a finished trial."""
    best = direction.worst
    values: list[tuple[int, float]] = []
    for epoch, value in sorted(trial.intermediate_values.items()):
        if direction.better(value, best):
            best = value
        if math.isfinite(best):
            values.append((epoch, best))
    if trial.state is OptunaState.COMPLETE and trial.value is not None and math.isfinite(trial.value):
        values = [*(v for v in values if v[0] < epochs), (epochs, trial.value)]
    return values


def _result(epoch: int, value: float) -> EpochResult:
    unknown = math.nan
    return EpochResult(
        epoch=epoch,
        train_loss=unknown,
        dev_loss=unknown,
        train_metric=unknown,
        dev_metric=value,
        learning_rate=unknown,
        seconds=0.0,
    )


def _with_default(dimension: Dimension, default: ParamValue | None) -> Dimension:
    if default is None or not dimension.contains(default):
        default = readable(dimension, dimension.from_unit(0.5))
    return replace(dimension, default=default)
