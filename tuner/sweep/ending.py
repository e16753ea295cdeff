"""The end of a run: why its search has ended, and the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.report.terminal import Conclusion
from tuner.store.reader import read_study
from tuner.store.study_data import StudyData

if TYPE_CHECKING:  # the database's libraries are imported while the workers load the data
    from tuner.search.strategy import Strategy
    from tuner.store.optuna_store import OptunaStore


def why_ended(strategy: Strategy, store: OptunaStore, *, trials: int) -> str:
    """Why a search has nothing more to do."""
    from tuner.search.wrap.stop import StoppingStrategy

    if isinstance(strategy, StoppingStrategy) and strategy.reason is not None:
        return f"by its own rule: {strategy.reason}"
    begun = len(store.records())
    return f"all {begun} trials" if begun >= trials else f"the space is exhausted: {begun} trials have tried all of it"


def write_all(paths: StudyPaths, *, study: str, url: str | None, in_full: bool) -> tuple[StudyData, Conclusion]:
    """Write the reports of what is stored; returns that, and what is to be said of it.

    Args:
        paths: Where.
        study: Its name.
        url: Its database, if that is not `study.db` in the folder.
        in_full: With plots; after a signal only the tables, since whoever sent it may not wait.

    Raises:
        StorageError: they cannot be written.
    """
    from tuner.report.write import write_reports, write_tables

    found = read_study(paths, study=study, url=url, with_rungs=False)
    try:
        return found, Conclusion.of(write_reports(found, paths) if in_full else write_tables(found, paths))
    except OSError as error:
        raise StorageError(
            f"the reports cannot be written: {error}; all results are stored, and the same command writes them"
        ) from error
