"""What a training script calls to tell of its epochs, whether tuner has started it or not: `tuner.report`.

A script imports this, and nothing heavy may come with it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tuner.train.own.reports import make_report

REPORT_FILE = "TUNER_REPORT"
"""The environment variable with the file that takes a trial's reports."""
METRIC = "TUNER_METRIC"
"""The one with the name of the objective's metric."""


def report(epoch: int, **metrics: float) -> None:
    """Report a finished epoch of a training script that `command:` of a sweep file starts; without a sweep, do nothing.

    Of processes that train one model together, the first one reports.

    Args:
        epoch: The number of finished epochs, from 1; 0 for a measurement before the first step, never ranked.
        metrics: The objective's metric by its name, and what else there is: `train_` and its name, `loss`,
            `train_loss`, `learning_rate`. Numbers, or tensors and arrays of one.

    Raises:
        ReportError: the metric is missing or no number, or the epoch is none.
    """
    needed = os.environ.get(METRIC) or next(iter(metrics), "a metric")
    told = make_report(epoch, metrics, metric=needed)
    place = os.environ.get(REPORT_FILE)
    if place and os.environ.get("RANK", "0") == "0":
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": told.epoch, **told.values}) + "\n")
