"""Configurations that are tried first, as a wrapper around any strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.errors import SweepFileError
from tuner.records import Params, ParamValue, TrialRecord
from tuner.search.distinct import key_of, taken_by
from tuner.search.strategy import Decision, Start, Strategy
from tuner.spec.space import Dimension, Space
from tuner.trials import trials_of

_TIER = "start"


def start_configurations(start: Sequence[Mapping[str, ParamValue]], space: Space) -> list[dict[str, ParamValue]]:
    """The configurations of `search.start`, completed with defaults, without repetitions.

    Raises:
        SweepFileError: a parameter is unknown, does not apply or lies outside its range; lists every problem.
    """
    problems: list[str] = []
    found: list[dict[str, ParamValue]] = []
    for index, given in enumerate(start):
        for name, value in given.items():
            if name not in space.names:
                problems.append(f"search.start[{index}]: {name} is not searched; remove it or add it to space")
            elif not space[name].contains(value):
                problems.append(f"search.start[{index}].{name}: must lie within its range in space, got {value!r}")
        params = space.complete({n: _typed(v, space[n]) if n in space.names else v for n, v in given.items()})
        if params not in found:
            found.append(params)
    if problems:
        raise SweepFileError(problems)
    return found


def _typed(value: ParamValue, dimension: Dimension) -> ParamValue:
    """A number as the dimension's own kind: 64.0 as 64 for whole numbers, 1 as 1.0 for others."""
    if isinstance(value, bool | str) or dimension.kind == "categorical":
        return value
    return int(value) if dimension.kind == "int" and float(value).is_integer() else float(value)


class StartFirst:
    """Starts the given configurations before it asks the strategy that it wraps; never one that was tried."""

    def __init__(
        self,
        inner: Strategy,
        configurations: Sequence[Params],
        *,
        to_epoch: int,
        trials: int,
        at_the_beginning: Sequence[Params] = (),
    ) -> None:
        """
        Args:
            inner: Decides once all configurations have been started.
            configurations: Those of the user's, which are tried whenever they are asked for.
            to_epoch: The epoch that the wrapped strategy sends new trials to.
            trials: Total number of trials of the study.
            at_the_beginning: Those that follow, in a study that has no other trials yet: where they come from may
                hold others by the time that it goes on.
        """
        self._inner = inner
        self._at_the_beginning = at_the_beginning
        self._configurations = configurations
        self._to_epoch = to_epoch
        self._trials = trials

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        tried = taken_by(trials)
        is_beginning = len(trials) < len(self._configurations) + len(self._at_the_beginning)
        wanted = [*self._configurations, *(self._at_the_beginning if is_beginning else ())]
        untried = [params for params in wanted if key_of(params) not in tried]
        starts = untried[: max(0, min(room, self._trials - len(trials)))]
        if not starts:
            return self._inner.decide(trials, room)
        return [Start(params=params, to_epoch=self._to_epoch, tier=_TIER) for params in starts]

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        return self._inner.explain()
