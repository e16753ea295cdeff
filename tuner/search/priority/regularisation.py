"""When weight decay, L1 and dropout are opened, and other architectures: the remedies of the course's recipe.

Regularisation opens once the best trials show variance; other architectures once what was there has not been enough,
against bias or against variance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuner.records import Direction, TrialRecord
from tuner.search.cube import Cube, Mask
from tuner.search.observe import Noise
from tuner.search.priority.diagnosis import Diagnosis, diagnose, still_learns
from tuner.search.priority.opening import POINTS, Opening
from tuner.search.strategy import Start
from tuner.spec.known.networks import MODEL
from tuner.spec.space import ARCHITECTURE_TIER, REGULARISATION_TIER, tier_label
from tuner.trials import trials_of

LABEL = tier_label(REGULARISATION_TIER)
_ARCHITECTURE = tier_label(ARCHITECTURE_TIER)
_TRIED_SHARE = 0.5
"""Of the trials: so many are given to larger networks and regularisation before other architectures are tried."""
_AT_THE_LATEST = 0.75
"""After so many they are tried in any case, since they were asked for: what they gain may not show in the noise."""
_CAPACITY = ("hidden_units", "hidden_layers", "channels", "conv_layers")
"""What makes a network larger."""


def _is_of_tier(record: TrialRecord) -> bool:
    return record.tier == LABEL


def _is_of_architecture(record: TrialRecord) -> bool:
    return record.tier == _ARCHITECTURE


class Regularisation:
    """Keeps the regularisation tier at its light defaults until it is called for, and so the choice among models.

    That it has been opened shows in the records: its trials carry its label.
    """

    def __init__(
        self, cube: Cube, *, direction: Direction, trials: int, always: bool, noise: Noise, target_error: float
    ) -> None:
        """
        Args:
            cube: The space.
            direction: Of the dev metric.
            trials: Total number of trials of the study.
            always: Open from the start.
            noise: Of the dev metric.
            target_error: The error that is as good as it gets.
        """
        self._cube = cube
        self._direction = direction
        self._noise = noise
        self._target_error = target_error
        self._trials = trials
        self._columns = np.flatnonzero(cube.tiers == REGULARISATION_TIER)
        self._of_architecture = np.flatnonzero(cube.tiers == ARCHITECTURE_TIER)
        self._capacity: Mask = np.array([d.name in _CAPACITY for d in cube.dimensions], dtype=bool)
        self.always = always or len(self._columns) == cube.columns
        self._lines: dict[str, None] = {}
        self._said: set[str] = set()

    def columns_of(self, start: Start) -> Mask:
        """The columns of the pass that a trial belongs to; none of them where it is of another."""
        own = {LABEL: self._columns, _ARCHITECTURE: self._of_architecture}.get(start.tier, self._columns[:0])
        mask: Mask = np.isin(np.arange(self._cube.columns), own)
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
        if not (self.always or trials_of(records).total(_is_of_architecture)):
            mask[self._of_architecture] = False
        return mask

    def upwards(self, diagnosis: Diagnosis | None) -> Mask:
        """The columns of which larger values are favoured: capacity, while the best trials show bias."""
        if diagnosis is None or not diagnosis.shows_bias:
            return np.zeros_like(self._capacity)
        larger = ", ".join(d.name for d, is_size in zip(self._cube.dimensions, self._capacity, strict=True) if is_size)
        remedy = f"larger networks are favoured ({larger})" if larger else "a larger network may help"
        self._say(
            f"the best trials show {self._bias_in_words(diagnosis)}, gap to dev {diagnosis.gap:.2g}): {remedy}; "
            "more training.epochs may help too"
        )
        return self._capacity

    def _bias_in_words(self, diagnosis: Diagnosis) -> str:
        """Without a target error it may be noise, too; the bracket is left open."""
        if self._target_error:
            return f"bias (train error {diagnosis.bias:.2g} above the target"
        return f"bias, or noise, which a target_error would tell apart (train error {diagnosis.bias:.2g}"

    def next_start(self, records: Sequence[TrialRecord], opening: Opening, diagnosis: Diagnosis | None) -> Start | None:
        """The next trial of a pass that is being opened: of the regularisation tier, or of other architectures."""
        if self.always:
            return None
        return self._regularised(records, opening, diagnosis) or self._of_another(records, opening, diagnosis)

    def _regularised(
        self, records: Sequence[TrialRecord], opening: Opening, diagnosis: Diagnosis | None
    ) -> Start | None:
        if not len(self._columns):
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

    def _of_another(
        self, records: Sequence[TrialRecord], opening: Opening, diagnosis: Diagnosis | None
    ) -> Start | None:
        """A trial of another model than the default: each in turn."""
        column = next((j for j in self._of_architecture if self._cube.dimensions[j].name == MODEL), None)
        if column is None:
            return None
        dimension = self._cube.dimensions[column]
        others = [kind for kind in dimension.choices if kind != dimension.default]
        done, count = trials_of(records).total(_is_of_architecture), max(POINTS[ARCHITECTURE_TIER], len(others))
        if done >= count:
            return None
        if not done:
            failed = self._why_another(records, diagnosis)
            if failed is None:
                return None
            names = ", ".join(self._cube.dimensions[j].name for j in self._of_architecture)
            self._say(f"other architectures open ({names}): {failed}")
        held = {int(column): dimension.to_unit(others[done % len(others)])}
        return opening.point(_ARCHITECTURE, self._of_architecture, done, count, records=records, held=held)

    def _why_another(self, records: Sequence[TrialRecord], diagnosis: Diagnosis | None) -> str | None:
        """Why other architectures are tried now; None while the remedies before may be enough."""
        if len(records) >= _AT_THE_LATEST * self._trials:
            return f"{len(records)} of {self._trials} trials are spent"
        if diagnosis is None or not diagnosis.in_full or len(records) < _TRIED_SHARE * self._trials:
            return None
        if diagnosis.shows_bias:
            return f"after {len(records)} trials the best still show {self._bias_in_words(diagnosis)})"
        has_regularised = not len(self._columns) or trials_of(records).total(_is_of_tier) > 0
        if diagnosis.shows_variance and has_regularised:
            done = "with regularisation" if len(self._columns) else "and there is no regularisation to search"
            return f"after {len(records)} trials, {done}, dev is still {diagnosis.gap:.2g} worse than train"
        return None

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
