"""The half of a store that lives in memory: all records, and the rules of what may happen to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from tuner.records import Direction, EpochsFinished, Json, Params, TrialEvent, TrialRecord, TrialState
from tuner.store.codec import decode, encode
from tuner.store.folding import copied, end, fold, merge_facts, trial_seed
from tuner.trials import Trials


def utc_now() -> str:
    """UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class RecordBook(ABC):
    """Keeps the records of one study and tells its subclass what changed; see `tuner.store.store.StudyStore`."""

    def __init__(
        self,
        *,
        study: str,
        direction: Direction,
        seed: int,
        records: Sequence[TrialRecord] = (),
        facts: Mapping[str, Json] | None = None,
    ) -> None:
        self.study = study
        self.direction = direction
        self._seed = seed
        self._stream = study.partition("/")[2]
        self.trials = Trials(records)
        self._snapshot: tuple[TrialRecord, ...] | None = None
        self._facts = dict(facts or {})
        self._interrupted = tuple(
            record
            for record in records
            if record.state is TrialState.RUNNING
            or (record.state is TrialState.PAUSED and record.epochs < record.to_epoch)
        )

    @abstractmethod
    def _changed(self, *records: TrialRecord, progress_only: bool = False) -> None:
        """Queue the write of records, all or none of them; one that only has more epochs may wait longer."""

    @abstractmethod
    def _fact_changed(self, key: str, text: str) -> None:
        """Queue the write of a fact of the study, given as JSON text."""

    @abstractmethod
    def flush(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def records(self) -> tuple[TrialRecord, ...]:
        if self._snapshot is None:
            self._snapshot = tuple(self.trials)
        return self._snapshot

    def interrupted(self) -> tuple[TrialRecord, ...]:
        return self._interrupted

    def start(
        self,
        trials: Sequence[tuple[Params, int, str]],
        *,
        facts: Sequence[Mapping[str, Json]] = (),
        seed: int | None = None,
    ) -> list[TrialRecord]:
        first = self.trials[-1].number + 1 if self.trials else 0
        now = utc_now()
        records = [
            TrialRecord(
                number=number,
                params=self._stored_params(params),
                seed=trial_seed(self._seed, number, stream=self._stream) if seed is None else seed,
                state=TrialState.RUNNING,
                tier=tier,
                to_epoch=to_epoch,
                started=now,
            )
            for number, (params, to_epoch, tier) in enumerate(trials, start=first)
        ]
        if facts:
            records = [replace(r, facts=merge_facts({}, known)) for r, known in zip(records, facts, strict=True)]
        for record in records:
            self._put(record)
        self.flush()
        return records

    def advance(self, trial: int, to_epoch: int) -> TrialRecord:
        record = self.trials.numbered(trial)
        assert record.state not in (TrialState.COMPLETE, TrialState.PRUNED), f"trial {trial} is {record.state.value}"
        seed = trial_seed(self._seed, trial, stream=self._stream) if record.seed is None else record.seed
        return self._put(replace(record, state=TrialState.RUNNING, to_epoch=to_epoch, seed=seed, reason="", ended=""))

    def copy(self, copies: Sequence[tuple[int, int, Params]]) -> list[TrialRecord]:
        of = self.trials.numbered
        records = [copied(of(n), of(source), self._stored_params(params)) for n, source, params in copies]
        for record in records:
            self.trials.put(record)
        self._snapshot = None
        self._changed(*records)
        self.flush()
        return records

    def record(self, event: TrialEvent) -> TrialRecord:
        record = fold(self.trials.numbered(event.trial), event, direction=self.direction, now=utc_now())
        return self._put(record, progress_only=isinstance(event, EpochsFinished))

    def end(self, trial: int, state: TrialState, reason: str) -> TrialRecord:
        record = self.trials.numbered(trial)
        assert not record.state.final, f"trial {trial} is {record.state.value} already"
        return self._put(end(record, state, reason, utc_now()))

    def annotate(self, trial: int, facts: Mapping[str, Json]) -> TrialRecord:
        record = self.trials.numbered(trial)
        return self._put(replace(record, facts=merge_facts(record.facts, facts)))

    def get(self, key: str) -> Json:
        return self._facts.get(key)

    def set(self, key: str, value: Json) -> None:
        text = encode(value)
        self._facts[key] = decode(text)
        self._fact_changed(key, text)

    def _stored_params(self, params: Params) -> Params:
        """The parameters as they will be read back."""
        return dict(params)

    def _put(self, record: TrialRecord, *, progress_only: bool = False) -> TrialRecord:
        self.trials.put(record)
        self._snapshot = None
        self._changed(record, progress_only=progress_only)
        return record
