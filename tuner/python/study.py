"""A study from Python: its table, its trials, its report and its winner's predictions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import TunerError, UsageError
from tuner.paths import StudyPaths
from tuner.python.locate import SWEEP_FILES, locate
from tuner.records import EpochResult, ParamValue, TrialRecord, TrialState
from tuner.store.reader import read_study
from tuner.store.standing import state_of, total_trials
from tuner.store.study_data import StudyData
from tuner.store.weights import data_info_of, trained_trial

if TYPE_CHECKING:
    import pandas as pd

    from tuner.python.predictor import RowPredictor
    from tuner.report.analysis import Analysis
    from tuner.spec.model import SweepSpec

_TOP = 10
"""Lines of the table that a study shows of itself."""


def open_study(
    study: str | PathLike[str], *, results: str | PathLike[str] = "results", store: str | None = None
) -> Study:
    """Open an existing study; nothing is created, and it may be running elsewhere.

    Args:
        study: Its name, its folder or its sweep file. Code of yours is run only where you name the file.
        results: Folder of all studies.
        store: An Optuna storage URL instead of `results/<study>/study.db`.

    Raises:
        StudyNotFoundError: there is no such study; the message suggests near names.
        SweepFileError: the sweep file cannot be used.
    """
    where = locate(str(study), results=Path(results), store=store)
    read_study(where.paths, study=where.study, url=store)
    spec = None
    if Path(study).suffix in SWEEP_FILES and Path(study).is_file():
        from tuner.spec.reader import read_sweep

        spec = read_sweep(Path(study)).spec
    return Study(where.paths, name=where.study, store_url=store, spec=spec)


class Study:
    """One study, as `tuner.run` and `tuner.open_study` give it. What is asked of it is read from its database then."""

    def __init__(
        self, paths: StudyPaths, *, name: str, store_url: str | None = None, spec: SweepSpec | None = None
    ) -> None:
        """Hold what finds the study.

        Args:
            paths: Its files.
            name: What it is called.
            store_url: Its database, if that is not `study.db` in its folder.
            spec: The sweep as the user gave it, whose code may be run; None where only the database names code.
        """
        self.paths = paths
        self.name = name
        self._store_url = store_url
        self._spec = spec

    @property
    def state(self) -> str:
        """How it stands: `running`, `finished`, ..."""
        return str(state_of(self._read())[0])

    @property
    def best(self) -> Trial | None:
        """The final choice: the best trial by its finalists, or else the first in rank; None if none has finished."""
        found = self._analysis().best
        return None if found is None else Trial(self, found)

    @property
    def answer(self) -> tuple[Trial, ...]:
        """What predicts: `best` alone, or with it those whose predictions are averaged; empty if none has finished."""
        found = self._analysis().answer
        return () if found is None else tuple(Trial(self, record) for record in found.trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by their numbers."""
        return tuple(Trial(self, record) for record in self._read().records)

    def trial(self, number: int) -> Trial:
        """One trial.

        Raises:
            UsageError: there is none of this number.
        """
        records = self._read().records
        for record in records:
            if record.number == number:
                return Trial(self, record)
        known = f"0 to {records[-1].number}" if records else "none"
        raise UsageError(f"study {self.name} has no trial {number}; its trials: {known}")

    def leaderboard(self) -> pd.DataFrame:
        """One row for each trial: the finished ones ranked, then the others with an empty rank.

        The columns are those of `leaderboard.csv`; see docs/reports.md.
        """
        return self._analysis().frame.copy()

    def report(self) -> Report:
        """The report as it stands now; in a notebook it is shown as the page."""
        from tuner.report.summary import summarise
        from tuner.report.write import html_report

        analysis = self._analysis()
        return Report(lines=tuple(summarise(analysis).lines), html=html_report(analysis))

    def predictor(self, *, allow_code: bool = False) -> RowPredictor:
        """What predicts raw examples by the study's answer; arguments and errors as of `Trial.predictor`.

        Raises:
            TunerError: no trial has finished.
        """
        answer = self.answer
        if not answer:
            raise TunerError(f"no trial of {self.name} has finished, so there is nothing to predict by")
        return self._predictor([trial._record for trial in answer], allow_code=allow_code)

    def __repr__(self) -> str:
        return f"<Study {self.name}: {_standing(self._read(), self._analysis())}>"

    def _repr_html_(self) -> str:
        analysis = self._analysis()
        frame = analysis.frame.head(_TOP).dropna(axis="columns", how="all")
        head = f"<div><b>{escape(self.name)}</b>: {escape(_standing(analysis.study, analysis))}</div>"
        return head + frame.to_html(index=False, escape=True, na_rep="", float_format="{:.4g}".format)

    def _read(self) -> StudyData:
        return read_study(self.paths, study=self.name, url=self._store_url)

    def _analysis(self) -> Analysis:
        from tuner.report.analysis import Analysis

        return Analysis(self._read(), self.paths)

    def _predictor(self, records: Sequence[TrialRecord], *, allow_code: bool) -> RowPredictor:
        from tuner.python.predictor import RowPredictor

        trials = [trained_trial(record, self.paths.trial(record.number)) for record in records]
        spec = self._trained_sweep(records[0], allow_code=allow_code)
        return RowPredictor(spec, trials, data_info_of(self._read().facts["data"]))

    def _trained_sweep(self, record: TrialRecord, *, allow_code: bool) -> SweepSpec:
        """The sweep that a trial was trained by, if the user has named the code in it."""
        from tuner.python.trained import trained_sweep

        found = trained_sweep(
            self._read(), self._spec, called="the sweep", allow_code=allow_code, record=record,
            remedy=lambda: "open it by your own sweep file, or if you have looked at it: predictor(allow_code=True)",
        )  # fmt: skip
        if found.warning:
            warnings.warn(found.warning, stacklevel=4)
        return found.spec


