"""Early stopping as a small state: the best value that counted, and how long ago it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        value, direction = _monitored(result, direction, rule)
        # Users' own code may report no loss; that says nothing of whether it still falls.
        is_unknown = rule is not None and rule.monitor != "metric" and math.isnan(value)
        return self if is_unknown else self._after(value, direction, rule)

    def _after(self, value: float, direction: Direction, rule: EarlyStoppingSpec | None) -> Patience:
        if self.reference is None:
            return Patience(value, 0)
        gain = direction.sign * (value - self.reference)
        least = 0.0 if rule is None else rule.min_delta
        return Patience(value, 0) if gain > least else Patience(self.reference, self.stale_epochs + 1)

    def exhausted(self, rule: EarlyStoppingSpec | None) -> bool:
        """Whether the trial should end."""
        return rule is not None and self.stale_epochs >= rule.patience


def keeps(
    result: EpochResult, kept: EpochResult | None, *, direction: Direction, rule: EarlyStoppingSpec | None
) -> bool:
    """Whether an epoch's weights take the place of those that are kept so far; of equals the first stays."""
    which = True if rule is None else rule.restore_best
    if kept is None or which is False:
        return True
    if which == "monitor":
        value, direction = _monitored(result, direction, rule)
        return direction.better(value, _monitored(kept, direction, rule)[0])
    return direction.better(result.dev_metric, kept.dev_metric)


def kept_of(
    curve: Sequence[EpochResult], *, direction: Direction, rule: EarlyStoppingSpec | None
) -> EpochResult | None:
    """The epoch of a curve whose weights are kept."""
    kept: EpochResult | None = None
    for result in curve:
        if keeps(result, kept, direction=direction, rule=rule):
            kept = result
    return kept


def _monitored(result: EpochResult, direction: Direction, rule: EarlyStoppingSpec | None) -> tuple[float, Direction]:
    """What has to improve, and which way is better; `direction` is that of the dev metric."""
    match "metric" if rule is None else rule.monitor:
        case "dev_loss":
            return result.dev_loss, Direction.MINIMIZE
        case "train_loss":
            return result.train_loss, Direction.MINIMIZE
        case _:
            return result.dev_metric, direction
