"""The winner's score on groups of the examples, such as the regions that they are from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.report.certainty.dev_scores import interval_of
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.certainty.resampling import resample_weights, resampled_metric
from tuner.report.certainty.weighted import Array
from tuner.spec.known.metrics import METRICS

FEWEST = 20
"""Examples of a group; with fewer a score says next to nothing."""
_RESAMPLES = 400
_WORK = 40_000_000
"""Bound of resamples x examples that are held at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScore:
    """One group of the examples of a part."""

    by: str
    """The column."""
    group: str
    examples: int
    value: float | None
    """The metric; None where the group has too few examples, or none of a class that it needs."""
    interval: Interval | None
    is_worse: bool
    """Whether it is worse than on all other examples by more than chance gives any of the column's groups."""


@dataclass(frozen=True, slots=True)
class GroupScores:
    """All groups of a part, by each column in turn."""

    metric: str
    """The study's; of a metric that cannot be computed here the loss, or the RMSE of numbers."""
    mistakes: Mistakes
    groups: tuple[GroupScore, ...]

    def table(self) -> pd.DataFrame:
        """As it is shown and written."""
        return pd.DataFrame(
            [
                {
                    "by": one.by, "group": one.group, "examples": one.examples, self.metric: one.value,
                    "ci_low": None if one.interval is None else one.interval.low,
                    "ci_high": None if one.interval is None else one.interval.high,
                    "remark": _remark(one),
                }
                for one in self.groups
            ]
        )  # fmt: skip


def _remark(one: GroupScore) -> str:
    if one.examples < FEWEST:
        return "too few examples"
    return "worse than the others" if one.is_worse else ""


def group_scores(found: Mistakes, paths: StudyPaths, *, metric: str) -> GroupScores | None:
    """The scores of the groups that a sweep file asks for; None where it asks for none."""
    frame = _read(paths.dev_groups if found.part == "dev" else paths.tested_groups, count=len(found.targets))
    if frame is None:
        return None
    is_numbers = not (found.is_classes or found.is_labels)
    if metric not in METRICS or (is_numbers and metric == "loss"):  # whose scale is that of the standardised targets
        metric = "rmse" if is_numbers else "loss"
    groups = [one for name in frame.columns for one in _by(str(name), frame[name], found, metric=metric)]
    return GroupScores(metric, found, tuple(groups))


def _read(path: Path, *, count: int) -> pd.DataFrame | None:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False)
    except (OSError, ValueError, pd.errors.ParserError):  # there is none, or it is damaged
        return None
    return frame if len(frame) == count and len(frame.columns) else None


def _by(name: str, column: pd.Series[str], found: Mistakes, *, metric: str) -> Iterator[GroupScore]:
    codes, names = pd.factorize(column, sort=True)
    large = sum(_num_examples(found, np.flatnonzero(codes == code)) >= FEWEST for code in range(len(names)))
    for code, group in sorted(enumerate(names), key=lambda one: _in_order(str(one[1]))):
        inside = np.flatnonzero(codes == code)
        value = interval = None
        is_worse = False
        count = _num_examples(found, inside)
        if count >= FEWEST:
            value, samples = _resampled(found, inside, metric)
            if value is not None:
                interval = interval_of(metric, value, samples, count, class_counts=_counts(found, inside))
                is_worse = _is_worse(found, np.flatnonzero(codes != code), metric, value, samples, groups=int(large))
        yield GroupScore(by=name, group=str(group), examples=count, value=value, interval=interval, is_worse=is_worse)


def _num_examples(found: Mistakes, chosen: NDArray[np.intp]) -> int:
    """How many examples these rows are of: with repeated folds an example has several."""
    return len(chosen) if found.examples is None else len(np.unique(found.examples[chosen]))


def _in_order(group: str) -> tuple[int, float, str]:
    """Numbers, and ranges of them, by their size; then texts."""
    if group.startswith("up to "):
        return 0, -np.inf, group
    words = group.removeprefix("above ").split()
    try:
        return 0, float(words[0]) if words else np.inf, group
    except ValueError:
        return 1, 0.0, group


def _resampled(found: Mistakes, chosen: NDArray[np.intp], metric: str) -> tuple[float | None, Array]:
    """The metric of some examples, and on resamples of them; None where it has no value."""
    resamples = int(np.clip(_WORK // max(1, len(chosen)), 100, _RESAMPLES))
    examples = None if found.examples is None else found.examples[chosen]
    weights = resample_weights(len(chosen), resamples=resamples, examples=examples)
    samples = resampled_metric(metric, found.predictions[chosen], found.targets[chosen], weights)
    if not np.isfinite(samples[0]):
        return None, samples
    return float(samples[0]), samples[1:][np.isfinite(samples[1:])]


def _counts(found: Mistakes, chosen: NDArray[np.intp]) -> tuple[int, ...]:
    if not found.is_classes:
        return ()
    if found.examples is not None:
        chosen = chosen[np.unique(found.examples[chosen], return_index=True)[1]]
    return tuple(np.bincount(found.targets[chosen].astype(np.int64)).tolist())


def _is_worse(
    found: Mistakes, others: NDArray[np.intp], metric: str, value: float, samples: Array, *, groups: int
) -> bool:
    """Whether the others are better by more than luck gives between so many groups (Bonferroni)."""
    if _num_examples(found, others) < FEWEST:
        return False
    theirs, their_samples = _resampled(found, others, metric)
    if theirs is None or not len(samples) or not len(their_samples):
        return False
    from scipy.special import ndtri

    sign = 1.0 if METRICS[metric].direction is Direction.MAXIMIZE else -1.0
    # A group without a mistake in any resample has no spread: it is no worse than anything.
    error = float(np.sqrt(samples.var() + their_samples.var()))
    return bool(sign * (theirs - value) > ndtri(1 - 0.025 / max(1, groups)) * error)
