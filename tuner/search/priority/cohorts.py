"""The priority strategy where a whole cohort takes hardly longer than one trial: see `Cohorts`.

The most promising configuration leads a cohort: the default one first, then what was learned beforehand, then what the
model expects most of. Those that the model wants most among all that can train beside it fill the cohort. All are
trained in full, for what a rung would save is next to nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence

from tuner.records import TrialRecord, TrialState
from tuner.search.priority.explorer import Explorer, Session
from tuner.search.strategy import Advance, Cohorts, Decision, Start
from tuner.trials import trials_of


def _is_interrupted(record: TrialRecord) -> tuple[()] | None:
    return () if record.state is TrialState.PAUSED and record.epochs < record.to_epoch else None


class CohortStrategy:
    """Starts new trials in groups that can train as one."""

    def __init__(self, explorer: Explorer, cohorts: Cohorts) -> None:
        self._explorer = explorer
        self._size = cohorts.size
        self._shared = [j for j, d in enumerate(explorer.cube.dimensions) if d.name in cohorts.alike]
        names = ", ".join(explorer.cube.dimensions[j].name for j in self._shared)
        alike = f" that are alike in {names}" if names else ""
        self._lines = [f"the GPU is given {cohorts.size} new trials at a time{alike}, which train as one, in full"]

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        going_on = trials_of(records).ordered(_is_interrupted)[:room]
        decisions: list[Decision] = [Advance(trial=r.number, to_epoch=r.to_epoch) for r in going_on]
        if len(decisions) == room or len(records) >= self._explorer.trials:
            return decisions
        session = self._explorer.session(records, room=room)
        while len(decisions) < room:
            cohort = self._cohort(session, min(self._size, room - len(decisions)))
            if not cohort:
                break
            decisions += cohort
        return decisions

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = self._lines, []
        return (*lines, *self._explorer.regularisation.explain())

    def _cohort(self, session: Session, size: int) -> list[Start]:
        if session.starts_left <= 0:
            return []
        start = session.leader(to_epoch=self._explorer.epochs)
        found = list[Start]()
        while start is not None:
            session.take(start)
            found.append(start)
            if len(found) == size or session.starts_left <= 0:
                break
            units = self._explorer.cube.units(found[0].params)
            held = {column: float(units[column]) for column in self._shared}
            proposal = session.modelled_start(to_epoch=self._explorer.epochs, held=held)
            start = None if proposal is None else proposal[0]
        return found
