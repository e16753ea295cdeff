"""When weight decay, L1 and dropout are opened: as the last tier, once the best trials show variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuner.records import Direction, TrialRecord
from tuner.search.cube import Cube, Mask
from tuner.search.observe import Noise
from tuner.search.priority.diagnosis import Diagnosis, diagnose, still_learns
from tuner.search.priority.opening import POINTS, Opening
from tuner.search.strategy import Start, tier_label
from tuner.spec.space import REGULARISATION_TIER
from tuner.trials import trials_of

LABEL = tier_label(REGULARISATION_TIER)
_CAPACITY = ("hidden_units", "hidden_layers", "channels", "conv_layers")
"""What makes a network larger."""


def _is_of_tier(record: TrialRecord) -> bool:
    return record.tier == LABEL


class Regularisation:
    """Keeps the regularisation tier at its light defaults until it is called for.

    That it has been opened shows in the records: its trials carry its label.
    """

    def __init__(self, cube: Cube, *, direction: Direction, always: bool, noise: Noise, target_error: float) -> None:
        """
        Args:
            cube: The space.
            direction: Of the dev metric.
            always: Open from the start.
            noise: Of the dev metric.
            target_error: The error that is as good as it gets.
        """
        self._cube = cube
        self._direction = direction
        self._noise = noise
        self._target_error = target_error
        self._columns = np.flatnonzero(cube.tiers == REGULARISATION_TIER)
        self._capacity: Mask = np.array([d.name in _CAPACITY for d in cube.dimensions], dtype=bool)
        self.always = always or len(self._columns) == cube.columns
        self._lines: dict[str, None] = {}
        self._said: set[str] = set()

    @property
    def columns(self) -> Mask:
        """The columns of the regularisation tier."""
        mask: Mask = np.isin(np.arange(self._cube.columns), self._columns)
        return mask

    def say_used_up(self, records: Sequence[TrialRecord]) -> None:
        """All that may be searched now has been tried."""
        closed = ", ".join(d.name for d, is_open in zip(self._cube.dimensions, self.open_columns(records), strict=True)
                           if not is_open)  # fmt: skip
        rest = f" while {closed} is closed; `search.regularisation: always` opens the tier" if closed else ""
        self._say(f"all {len(records)} configurations that there are have been tried{rest}")

    def open_columns(self, records: Sequence[TrialRecord]) -> Mask:
        """The columns that may be searched now."""
        mask = np.ones(self._cube.columns, dtype=bool)
        if not (self.always or trials_of(records).total(_is_of_tier)):
            mask[self._columns] = False
        return mask

    def upwards(self, diagnosis: Diagnosis | None) -> Mask:
        """The columns of which larger values are favoured: capacity, while the best trials show bias."""
        if diagnosis is None or not diagnosis.shows_bias:
            return np.zeros_like(self._capacity)
        larger = ", ".join(d.name for d, is_size in zip(self._cube.dimensions, self._capacity, strict=True) if is_size)
        remedy = f"larger networks are favoured ({larger})" if larger else "a larger network may help"
        self._say(
            f"the best trials show bias (train error {diagnosis.bias:.2g} above the target, "
            f"gap to dev {diagnosis.gap:.2g}): {remedy}; more training.epochs may help too"
        )
        return self._capacity

    def next_start(self, records: Sequence[TrialRecord], opening: Opening, diagnosis: Diagnosis | None) -> Start | None:
        """The next trial of the regularisation tier's own pass, if it is being opened."""
        if self.always or not len(self._columns):
            return None
        done = trials_of(records).total(_is_of_tier)
        if done >= POINTS[REGULARISATION_TIER]:
            return None
        if not done:
            if diagnosis is None or not diagnosis.shows_variance:
                return None
            names = ", ".join(self._cube.dimensions[j].name for j in self._columns)
            self._say(
                f"regularisation opens ({names}): the best trials show variance, "
                f"dev is {diagnosis.gap:.2g} worse than train (noise {diagnosis.noise:.2g})"
            )
        return opening.point(LABEL, self._columns, done, POINTS[REGULARISATION_TIER], records=records)

    def explain(self) -> list[str]:
        """Lines for the log since the last call."""
        lines = list(self._lines)
        self._lines = {}
        return lines

    def diagnose(self, records: Sequence[TrialRecord]) -> Diagnosis | None:
        """What the best trials need, as far as it can be told."""
        noise = self._noise(records)
        return diagnose(records, direction=self._direction, noise=noise, target_error=self._target_error)

    def still_learns(self, records: Sequence[TrialRecord], *, among: Sequence[TrialRecord]) -> Mask:
        """Which do not fit their training set yet, shape (records,); `among`: all trials, which tell the noise."""
        noise = self._noise(among)
        return np.array(
            [
                still_learns(record, direction=self._direction, noise=noise, target_error=self._target_error)
                for record in records
            ],
            dtype=bool,
        )

    def _say(self, line: str) -> None:
        subject = line.split("(")[0]
        if subject not in self._said:
            self._said.add(subject)
            self._lines[line] = None
