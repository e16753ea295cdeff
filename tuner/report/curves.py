"""Reading the curves of trials over their epochs, also of a trial that is being trained."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from tuner.paths import StudyPaths
from tuner.records import EpochResult, TrialRecord

_FIELDS = tuple(f.name for f in fields(EpochResult))


def read_curve(path: Path) -> tuple[EpochResult, ...]:
    """The epochs of a curve file, in order; a line that is not whole ends it, a missing file is an empty curve."""
    epochs: list[EpochResult] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = {name: float(row[name]) for name in _FIELDS}
                epoch = int(numbers.pop("epoch"))
                epochs.append(EpochResult(epoch=epoch, **numbers))
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return tuple(epochs)


def read_curves(records: Iterable[TrialRecord], *, paths: StudyPaths | None) -> dict[int, tuple[EpochResult, ...]]:
    """The curves of these trials, by number; those without a file are left out."""
    if paths is None:
        return {}
    curves = {r.number: read_curve(paths.trial(r.number).curve) for r in records}
    return {number: curve for number, curve in curves.items() if curve}
