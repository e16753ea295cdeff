"""Baselines of a study: begun when its first trials are, remembered as they come, and waited for a while at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tuner.execute.beside import Beside, NoBaselinesError
from tuner.execute.facts import TaskFacts
from tuner.records import EpochResult, Json, TrialRecord
from tuner.report.words.numbers import duration_text, metric_text
from tuner.spec.known.baselines import BASELINES
from tuner.spec.model import SweepSpec
from tuner.store.facts import BASELINES_KEY
from tuner.store.store import StudyStore
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher

_WAIT_SHARE = 0.5
"""Of the time that the run took: so long it waits at its end for baselines that are under way."""
_LEAST_WAIT_SECONDS = 20.0
_MOST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.2


class Begin(Protocol):
    """Begins to train some: see `execute.beside.begin_baselines`."""

    def __call__(self, *, names: Sequence[str], known: Mapping[str, Json]) -> Beside: ...


class Baselines(Watcher):
    """The baselines of one run of a study."""

    def __init__(
        self, spec: SweepSpec, store: StudyStore, facts: TaskFacts, *, begin: Begin, say: Callable[[str], None],
        again: bool = False,
    ) -> None:  # fmt: skip
        """Look what there is to do.

        Args:
            spec: The sweep file.
            store: The study's.
            facts: Of the data.
            begin: How training is begun.
            say: Tells the user a line.
            again: Try once more what failed.
        """
        self._store, self._facts, self._start, self._say = store, facts, begin, say
        self._began = time.monotonic()
        self._process: Beside | None = None
        self._known: dict[str, Json] = {
            name: found
            for name, found in (store.get(BASELINES_KEY) or {}).items()
            if found.get("sha256") == facts.data.get("sha256") and not (again and "failed" in found)
        }
        self._missing = [name for name in wanted(spec, facts) if name not in self._known]

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._begin()

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._take_in()

    def ended(self, record: TrialRecord) -> None:
        self._take_in()

    def conclude(self, stop: StopRequest) -> None:
        """Wait a while for those that are under way; where the run had no trial to train, for as long as they take."""
        seconds = min(_MOST_WAIT_SECONDS, max(_LEAST_WAIT_SECONDS, _WAIT_SHARE * (time.monotonic() - self._began)))
        if self._missing and not self._is_begun:
            seconds = math.inf
            self._begin()
        self._take_in()
        deadline = time.monotonic() + seconds
        if self._missing and self._process is not None and not self._process.ended:
            at_most = "" if seconds == math.inf else f", for {duration_text(seconds)} at most"
            self._say(f"waiting for baselines ({', '.join(self._missing)}){at_most}; Ctrl-C goes on without them")
        with stop.training():
            while self._missing and self._is_at_work() and not stop.requested and time.monotonic() < deadline:
                self._take_in(_LOOK_SECONDS)
        if self._missing and not stop.requested:
            which = f"baseline{'s' * (len(self._missing) > 1)} {', '.join(self._missing)}"
            self._say(f"not done in time: {which}; the next run trains what is missing")

    def close(self) -> None:
        if self._process is not None:
            self._process.close()

    @property
    def _is_begun(self) -> bool:
        return self._process is not None and not self._process.was_lost

    def _is_at_work(self) -> bool:
        return self._process is not None and not self._process.ended

    def _begin(self) -> None:
        if self._is_begun or not self._missing:
            return
        try:
            self._process = self._start(names=self._missing, known=self._facts.data)
        except NoBaselinesError as error:
            self._say(f"no baselines: {error}")
            self._missing = []

    def _take_in(self, timeout_seconds: float = 0.0) -> None:
        """Remember those that are ready."""
        for name, facts in self._process.received(timeout_seconds) if self._process is not None else ():
            found = _checked(facts)
            self._known[name] = {**found, "sha256": self._facts.data.get("sha256")}
            self._missing.remove(name)
            self._store.set(BASELINES_KEY, dict(self._known))
            self._say(self._line(name, found))

    def _line(self, name: str, found: dict[str, Json]) -> str:
        if "failed" in found:
            return f"baseline {name} failed: {found['failed']}"
        value = metric_text(found["value"], metric=self._facts.metric)
        return f"baseline {name}: dev {self._facts.metric} {value}, {found['seconds']:.1f} s"


def wanted(spec: SweepSpec, facts: TaskFacts) -> tuple[str, ...]:
    """The baselines that a sweep is to have, the simplest first."""
    if spec.baselines == "off" or spec.loop is not None:
        return ()
    if spec.baselines != "auto":
        return tuple(name for name in BASELINES if name in spec.baselines)
    from tuner.baselines import Kind, suited  # late: NumPy is not needed to say that a study is finished

    return suited(Kind.of(facts.data), num_train=facts.data["num_train"], folds=facts.data.get("folds") or 1)


def _checked(facts: dict[str, Json]) -> dict[str, Json]:
    """What is remembered of one."""
    if "failed" not in facts and not all(math.isfinite(facts[name]) for name in ("value", "loss")):
        return {"failed": "its dev metric is no number"}
    return facts
