"""How a study stands at this moment, for the top of the live page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tuner.paths import StudyPaths
from tuner.records import Json, TrialRecord, TrialState
from tuner.report.words.escape import visible
from tuner.report.words.numbers import metric_text, short_time
from tuner.store.standing import state_of, total_finalists, total_trials
from tuner.store.study_data import StudyData

_LOG_LINES, _LOG_BYTES = 20, 8192
_MOST_RUNNING = 24


def now_of(
    study: StudyData,
    paths: StudyPaths,
    *,
    best: TrialRecord | None,
    running: Sequence[TrialRecord],
    trouble: str = "",
) -> dict[str, Json]:
    """State, time left, running trials and the log's last lines, as texts.

    Args:
        study: As it was read last.
        paths: Its files.
        best: The first in rank.
        running: Trials of the search that are being trained, as far as is known.
        trouble: Why it cannot be read.
    """
    state, reason = state_of(study)
    running = [*running, *(r for r in study.finalists if r.state is TrialState.RUNNING)]
    return {
        "state": state,
        "trouble": visible(trouble),
        "tiles": [
            {"name": name, "value": value, "note": visible(note)}
            for name, value, note in (
                ("State", state, reason),
                _progress(study),
                ("Time left", _time_left(study) if state == "running" else "–", "at the pace of this run"),
                _best(best, study.metric),
            )
        ],
        "running": [_running(record, study.metric) for record in running[:_MOST_RUNNING]] if state == "running" else [],
        "more": max(0, len(running) - _MOST_RUNNING) if state == "running" else 0,
        "log": _last_lines(paths.log),
    }


def _progress(study: StudyData) -> tuple[str, str, str]:
    ended, total = sum(r.state.final for r in study.records), total_trials(study.facts)
    counts = Counter(r.state.value for r in study.records)
    note = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    if study.finalists:
        done = sum(r.state.final for r in study.finalists)
        note += f"; {done} of {max(total_finalists(study), len(study.finalists))} finalists"
    return "Trials ended", f"{ended:,}" + (f" of {total:,}" if total else ""), note


def _best(best: TrialRecord | None, metric: str) -> tuple[str, str, str]:
    name = f"Best dev {visible(metric)}"
    return (name, "–", "") if best is None else (name, metric_text(best.value, metric=metric), best.name)


def _time_left(study: StudyData) -> str:
    """What is left of the search, or of the finalists, at the pace at which these have ended in this run."""
    if study.finalists:
        records, total = study.finalists, total_finalists(study)
    else:
        records, total = study.records, total_trials(study.facts) or 0
    since = _moment(study.lease.since) if study.lease else None
    if since is None:
        return "–"
    ends = [end for r in records if r.state.final and (end := _moment(r.ended)) is not None and end >= since]
    left = total - sum(r.state.final for r in records)
    if not ends or left <= 0:
        return "–"
    begun = min((start for r in records if (start := _moment(r.started)) is not None), default=since)
    seconds = (datetime.now(UTC) - max(since, begun)).total_seconds()
    return f"about {short_time(max(1.0, left * seconds / len(ends)))}"


def _moment(stamp: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _running(record: TrialRecord, metric: str) -> dict[str, Json]:
    return {
        "name": record.name,
        "tier": visible(record.tier),
        "epoch": record.epochs,
        "to_epoch": record.to_epoch,
        "value": metric_text(record.value, metric=metric),
    }


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines: Sequence[str] = text.splitlines()
    return [visible(line) for line in lines[-_LOG_LINES:]]
