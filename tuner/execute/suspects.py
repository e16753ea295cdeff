"""Which trials may have killed their worker: they go on alone, so that the culprit fails and the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tuner.execute.waiting import PlannedJob


class Suspects:
    """The trials that go on by themselves.

    The trial that a worker died of is not known when several were in training. If the worker died by itself, or was
    killed before while a trial was in training there, that trial is suspect.
    """

    def __init__(self) -> None:
        self._trials: set[int] = set()
        self._deaths: Counter[str] = Counter()
        """How many workers were killed while a trial, by its folder, was in training there with others."""

    def __contains__(self, trial: int) -> bool:
        return trial in self._trials

    def first_of(self, waiting: Iterable[PlannedJob]) -> PlannedJob | None:
        """The first of these jobs that is suspect."""
        return next((p for p in waiting if p.job.trial in self._trials), None) if self._trials else None

    def add(self, trial: int) -> None:
        self._trials.add(trial)

    def discard(self, trial: int) -> None:
        """It has ended."""
        self._trials.discard(trial)

    def after_death(self, jobs: Mapping[int, PlannedJob], *, from_outside: bool) -> bool:
        """Whether any of the trials in training, by number, is suspect now that their worker has died.

        Args:
            jobs: The worker's jobs.
            from_outside: Whether it was killed, and did not die by itself.
        """
        suspects = {trial for trial, planned in jobs.items() if not from_outside or self._deaths[planned.job.folder]}
        self._trials |= suspects
        self._deaths.update(planned.job.folder for planned in jobs.values())
        return bool(suspects)
