"""Jobs that no worker has yet, by what may train together: nothing looks at all of them for each worker."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tuner.records import ParamValue, TrialJob


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job with what the planner needs of it."""

    job: TrialJob
    key: Hashable
    """Its fusion key."""
    values: Mapping[str, ParamValue]
    seconds: float
    """Estimated, if it trains alone."""


class Waiting:
    """Jobs in the order in which they came, each trial once."""

    def __init__(self, jobs: Iterable[PlannedJob] = ()) -> None:
        self._groups: dict[Hashable, dict[int, PlannedJob]] = {}
        self._work: dict[Hashable, int] = {}
        """Nanoseconds of each group: whole, since their sum does not depend on who came and went."""
        self._length = 0
        self.add(jobs)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[PlannedJob]:
        for group in self._groups.values():
            yield from group.values()

    @property
    def num_groups(self) -> int:
        return len(self._groups)

    def add(self, jobs: Iterable[PlannedJob]) -> None:
        for planned in jobs:
            group = self._groups.setdefault(planned.key, {})
            assert planned.job.trial not in group, f"trial {planned.job.trial} waits already"
            group[planned.job.trial] = planned
            self._work[planned.key] = self._work.get(planned.key, 0) + _nanoseconds(planned)
            self._length += 1

    def take(self, jobs: Iterable[PlannedJob]) -> None:
        """Somebody has these jobs now."""
        for planned in jobs:
            group = self._groups[planned.key]
            del group[planned.job.trial]
            self._work[planned.key] -= _nanoseconds(planned)
            self._length -= 1
            if not group:
                del self._groups[planned.key], self._work[planned.key]

    def take_all(self) -> list[PlannedJob]:
        """All of them, which are somebody's now."""
        jobs = list(self)
        self._groups, self._work, self._length = {}, {}, 0
        return jobs

    def of(self, key: Hashable) -> Iterable[PlannedJob]:
        """Those with this fusion key."""
        return self._groups.get(key, {}).values()

    def with_most_work(self) -> list[PlannedJob]:
        """The group with the most work left, the first of equals; there is one."""
        return list(self._groups[max(self._work, key=lambda key: self._work[key])].values())


def _nanoseconds(planned: PlannedJob) -> int:
    return round(1e9 * planned.seconds)
