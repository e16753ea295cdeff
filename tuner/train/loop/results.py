"""What epochs have measured of a member, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.records import EpochResult, FailureReason, TrialEvent, TrialFailed
from tuner.train.loop.member import Run
from tuner.train.task import Scored


def results_of(run: Run, scored: Sequence[Scored], rates: Sequence[float], seconds: float) -> list[EpochResult]:
    """A member's next epochs.

    Args:
        run: The member.
        scored: What each of the epochs came to.
        rates: The learning rate of the last step of each.
        seconds: What it has trained and was evaluated for beyond those that it knows of.
    """
    before = run.seconds - run.epoch_seconds
    each = (run.epoch_seconds + seconds) / len(scored)
    return [
        EpochResult(
            epoch=run.epoch + number,
            train_loss=scores.train_loss,
            dev_loss=scores.dev_loss,
            train_metric=scores.train_metric,
            dev_metric=scores.dev_metric,
            learning_rate=rate,
            seconds=before + number * each,
        )
        for number, (scores, rate) in enumerate(zip(scored, rates, strict=True), start=1)
    ]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of results that a member was given."""

    events: list[TrialEvent]
    kept: int | None
    """Which of them is the last one whose weights are kept."""
    has_failed: bool


def take_in(run: Run, results: Sequence[EpochResult]) -> Taken:
    """Add finished epochs to a member, until one that it fails in."""
    kept: int | None = None
    for number, result in enumerate(results):
        if problem := run.task.divergence(result):
            failed = failure(run, FailureReason.DIVERGED, f"{problem} in epoch {result.epoch}")
            return Taken([*([run.told(results[:number])] if number else []), failed], kept, has_failed=True)
        if run.add(result):
            kept = number
        if late := run.overtime:
            told = run.told(results[: number + 1])
            return Taken([told, failure(run, FailureReason.TIMEOUT, late)], kept, has_failed=True)
    return Taken([run.told(results)], kept, has_failed=False)


def failure(run: Run, reason: FailureReason, message: str) -> TrialFailed:
    """The event of a member that cannot go on."""
    run.write_curve()
    return TrialFailed(trial=run.job.trial, reason=reason, message=message)
