"""How a run of a sweep ended, and how one did that has nothing left to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tuner.faults import fault_point
from tuner.paths import StudyPaths
from tuner.ranking import best_trial
from tuner.report.terminal import Conclusion
from tuner.spec.model import SweepSpec
from tuner.store.standing import Standing
from tuner.sweep.finished import Basis, nothing_left
from tuner.sweep.options import RunOptions
from tuner.sweep.reports import Wanted, write_all


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended."""

    paths: StudyPaths
    complete: bool
    """Whether the sweep is done; otherwise the same command continues it."""
    any_complete: bool
    """Whether there is a trial to rank."""
    signal: int | None
    search_end: str
    """Why the search ended, in words; empty before."""
    conclusion: Conclusion
    """What the reports say."""
    drawing: Iterator[Conclusion] = field(default_factory=lambda: iter(()))
    """What is left of the reports when their tables are written."""
    nothing_was_left: bool = False
    """Whether the sweep was done before, so that nothing was started."""

    def finish(self) -> None:
        """Wait until all reports are written; to be called when the conclusion has been told.

        Raises:
            StorageError: they cannot be written.
        """
        for _ in self.drawing:
            pass
        fault_point("after_reports")


def finished_before(spec: SweepSpec, options: RunOptions) -> Outcome | None:
    """How a sweep ended of which nothing is left to do, its reports as they would be written now; else None.

    No worker is started, and no data are read. Where trackers are to be told, a run that does everything tells them.

    Raises:
        TunerError: the reports cannot be written.
    """
    paths = StudyPaths((options.results / spec.study).resolve())
    if options.fresh or options.retry_failed or spec.track or not options.searches:
        return None
    found = nothing_left(spec, paths, url=options.store_url)
    if found is None:
        return None
    study, conclusion = found
    drawing: Iterator[Conclusion] = iter(())
    if conclusion is None:
        paths.check_places()
        drawing = write_all(
            Wanted(paths=paths, study=spec.study, url=options.store_url, in_full=True, basis=Basis.of(spec))
        )
        conclusion = next(drawing)
    standing = Standing.of(study.facts)
    return Outcome(
        paths=paths,
        complete=True,
        any_complete=best_trial(study.records, direction=study.direction) is not None,
        signal=None,
        search_end=standing.search_end if standing else "",
        conclusion=conclusion,
        drawing=drawing,
        nothing_was_left=True,
    )
