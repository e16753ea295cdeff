"""How the priority strategy finds new configurations: the opening, then the regularisation tier, then the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tuner.records import Direction, Params, TrialRecord, TrialState
from tuner.search.cube import Array, Cube, Mask
from tuner.search.distinct import Distinct, Taken, key_of, taken_by
from tuner.search.observe import Noise, best_first, in_state, worst_value
from tuner.search.priority.acquisition import Candidates
from tuner.search.priority.effort import FULL, worthwhile
from tuner.search.priority.observations import Observations, measured_by, observe
from tuner.search.priority.opening import Opening
from tuner.search.priority.regularisation import LABEL, Regularisation
from tuner.search.priority.response import Appraisal, Response
from tuner.search.priority.seen import Points, paused, seen
from tuner.search.seeding import derived_seed, generator
from tuner.search.sobol import sobol
from tuner.search.strategy import Advance, Start
from tuner.spec.space import Space
from tuner.trials import Mark, Trials

_MODEL_PURPOSE, _SPREAD_PURPOSE, _DISTINCT_PURPOSE = 2, 3, 4
"""Keep the random numbers apart; to change one is to change every search of the same seed."""
_ENOUGH_EARLIER = 10
"""With so many trials of an earlier study, the model needs no opening pass."""
_CHEAP_BASES = 3
"""Without a model: the best trials that points are drawn around."""


class Explorer:
    """What stays the same over a study; `session` looks at it at one moment."""

    def __init__(
        self,
        space: Space,
        *,
        direction: Direction,
        rungs: tuple[int, ...],
        trials: int,
        seed: int,
        regularisation_always: bool,
        noise: Noise,
        target_error: float,
        earlier: Sequence[TrialRecord] = (),
        learned: Sequence[Params] = (),
        is_thrifty: bool = True,
    ) -> None:
        """
        Args:
            space: What is searched.
            direction: Of the dev metric.
            rungs: Where trials pause; the last is the full training.
            trials: Total number of trials of the study.
            seed: The search seed.
            regularisation_always: Open the regularisation tier from the start.
            noise: Of the dev metric.
            target_error: The error that is as good as it gets.
            earlier: Trials of an earlier study to learn from.
            learned: Configurations of a portfolio, to begin with.
            is_thrifty: Think no longer over a decision than the seconds of the trainings so far warrant.
        """
        self.is_thrifty = is_thrifty
        self.cube = Cube(space)
        self.direction = direction
        self.rungs = rungs
        self.trials = trials
        self.seed = seed
        self.earlier = tuple(earlier)
        self.distinct = Distinct(space)
        self.regularisation = Regularisation(
            self.cube,
            direction=direction,
            trials=trials,
            always=regularisation_always or any(record.tier == LABEL for record in self.earlier),
            noise=noise,
            target_error=target_error,
        )
        self.opening = Opening(
            self.cube,
            direction=direction,
            rungs=rungs,
            trials=trials,
            seed=seed,
            with_regularisation=self.regularisation.always,
            skip_passes=len(self.earlier) >= _ENOUGH_EARLIER,
            learned=learned,
        )

        self.earlier_points = np.array([self.cube.units(r.params) for r in self.earlier]).reshape(-1, self.cube.columns)
        self.worst_earlier = worst_value(self.earlier, direction)
        self.taken_earlier = {key_of(record.params) for record in self.earlier}
        self._trials = Trials()
        self._followed: Mark | None = None
        self._session: Session | None = None
        self._points = Points(self.cube)

    @property
    def epochs(self) -> int:
        """Of a full training."""
        return self.rungs[-1]

    def session(self, records: Sequence[TrialRecord], *, room: int) -> Session:
        """A look at the study as these records say it is; ends the last one.

        Args:
            records: All trials.
            room: For how many jobs there is room.
        """
        if self._session is not None:
            self._session.undo()
        self._followed = self._trials.follow(records, since=self._followed)
        self._session = Session(self, self._trials, self._points, room=room)
        return self._session


def _epochs_under_way(record: TrialRecord) -> int:
    return record.to_epoch if record.state is TrialState.RUNNING else record.epochs


class Session:
    """One moment of a study, and what is decided in it: decisions are noted, so that the next one differs."""

    def __init__(self, explorer: Explorer, trials: Trials, points: Points, *, room: int) -> None:
        self._explorer = explorer
        self.records = trials
        """All trials, with those decided on as they are going to be."""
        self._before: dict[int, TrialRecord] = {}
        """Trials decided on, as they were."""
        self._num_known = len(trials)
        self._all_points = points
        self._taken = Taken(taken_by(trials), explorer.taken_earlier)
        self._is_used_up = False
        under_way = len(in_state(trials, TrialState.RUNNING))
        workers = room + under_way
        self.fresh = range(max(0, len(trials) - workers), len(trials))
        """The numbers of the latest trials, as many as there are workers."""
        self._paused = [record.number for record in paused(trials, explorer.direction)]
        # Once all trials are started, one decision comes with the end of each training: no batch shares a model.
        decisions = max(1, min(room, self.starts_left))
        thrifty = explorer.is_thrifty
        self._effort = worthwhile(trials, decisions=decisions, under_way=under_way) if thrifty else FULL
        self._response: Response | None = None
        self._rows: dict[int, int] = {}
        """Of the trials that the model looks at, their places among its own."""
        self._candidates: dict[tuple[tuple[int, float], ...], Candidates] = {}
        self._diagnosis = explorer.regularisation.diagnose(trials)

    def undo(self) -> None:
        """Forget the decisions; the session is over."""
        self.records.cut(self._num_known)
        for record in self._before.values():
            self.records.put(record)

    @property
    def paused(self) -> list[TrialRecord]:
        """The paused trials, by number; of very many the best."""
        return [r for r in (self.records[n] for n in self._paused) if r.state is TrialState.PAUSED]

    @property
    def starts_left(self) -> int:
        """How many new trials the study may still have."""
        if self._is_used_up:
            return 0
        left = self._explorer.trials - len(self.records)
        untried = self._explorer.distinct.left(self._taken)
        return left if untried is None else min(left, untried)

    def say_if_used_up(self) -> None:
        """Say so where the space holds fewer configurations than the study may have trials."""
        if self.starts_left <= 0 and len(self.records) < self._explorer.trials:
            self._explorer.regularisation.say_used_up(self.records)

    @property
    def spent(self) -> float:
        """Epochs trained or under way, in full trainings."""
        return self.records.total(_epochs_under_way) / self._explorer.epochs

    def still_learns(self, records: Sequence[TrialRecord]) -> NDArray[np.bool_]:
        """Which of these trials do not fit their training set yet, so that longer training is favoured."""
        return self._explorer.regularisation.still_learns(records, among=self.records)

    @property
    def modelled(self) -> bool:
        """Whether there is a model: not before the first value, nor where trials are too cheap for one."""
        return self._model() is not None

    def take(self, decision: Start | Advance) -> None:
        """Note a decision: its trial is pending from now on."""
        match decision:
            case Start(params=params, to_epoch=to_epoch, tier=tier):
                number = len(self.records)
                self._taken.add(key_of(params))
                self.records.put(
                    TrialRecord(
                        number=number,
                        params=params,
                        seed=0,
                        state=TrialState.RUNNING,
                        tier=tier,
                        to_epoch=to_epoch,
                    )
                )
            case Advance(trial=number, to_epoch=to_epoch):
                record = self._before[number] = self.records[number]
                self.records.put(replace(record, state=TrialState.RUNNING, to_epoch=to_epoch))
        if self._response is not None:
            self._response.believe(self._points[[number]])

    def appraise(self, records: Sequence[TrialRecord]) -> Appraisal | None:
        """What full trainings of these trials would bring; None without a model."""
        response = self._model()
        if response is None or not records:
            return None
        return response.appraise_trials([self._rows[record.number] for record in records])

    @property
    def incumbent(self) -> float:
        """The best value so far on the model's scale."""
        response = self._model()
        assert response is not None
        return response.incumbent

    def scheduled_start(self) -> Start | None:
        """A new trial that needs no model: of the opening, or of the regularisation tier's pass."""
        opening, regularisation = self._explorer.opening, self._explorer.regularisation
        start = opening.next_start(self.records)
        found = None if start is None else self._of_pass(start, opening.columns_of(start))
        if found is None and opening.next_advance(self.records) is None:
            start = regularisation.next_start(self.records, opening, self._diagnosis)
            found = None if start is None else self._of_pass(start, regularisation.columns_of(start))
        return found

    def leader(self, *, to_epoch: int) -> Start | None:
        """The first trial of a cohort: of the opening, of the pass of a tier that opens, or the model's."""
        opening, regularisation = self._explorer.opening, self._explorer.regularisation
        start = opening.leading(self.records) or regularisation.next_start(self.records, opening, self._diagnosis)
        found = None if start is None else self._distinct(start, self._open_columns(start))
        if found is None:
            proposal = self.modelled_start(to_epoch=to_epoch)
            found = None if proposal is None else proposal[0]
        return None if found is None else replace(found, to_epoch=to_epoch)

    def modelled_start(
        self, *, to_epoch: int, held: Mapping[int, float] = MappingProxyType({})
    ) -> tuple[Start, float] | None:
        """The most promising new trial and the logarithm of its expected improvement; None if nothing is left.

        Without a model (no values yet, or trials too cheap for one), points are spread over the space and drawn
        around the best trials in turn, and the improvement is infinite.

        Args:
            to_epoch: Where it is sent.
            held: Unit coordinates that it is to have, by column.
        """
        response = self._model()
        if response is None:
            point, improvement = self._without_model(held), float("inf")
        else:
            points = self._points
            bases = points[[*self._rows, *range(self._num_known, len(points))]]
            point, improvement = response.propose(self._drawing(held), points, bases=bases)
        start = Start(params=self._explorer.cube.params(point), to_epoch=to_epoch, tier="all")
        found = self._distinct(start, self._open_columns(start) & ~np.isin(np.arange(len(point)), list(held)))
        if found is None and not held:
            self._is_used_up = True
            self.say_if_used_up()
        return None if found is None else (found, improvement)

    def _of_pass(self, start: Start, columns: Mask | None) -> Start | None:
        """A trial of a tier's pass, which moves the tier alone; of the rest of what is open once that is used up."""
        found = None if columns is None else self._distinct(start, columns)
        if found is not None:
            return found
        spread = start if columns is None else replace(start, params=self._explorer.cube.params(self._anywhere()))
        return self._distinct(spread, self._open_columns(start))

    def _model(self) -> Response | None:
        explorer = self._explorer
        if self._response is not None or self._effort is None:
            return self._response
        points = self._points
        looked_at = seen(self.records, direction=explorer.direction, others=(*self.fresh, *self._paused))
        places = [place for place in looked_at if place < self._num_known]
        self._rows = {place: row for row, place in enumerate(places)}
        observations = self._observations(places)
        if observations is None:
            return None
        rng = generator(explorer.seed, self._num_known, _MODEL_PURPOSE)
        trials = points[places]
        self._response = Response(observations, explorer.cube, trials=trials, effort=self._effort, rng=rng)
        self._response.believe(points[[r.number for r in in_state(self.records, TrialState.RUNNING)]])
        return self._response

    def _observations(self, places: Sequence[int]) -> Observations | None:
        """What earlier trials say and those at these places, as they were before decisions."""
        explorer = self._explorer
        measured = measured_by(explorer.epochs, running=self.starts_left > 0)
        of_all = self.records.each(measured)
        said = [measured(self._before[p]) if p in self._before else of_all[p] for p in places]
        of_these = worst_value(self.records, explorer.direction)
        worst = [value for value in (explorer.worst_earlier, of_these) if value is not None]
        return observe(
            [*map(measured, explorer.earlier), *said],
            np.vstack([explorer.earlier_points, self._points[places]]),
            direction=explorer.direction,
            worst=min(worst, key=lambda value: explorer.direction.sign * value, default=None),
        )

    def _drawing(self, held: Mapping[int, float] = MappingProxyType({})) -> Candidates:
        name = tuple(held.items())
        if name not in self._candidates:
            explorer = self._explorer
            self._candidates[name] = Candidates(
                explorer.cube,
                open_columns=explorer.regularisation.open_columns(self.records),
                upwards=explorer.regularisation.upwards(self._diagnosis),
                rng=generator(explorer.seed, self._num_known, _SPREAD_PURPOSE),
                held=held,
            )
        return self._candidates[name]

    def _without_model(self, held: Mapping[int, float]) -> Array:
        explorer = self._explorer
        best = best_first(self.records, explorer.direction)[:_CHEAP_BASES]
        if len(self.records) % 2 or not best:
            point = self._anywhere()
            for column, unit in held.items():
                point[column] = unit
            return point
        near: Array = self._drawing(held).around(self._points[[r.number for r in best]], 1)[0]
        return near

    def _anywhere(self) -> Array:
        """One of points that are spread over what is open."""
        explorer = self._explorer
        seed = derived_seed(explorer.seed, _SPREAD_PURPOSE)
        point = sobol(len(self.records), 1, dimensions=explorer.cube.columns, seed=seed)
        open_columns = explorer.regularisation.open_columns(self.records)
        first: Array = explorer.cube.snap(np.where(open_columns, point, explorer.cube.default))[0]
        return first

    def _open_columns(self, start: Start) -> Mask:
        """The columns that this trial may move: a pass that opens a tier moves that one, too."""
        regularisation = self._explorer.regularisation
        return regularisation.open_columns(self.records) | regularisation.columns_of(start)

    @property
    def _points(self) -> Array:
        """Of all trials, pending ones included, shape (trials, columns)."""
        return self._all_points.of(self.records)

    def _distinct(self, start: Start, columns: Mask) -> Start | None:
        """The trial, moved in these columns if it was made before; None once nothing else is left there.

        The other columns stay as they are; if nothing is left beside those values, they go back to their defaults.
        """
        explorer = self._explorer
        rng = generator(explorer.seed, len(self.records), _DISTINCT_PURPOSE)
        moving = {d.name for d, moves in zip(explorer.cube.dimensions, columns, strict=True) if moves}
        held = {name: value for name, value in start.params.items() if name in moving}
        for proposal in (dict(start.params), explorer.cube.space.complete(held)):
            params = explorer.distinct.untried(proposal, taken=self._taken, rng=rng, moving=moving)
            if params is not None:
                return replace(start, params=params)
        return None
