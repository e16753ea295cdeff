"""Population-based training (arXiv 1711.09846): what does worst goes on from what does best, with changed values.

The members of the population are the trials. At every interval all of them are looked at; those of the lower quantile
take over the state of one of the upper, its network and its history, and other values of what may change in a training.
Nothing is decided before all have come to the epoch, so that it depends on the records alone, whatever trained when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuner.records import Direction, Params, ParamValue, TrialRecord, TrialState
from tuner.search.designs import quasi_random
from tuner.search.distinct import Distinct, Taken, key_of, taken_by
from tuner.search.request import Request
from tuner.search.seeding import generator
from tuner.search.strategy import Advance, Copy, Decision, Start, Strategy
from tuner.spec.blocks.search import PopulationSpec
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.space import Dimension, Space
from tuner.trials import Trials, trials_of

_START_PURPOSE, _COPY_PURPOSE = 12, 13
_INTERVALS = 10
"""In a training, where the sweep file does not say."""
_DRAWS = 20
"""After so many that were tried already a value is drawn from its whole range."""


def interval_of(rule: PopulationSpec, *, epochs: int) -> int:
    """Epochs between two comparisons."""
    return rule.interval or max(1, round(epochs / _INTERVALS))


def may_change(dimension: Dimension) -> bool:
    """Whether trials may take other values of a hyperparameter while they train."""
    known = HYPERPARAMETERS.get(dimension.name)
    return known is not None and known.may_change and dimension.ordered and not dimension.fixed


class PopulationStrategy:
    """Implements `search.strategy.Strategy`."""

    def __init__(
        self, space: Space, rule: PopulationSpec, *, direction: Direction, epochs: int, trials: int, seed: int
    ) -> None:
        """
        Args:
            space: What is searched.
            rule: How members learn from one another.
            direction: Of the dev metric.
            epochs: Of a full training.
            trials: The members.
            seed: The search seed.
        """
        self._space = space
        self._rule = rule
        self._direction = direction
        self._epochs = epochs
        self._trials = trials
        self._seed = seed
        self._changing = tuple(d for d in space if may_change(d))
        self._distinct = Distinct(space)
        self._lines: list[str] = []
        self._said: set[int] = set()
        self.interval = interval_of(rule, epochs=epochs)

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        trials = trials_of(records)
        decisions: list[Decision] = [*self._starts(trials, room)]
        is_whole = len(decisions) < room or len(trials) + len(decisions) >= self._trials
        paused = [record for record in trials if record.state is TrialState.PAUSED]
        due = [record for record in paused if record.epochs % self.interval == 0]
        going_on = [record for record in paused if record.epochs % self.interval]
        if due and len({record.epochs for record in due}) == 1:
            epoch = due[0].epochs
            if any(_is_beyond(record, epoch) for record in trials):
                going_on += due
            elif is_whole and not decisions and not going_on and not _num_running(trials):
                decisions += self._copies(trials, due, epoch=epoch)
                going_on += due
        elif due:  # some are tried once more, and have to come to where the others are
            going_on += [record for record in due if record.epochs == min(r.epochs for r in due)]
        left = room - sum(isinstance(decision, Start) for decision in decisions)
        return decisions + [
            Advance(trial=record.number, to_epoch=self._next(record.epochs)) for record in going_on[: max(0, left)]
        ]

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = tuple(self._lines), []
        return lines

    def _next(self, epochs: int) -> int:
        return min(self._epochs, (epochs // self.interval + 1) * self.interval)

    # The first members

    def _starts(self, trials: Trials, room: int) -> list[Start]:
        if any(_is_beyond(record, self._next(0)) or record.phases for record in trials):
            return []  # who joins later would have missed what the others have learnt
        taken, found = Taken(taken_by(trials)), list[Start]()
        while len(found) < min(room, self._trials - len(trials)):
            number = len(trials) + len(found)
            params = self._first(number, taken)
            if params is None:
                break
            taken.add(key_of(params))
            found.append(Start(params=params, to_epoch=self._next(0), tier="all" if number else "default"))
        if found:
            self._say_once(0, self._introduction())
        return found

    def _first(self, number: int, taken: Taken) -> dict[str, ParamValue] | None:
        """The configuration that a member begins with: the default, and points of a Sobol sequence."""
        drawn = quasi_random(self._space, number, 1, seed=self._seed)[0]
        params = drawn if number else self._space.default()
        return self._distinct.untried(params, taken=taken, rng=generator(self._seed, number, _START_PURPOSE))

    def _introduction(self) -> str:
        changing = [d.name for d in self._changing]
        once = [d.name for d in self._space if d.name not in changing and not d.fixed]
        line = f"a population of {self._trials}: {', '.join(changing) or 'nothing'} may change every {self.interval}"
        copied = f"; chosen once, and taken over with the network: {', '.join(once)}" if once else ""
        return f"{line} epochs{copied}"

    # What they learn from one another

    def _copies(self, trials: Trials, members: Sequence[TrialRecord], *, epoch: int) -> list[Copy]:
        """What the lower quantile takes over of the upper; a member as good as its example keeps what it has."""
        count = min(len(members) // 2, max(1, math.floor(self._rule.quantile * len(members))))
        if not count or not self._changing:
            return []
        ranked = sorted(members, key=lambda record: (-self._score(record), record.number))
        taken, found = Taken(taken_by(trials)), list[Copy]()
        for loser in ranked[-count:]:
            rng = generator(self._seed, epoch, loser.number, _COPY_PURPOSE)
            source = ranked[int(rng.integers(count))]
            if self._score(source) <= self._score(loser):
                continue
            params = self._explored(source.params, taken, rng)
            taken.add(key_of(params))
            found.append(Copy(trial=loser.number, source=source.number, params=params))
        copied = ", ".join(f"trial {copy.trial} from {copy.source}" for copy in found) or "none"
        self._say_once(epoch, f"after {epoch} epochs, of {len(members)} members these go on from others: {copied}")
        return found

    def _score(self, record: TrialRecord) -> float:
        """How good a member is where it stands, not where it was best: that is what another would take over."""
        value = record.last.dev_metric if record.last else math.nan
        return self._direction.sign * value if math.isfinite(value) else -math.inf

    def _explored(self, params: Params, taken: Taken, rng: np.random.Generator) -> dict[str, ParamValue]:
        """A configuration with other values of what may change, which no member has or had at first."""
        found: dict[str, ParamValue] = dict(params)
        for draw in range(2 * _DRAWS):
            moved = {
                d.name: self._moved(d, params[d.name], rng, anew=draw >= _DRAWS)
                for d in self._changing
                if d.name in params
            }
            found = {**params, **moved}
            if key_of(found) not in taken:
                break
        return found

    def _moved(self, dimension: Dimension, value: ParamValue, rng: np.random.Generator, *, anew: bool) -> ParamValue:
        factors = self._rule.factors
        resampled, factor, unit = rng.random() < self._rule.resample, factors[rng.integers(len(factors))], rng.random()
        if not value:
            return value  # what is off may be off for all that train together
        if resampled or anew:
            return dimension.from_unit(unit) or value
        if dimension.kind == "categorical":
            return dimension.value_at(dimension.choices.index(value) + (1 if factor > 1 else -1)) or value
        number = 1 - (1 - float(value)) * factor if dimension.scale == "log1m" else float(value) * factor
        number = min(dimension.high, max(dimension.low, number))
        return dimension.from_unit(dimension.to_unit(number)) if dimension.step else number

    def _say_once(self, epoch: int, line: str) -> None:
        if epoch not in self._said:
            self._said.add(epoch)
            self._lines.append(line)


def _is_beyond(record: TrialRecord, epoch: int) -> bool:
    """Whether a member was sent on from this epoch, so that what is decided there has been."""
    return record.to_epoch > epoch or any(phase.from_epoch == epoch > 0 for phase in record.phases)


def _num_running(trials: Trials) -> int:
    return sum(record.state is TrialState.RUNNING for record in trials)


def make_strategy(request: Request) -> tuple[Strategy, int]:
    """Population-based training."""
    strategy = PopulationStrategy(
        request.space,
        request.population,
        direction=request.direction,
        epochs=request.epochs,
        trials=request.trials,
        seed=request.seed,
    )
    return strategy, min(request.epochs, strategy.interval)
