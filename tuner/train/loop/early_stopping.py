"""Early stopping as a small state: the best value that counted, and how long ago it was."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.records import Direction
from tuner.spec.model import EarlyStoppingSpec


@dataclass(frozen=True, slots=True)
class Patience:
    """Where a trial stands: see `EarlyStoppingSpec`. Saved in its checkpoint."""

    reference: float | None = None
    """The last dev metric that counted as an improvement."""
    stale_epochs: int = 0
    """Epochs since then."""

    def after(self, value: float, *, direction: Direction, min_delta: float) -> Patience:
        """The state after one more epoch with this dev metric."""
        if self.reference is None:
            return Patience(value, 0)
        gain = direction.sign * (value - self.reference)
        return Patience(value, 0) if gain > min_delta else Patience(self.reference, self.stale_epochs + 1)

    def exhausted(self, rule: EarlyStoppingSpec | None) -> bool:
        """Whether the trial should end."""
        return rule is not None and self.stale_epochs >= rule.patience
