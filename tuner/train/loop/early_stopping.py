"""Early stopping as a small state: the best value that counted, and how long ago it was."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuner.records import Direction, EpochResult
from tuner.spec.model import EarlyStoppingSpec


@dataclass(frozen=True, slots=True)
class Patience:
    """Where a trial stands: see `EarlyStoppingSpec`. Saved in its checkpoint."""

    reference: float | None = None
    """The last value of what is monitored that counted as an improvement."""
    stale_epochs: int = 0
    """Epochs since then."""

    def after(self, result: EpochResult, *, direction: Direction, rule: EarlyStoppingSpec | None) -> Patience:
        """The state after one more epoch; `direction` is that of the dev metric."""
        monitored = "metric" if rule is None else rule.monitor
        if monitored == "metric":
            return self._after(result.dev_metric, direction, rule)
        value = result.dev_loss if monitored == "dev_loss" else result.train_loss
        # Users' own code may report no loss; that says nothing of whether it still falls.
        return self if math.isnan(value) else self._after(value, Direction.MINIMIZE, rule)

    def _after(self, value: float, direction: Direction, rule: EarlyStoppingSpec | None) -> Patience:
        if self.reference is None:
            return Patience(value, 0)
        gain = direction.sign * (value - self.reference)
        least = 0.0 if rule is None else rule.min_delta
        return Patience(value, 0) if gain > least else Patience(self.reference, self.stale_epochs + 1)

    def exhausted(self, rule: EarlyStoppingSpec | None) -> bool:
        """Whether the trial should end."""
        return rule is not None and self.stale_epochs >= rule.patience
