"""What the user's training code reports of an epoch, and what it becomes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tuner.records import EpochResult, Json
from tuner.train.measure.number import as_number

_PAIR = re.compile(r"([A-Za-z_]\w*)\s*=\s*(\S+)")
_DEV_LOSS = ("dev_loss", "val_loss", "loss")
"""Names of the dev loss, the most telling first."""


class ReportError(ValueError):
    """A report that cannot be used; the message says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Report:
    """One epoch, as the user's code reported it."""

    epoch: int
    """Number of finished epochs; 0 for a measurement before the first step."""
    values: Mapping[str, float] = field(default_factory=dict)


def make_report(epoch: object, values: Mapping[str, object], *, metric: str) -> Report:
    """A checked report.

    Raises:
        ReportError: the epoch is none, the metric is missing, or no number.
    """
    if isinstance(epoch, bool) or not isinstance(epoch, int | float) or epoch != int(epoch) or epoch < 0:
        raise ReportError(f"epoch must be the number of finished epochs, got {epoch!r}")
    if metric not in values:
        got = ", ".join(values) or "nothing"
        raise ReportError(f"a report needs {metric}, the objective's metric; got {got}")
    numbers = {name: number for name, value in values.items() if (number := as_number(value)) is not None}
    if metric not in numbers:
        raise ReportError(f"{metric} must be a number, got {values[metric]!r}")
    return Report(int(epoch), numbers)


def parse_line(line: str, *, metric: str) -> Report | None:
    """The report in a line of a program's output: a JSON object, or `epoch=3 accuracy=0.91`; None for other text.

    Raises:
        ReportError: it is meant as a report (it has an epoch and the metric) and cannot be used.
    """
    text = line.strip()
    values: Json
    if text.startswith("{"):
        try:
            values = json.loads(text)
        except ValueError:
            return None
    else:
        values = {name: plain_number(value) for name, value in _PAIR.findall(text)}
    if not isinstance(values, dict) or "epoch" not in values or metric not in values:
        return None
    epoch = values.pop("epoch")
    return make_report(epoch, values, metric=metric)


def plain_number(text: str) -> float | str:
    """The number in a word of a line, without the mark behind it; the word, if it is none."""
    try:
        return float(text.strip().rstrip(",;:|])}%"))
    except ValueError:
        return text


class Reader(Protocol):
    """What makes reports of all that a program leaves behind."""

    def read(self, output: Sequence[str], errors: Sequence[str]) -> list[Report]:
        """The reports since the last call.

        Args:
            output: New lines of its standard output, and of its report file.
            errors: New lines of its standard error.

        Raises:
            ReportError: something is meant as a report and cannot be used.
        """
        ...


class LineReader:
    """Reads the lines that a program prints for tuner."""

    def __init__(self, metric: str) -> None:
        self._metric = metric

    def read(self, output: Sequence[str], errors: Sequence[str]) -> list[Report]:
        return [report for line in output if (report := parse_line(line, metric=self._metric)) is not None]


def result_of(report: Report, *, metric: str, seconds: float) -> EpochResult:
    """A report as the result of an epoch; what was not reported is NaN.

    Args:
        report: With the objective's metric.
        metric: Its name.
        seconds: Of the trial so far.
    """
    values = report.values

    def first(*names: str) -> float:
        return next((values[name] for name in names if name in values), math.nan)

    return EpochResult(
        epoch=report.epoch,
        train_loss=first("train_loss"),
        dev_loss=first(*_DEV_LOSS),
        train_metric=first(f"train_{metric}", *(["train_loss"] if metric in _DEV_LOSS else [])),
        dev_metric=values[metric],
        learning_rate=first("learning_rate", "lr"),
        seconds=seconds,
    )
