"""All trials of a study, and what is asked of them at every step: worked out again for those that have changed alone.

What strategies ask (the best so far, what is paused, the epochs trained) is a function of single records, and its sum
or its order over all of them. Such a function is given to `Trials`, which keeps the answer: it is the same as that of
a look at every record, and costs nearly as little after 50,000 trials as after 50.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar, cast, overload

from tuner.records import TrialRecord

OrderKey: TypeAlias = Callable[[TrialRecord], tuple[float, ...] | None]
"""Where a record stands, smallest first; None leaves it out. Never a NaN."""
_Value = TypeVar("_Value", bound=Hashable)
Mark: TypeAlias = tuple["Trials", int]
"""A moment of certain trials."""


class Trials(Sequence[TrialRecord]):
    """The records of a study by number. A function that is given to it must depend on the record alone, and must be
    the same object at each call, since what is kept is kept for that object."""

    def __init__(self, records: Sequence[TrialRecord] = ()) -> None:
        self._records = list(records)
        self._moment = len(self._records)
        self._changes = dict(zip(range(self._moment), range(1, self._moment + 1), strict=True))
        """When each place changed last, the latest at the end."""
        self._views: dict[Hashable, _View] = {}

    @overload
    def __getitem__(self, place: int) -> TrialRecord: ...
    @overload
    def __getitem__(self, place: slice) -> list[TrialRecord]: ...
    def __getitem__(self, place: int | slice) -> TrialRecord | list[TrialRecord]:
        return self._records[place]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[TrialRecord]:
        return iter(self._records)

    def numbered(self, number: int) -> TrialRecord:
        """The record of this number, which is its place unless trials are missing."""
        place = self._place(number)
        if place == len(self) or self._records[place].number != number:
            raise KeyError(number)
        return self._records[place]

    def put(self, record: TrialRecord) -> None:
        """Add a record, or replace the one of its number. A new one has a number above all others."""
        place = self._place(record.number)
        assert place == len(self) or self._records[place].number == record.number, "a number between others"
        self._set(place, record)

    def follow(self, records: Sequence[TrialRecord], *, since: Mark | None) -> Mark | None:
        """Become equal to these records; returns what to give as `since` the next time."""
        trials = records if isinstance(records, Trials) else None
        places = range(len(records)) if trials is None else trials.changed_since(since)
        for place in places:
            if place >= len(self) or self._records[place] is not records[place]:
                self._set(place, records[place])
        self.cut(len(records))
        return None if trials is None else trials.mark()

    def cut(self, length: int) -> None:
        """Drop all records from this place on."""
        while len(self) > length:
            self._records.pop()
            self._note(len(self))

    def mark(self) -> Mark:
        """This moment, for `changed_since`."""
        return self, self._moment

    def changed_since(self, mark: Mark | None) -> list[int]:
        """The places that have changed since a moment of these trials, ascending; all if it is one of others."""
        if mark is None or mark[0] is not self:
            return list(range(len(self)))
        found = []
        for place, moment in reversed(self._changes.items()):
            if moment <= mark[1]:
                break
            found.append(place)
        return sorted(place for place in found if place < len(self))

    def total(self, measure: Callable[[TrialRecord], int]) -> int:
        """The sum of a whole number over all records; of a condition, how many fulfil it."""
        return self._view(_Total, measure).value

    def ordered(self, key: OrderKey) -> Sequence[TrialRecord]:
        """The records in order, by number among equals; what is returned holds until the next change."""
        return _Ordered(self._records, self._view(_Order, key).entries)

    def each(self, function: Callable[[TrialRecord], _Value]) -> Sequence[_Value]:
        """What a function says of each record, by place; holds until the next change."""
        return self._view(_Each, function).shares

    def held(self, value: Callable[[TrialRecord], _Value]) -> Mapping[_Value, int]:
        """How many records have each value; a value that none has is not in it."""
        return self._view(_Held, value).counts

    def edition(self, aspect: Callable[[TrialRecord], Hashable]) -> int:
        """A number that has grown whenever this aspect of a record has changed."""
        return self._view(_Edition, aspect).number

    def _place(self, number: int) -> int:
        if number >= len(self) or self._records[number].number != number:
            return bisect_left(self._records, number, key=attrgetter("number"))
        return number

    def _set(self, place: int, record: TrialRecord) -> None:
        if place == len(self._records):
            self._records.append(record)
        else:
            self._records[place] = record
        self._note(place)

    def _note(self, place: int) -> None:
        self._moment += 1
        self._changes.pop(place, None)
        self._changes[place] = self._moment

    def _view(self, kind: Callable[[Any], _AnyView], function: Hashable) -> _AnyView:
        view = self._views.get((kind, function))
        if view is None:
            view = self._views[kind, function] = kind(function)
        if view.moment < self._moment:
            for place, moment in reversed(self._changes.items()):
                if moment <= view.moment:
                    break
                view.look(place, self._records[place] if place < len(self._records) else None)
            view.moment = self._moment
        return cast(_AnyView, view)


class _View(ABC):
    """What is kept of all records: of each its share, so that it can be taken back."""

    def __init__(self, function: Callable[[TrialRecord], Any]) -> None:
        self._function = function
        self.shares: list[Any] = []
        self.moment = 0

    def look(self, place: int, record: TrialRecord | None) -> None:
        """The record at this place is this one now; None if there is none any more."""
        missing = place + 1 - len(self.shares)
        if missing > 0:
            self.shares.extend([None] * missing)
        share = None if record is None else self._function(record)
        before, self.shares[place] = self.shares[place], share
        if share != before:
            self._changed(place, before, share)

    @abstractmethod
    def _changed(self, place: int, before: Any, share: Any) -> None:
        """A record's share is another; None stands for none."""