class Trial:
    """One trial of a study, as it stood when it was asked for."""

    def __init__(self, study: Study, record: TrialRecord) -> None:
        self._study = study
        self._record = record

    @property
    def number(self) -> int:
        return self._record.number

    @property
    def params(self) -> dict[str, ParamValue]:
        """Its hyperparameters by name."""
        return dict(self._record.params)

    @property
    def state(self) -> TrialState:
        return self._record.state

    @property
    def value(self) -> float | None:
        """The dev metric of its best epoch, which ranks it."""
        return self._record.value

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self._record.reason

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return self._record.epochs

    def curve(self) -> pd.DataFrame:
        """A row for each epoch, with the epoch as index: losses and metrics of both parts, learning rate, seconds.

        Empty where no file has the curve, as of a study that plain Optuna made.
        """
        import pandas as pd

        from tuner.report.curves import read_curve

        epochs = [asdict(epoch) for epoch in read_curve(self._study.paths.trial(self.number).curve)]
        names = [field.name for field in fields(EpochResult)]
        return pd.DataFrame(epochs, columns=names).set_index("epoch")

    def predictor(self, *, allow_code: bool = False) -> RowPredictor:
        """What predicts raw examples by this trial's weights.

        Args:
            allow_code: Run code that only the study's database names.

        Raises:
            TunerError: its weights are not stored, or do not give its score again.
            UsageError: it needs code that only the database names.
            StudyMismatchError: the data, or the code, are not those that it was trained with.
        """
        return self._study._predictor([self._record], allow_code=allow_code)

    def __repr__(self) -> str:
        return f"<Trial {self.number} of {self._study.name}: {self._told()}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: left'>{escape(name)}</th><td>{escape(_short(value))}</td></tr>"
            for name, value in self.params.items()
        )
        head = f"<div><b>trial {self.number}</b> of {escape(self._study.name)}: {escape(self._told())}</div>"
        return f"{head}<table>{rows}</table>"

    def _told(self) -> str:
        value = "" if self.value is None else f", {_short(self.value)}"
        return f"{self.state}{value}, {self.epochs} epochs"


@dataclass(frozen=True, slots=True)
class Report:
    """What a study has shown, in words and as a page that needs nothing else."""

    lines: tuple[str, ...]
    """What it says, a sentence each."""
    html: str

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        page = escape(self.html, quote=True)
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="width: 100%; height: 800px; border: 0"></iframe>'
        )


def _short(value: ParamValue) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _standing(data: StudyData, analysis: Analysis) -> str:
    """A study in one line."""
    ended = sum(record.state.final for record in data.records)
    total = max(total_trials(data.facts) or 0, len(data.records))
    told = f"{state_of(data)[0]}, {ended} of {total} trials have ended"
    best = analysis.best
    return told if best is None else f"{told}; best: trial {best.number}, dev {data.metric} {_short(best.value or 0.0)}"
