"""What a sweep leaves behind, read from the files that anybody may read: `leaderboard.json` and the trials' curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Row = Mapping[str, Any]
"""A trial, by the columns of the leaderboard."""
Curve = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The trials of a study."""

    folder: Path
    metric: str
    maximize: bool
    rows: Sequence[Row]
    """Of trials that were trained to their end, by the dev metric of their best epoch, the best first."""

    @classmethod
    def read(cls, leaderboard: Path) -> Study:
        found = json.loads(leaderboard.read_text(encoding="utf-8"))
        return cls(
            folder=leaderboard.parent,
            metric=found["metric"],
            maximize=found["direction"] == "maximize",
            rows=[row for row in found["trials"] if row["state"] == "complete"],
        )

    def where(self, **values: object) -> list[Row]:
        """Trials with these hyperparameters, the best first."""
        return [row for row in self.rows if all(row[name] == value for name, value in values.items())]

    def dev(self, row: Row) -> float:
        """The dev metric of a trial's best epoch."""
        return float(row[f"dev_{self.metric}"])

    def dev_at_end(self, row: Row) -> float:
        """The dev metric after a trial's last epoch."""
        return float(row[f"last_dev_{self.metric}"])

    def best_at_end(self, rows: Sequence[Row]) -> Row:
        """Of these trials the best after its last epoch."""
        return (max if self.maximize else min)(rows, key=self.dev_at_end)

    def curve(self, row: Row) -> Curve:
        """A trial by epoch: `curve["dev_metric"]` and so on."""
        file = self.folder / "trials" / f"{row['trial']:04}" / "curve.csv"
        return np.atleast_1d(np.genfromtxt(file, delimiter=",", names=True))

    def said(self, row: Row) -> str:
        """The dev metric of a trial's best epoch, with the report's 95 % interval."""
        return f"{self.dev(row):.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"

    def share_said(self, value: float) -> str:
        """A share of the dev examples, with Wilson's 95 % interval, as the report has it for accuracies."""
        examples = len(np.load(self.folder / "dev_targets.npy"))
        interval = stats.binomtest(round(value * examples), examples).proportion_ci(method="wilson")
        return f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