_AnyView = TypeVar("_AnyView", bound=_View)


class _Total(_View):
    value = 0

    def _changed(self, place: int, before: Any, share: Any) -> None:
        self.value += (share or 0) - (before or 0)


class _Order(_View):
    def __init__(self, function: OrderKey) -> None:
        super().__init__(function)
        self.entries: list[tuple[tuple[float, ...], int]] = []

    def _changed(self, place: int, before: Any, share: Any) -> None:
        if before is not None:
            del self.entries[bisect_left(self.entries, (before, place))]
        if share is not None:
            insort(self.entries, (share, place))


class _Each(_View):
    def _changed(self, place: int, before: Any, share: Any) -> None:
        pass


class _Held(_View):
    def __init__(self, function: Callable[[TrialRecord], Hashable]) -> None:
        super().__init__(function)
        self.counts: Counter[Any] = Counter()

    def _changed(self, place: int, before: Any, share: Any) -> None:
        if before is not None:
            self.counts[before] -= 1
            if not self.counts[before]:
                del self.counts[before]
        if share is not None:
            self.counts[share] += 1


class _Edition(_View):
    number = 0

    def _changed(self, place: int, before: Any, share: Any) -> None:
        self.number += 1


class _Ordered(Sequence[TrialRecord]):
    """Records in the order of entries that end in their places."""

    def __init__(self, records: list[TrialRecord], entries: list[tuple[tuple[float, ...], int]]) -> None:
        self._records = records
        self._entries = entries

    @overload
    def __getitem__(self, index: int) -> TrialRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[TrialRecord]: ...
    def __getitem__(self, index: int | slice) -> TrialRecord | list[TrialRecord]:
        if isinstance(index, slice):
            return [self._records[place] for _, place in self._entries[index]]
        return self._records[self._entries[index][1]]

    def __len__(self) -> int:
        return len(self._entries)


def trials_of(records: Sequence[TrialRecord]) -> Trials:
    """These records as `Trials`; the same object if they are already."""
    return records if isinstance(records, Trials) else Trials(records)
