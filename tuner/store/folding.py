"""What an event does to a trial's record: pure functions, the same for every store."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace

from tuner.records import (
    PHASES,
    Direction,
    EpochsFinished,
    FailureReason,
    Json,
    Params,
    Phase,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialPaused,
    TrialRecord,
    TrialStarted,
    TrialState,
    phases_as_fact,
)
from tuner.spec.kept.code_versions import CODE_FACT, version_of
from tuner.store.codec import MAX_ATTRIBUTE_BYTES, decode, encode

_MAX_REASON_CHARACTERS = 2000


def trial_seed(seed: int, number: int, *, stream: str = "") -> int:
    """The seed of a trial: a function of the search's seed and the trial's number alone, below 2**32.

    Args:
        seed: The seed of the search.
        number: The trial's number.
        stream: Sets the trials of a sibling study (`finalists`) apart from those that they repeat.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def fold(record: TrialRecord, event: TrialEvent, *, direction: Direction, now: str) -> TrialRecord:
    """The record after an event of an executor.

    Args:
        record: A trial that has no final state.
        event: What happened to it.
        direction: Which dev metrics are better.
        now: UTC, ISO 8601; becomes `ended` where the event ends the trial.
    """
    assert event.trial == record.number
    assert not record.state.final, f"trial {record.number} is {record.state.value}, yet there came {event}"
    match event:
        case TrialStarted():
            if event.anew:
                record = replace(record, best=None, last=None, rungs=())
            return replace(
                record,
                state=TrialState.RUNNING,
                attempts=record.attempts + 1,
                num_parameters=event.num_parameters,
                facts=merge_facts(
                    record.facts,
                    {
                        "worker": event.worker,
                        "device": event.device,
                        "path": event.path,
                        "cohort_width": event.cohort_width,
                        **_code(record, event),
                    },
                ),
            )
        case EpochsFinished():
            return _with_epochs(record, event, direction=direction)
        case TrialPaused():
            return replace(
                record,
                state=TrialState.PAUSED,
                rungs=_with_rung(record, event.epoch),
                facts=merge_facts(record.facts, event.facts),
            )
        case TrialFinished() if record.best is None:
            return end(
                record, TrialState.FAILED, f"{FailureReason.DIVERGED.value}: no epoch had a finite dev metric", now
            )
        case TrialFinished():
            return replace(
                end(record, TrialState.COMPLETE, event.reason, now),
                rungs=_with_rung(record, record.epochs),
                facts=merge_facts(record.facts, event.facts),
            )
        case TrialFailed():
            return replace(
                end(record, TrialState.FAILED, f"{event.reason.value}: {event.message}", now),
                facts=merge_facts(record.facts, event.facts),
            )
        case TrialInterrupted():
            return replace(record, state=TrialState.PAUSED)


def _code(record: TrialRecord, event: TrialStarted) -> dict[str, Json]:
    """The versions of the user's code that a trial was trained by, in order: it may go on by another."""
    before = list(record.facts.get(CODE_FACT) or ())
    version = version_of(event.code)
    return {CODE_FACT: [*before, version]} if version and before[-1:] != [version] else {}


def end(record: TrialRecord, state: TrialState, reason: str, now: str) -> TrialRecord:
    """The record with a final state."""
    assert state.final
    assert state is not TrialState.COMPLETE or record.best is not None
    if len(reason) > _MAX_REASON_CHARACTERS:
        reason = f"{reason[:_MAX_REASON_CHARACTERS]}..."
    return replace(record, state=state, reason=reason, ended=now)


def copied(record: TrialRecord, source: TrialRecord, params: Params) -> TrialRecord:
    """The record of a trial that goes on from where another one is, with other values.

    It takes over all that the other's training has come to, the seed of its random numbers included. What was reached
    at its own rungs stays.
    """
    assert record.state is source.state is TrialState.PAUSED
    assert record.epochs == source.epochs
    before = source.phases or (Phase(from_epoch=0, params=source.params, trial=source.number),)
    phases = (*before, Phase(from_epoch=source.epochs, params=params, trial=record.number))
    return replace(
        record,
        params=params,
        seed=source.seed,
        best=source.best,
        last=source.last,
        num_parameters=source.num_parameters,
        facts=merge_facts(record.facts, {PHASES: phases_as_fact(phases)}),
    )


def merge_facts(facts: Mapping[str, Json], more: Mapping[str, Json]) -> Mapping[str, Json]:
    """Facts with more facts, exactly as they will be read back from a database.

    Where they are too long for one attribute, the longest are left out and named in `left_out`.
    """
    if not more:
        return facts
    merged = {**facts, **more}
    text = encode(merged)
    if len(text) > MAX_ATTRIBUTE_BYTES:
        lengths = {name: len(encode(value)) for name, value in merged.items()}
        left_out = list(merged.pop("left_out", []))
        while len(text) > MAX_ATTRIBUTE_BYTES:
            longest = max(merged, key=lambda name: lengths[name])
            del merged[longest]
            left_out.append(longest[:100])
            text = encode({**merged, "left_out": left_out})
    result: Mapping[str, Json] = decode(text)
    return result


def _with_epochs(record: TrialRecord, event: EpochsFinished, *, direction: Direction) -> TrialRecord:
    best, last = record.best, record.last
    for result in event.results:
        # Epochs that a resumed trial repeats, because its checkpoint is older than its record, are known already.
        if last is not None and result.epoch <= last.epoch:
            continue
        last = result
        if math.isfinite(result.dev_metric) and (best is None or direction.better(result.dev_metric, best.dev_metric)):
            best = result
    if event.kept is not None and last is not record.last and math.isfinite(event.kept.dev_metric):
        best = event.kept
    return replace(record, best=best, last=last)


def _with_rung(record: TrialRecord, epoch: int) -> tuple[tuple[int, float], ...]:
    if record.best is None or (record.rungs and record.rungs[-1][0] >= epoch):
        return record.rungs
    return (*record.rungs, (epoch, record.best.dev_metric))
