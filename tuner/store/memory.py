"""A study store without a database, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.records import Direction, Json, TrialRecord
from tuner.store.book import RecordBook


class MemoryStore(RecordBook):
    """Implements `tuner.store.store.StudyStore` in memory."""

    def __init__(
        self,
        *,
        study: str = "study",
        direction: Direction = Direction.MAXIMIZE,
        seed: int = 0,
        records: Sequence[TrialRecord] = (),
        facts: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(study=study, direction=direction, seed=seed, records=records, facts=facts)

    def _changed(self, *records: TrialRecord, progress_only: bool = False) -> None:
        pass

    def _fact_changed(self, key: str, text: str) -> None:
        pass

    def flush(self) -> None:
        """Nothing is queued."""

    def close(self) -> None:
        """Nothing is held."""
