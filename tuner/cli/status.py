"""`tuner status`: how a study stands, in a moment."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options
from tuner.records import TrialRecord, TrialState

if TYPE_CHECKING:
    from tuner.store.study_data import StudyData


_MOST_LINES = 12
"""Of running trials, and of machines."""


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@location_options
def status(study: str, as_json: bool, results: Path, store: str | None) -> None:
    """Say how STUDY stands: a sweep file, a study's name or its folder.

    Counts of trials, the best so far, what runs now, and what to do next. Works while the sweep runs.

    Example: tuner status digits
    """
    from tuner.store.reader import read_study

    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url, with_rungs=False)
    summary = summarise(data, location)
    click.echo(json.dumps(summary, indent=2) if as_json else "\n".join(_lines(summary)))


def summarise(data: StudyData, location: Location) -> dict[str, Any]:
    """The state of a study as one JSON value."""
    from tuner.cli.command_line import test_of
    from tuner.report.certainty.choice import choice_so_far
    from tuner.store.notes import notes_in_words
    from tuner.store.standing import state_of, total_finalists, total_trials

    counts = Counter(record.state for record in data.records)
    best = choice_so_far(data)
    state, reason = state_of(data)
    return {
        "study": data.name,
        "database": _database(location),
        "metric": data.metric,
        "direction": data.direction.value,
        "state": state,
        "reason": reason,
        "owner": {**asdict(data.lease), "alive": data.lease.alive} if data.lease else None,
        "trials": {
            "total": total_trials(data.facts),
            "begun": len(data.records),
            **{state.value: counts[state] for state in TrialState},
        },
        "finalists": len(data.finalists),
        "finalists_total": total_finalists(data),
        "tier": data.records[-1].tier if data.records else "",
        "epochs": sum(record.epochs for record in data.records if record.has_epochs),
        "training_seconds": sum(record.seconds for record in data.records),
        "elapsed_seconds": data.facts.get("elapsed_seconds"),
        "best": {**_shown(best.record), "why": best.why} if best else None,
        "test": test_of(data, location),
        "running": [_shown(record) for record in data.records if record.state is TrialState.RUNNING],
        "running_finalists": [_shown(record) for record in data.finalists if record.state is TrialState.RUNNING],
        "note": notes_in_words(data.notes).get(None, ""),
        "workers": _workers(data) if state == "running" else [],
        "next": _next(state, data, location),
    }


def _workers(data: StudyData) -> list[dict[str, Any]]:
    """Each worker that trains: the machine it is on, its device, and its trials by name."""
    found: dict[str, dict[str, Any]] = {}
    for record in (*data.records, *data.finalists):
        name = record.facts.get("worker")
        if record.state is TrialState.RUNNING and isinstance(name, str):
            worker, _, node = name.partition(" on ")
            host = data.lease.host if data.lease is not None else ""
            new: dict[str, Any] = {
                "node": node or host,
                "worker": worker,
                "device": record.facts.get("device"),
                "trials": [],
            }
            found.setdefault(name, new)["trials"].append(record.name)
    return sorted(found.values(), key=lambda worker: (worker["node"], len(worker["worker"]), worker["worker"]))


def _shown(record: TrialRecord) -> dict[str, Any]:
    return {
        "trial": record.number,
        "name": record.name,
        "state": record.state.value,
        "value": record.value,
        "best_epoch": record.best.epoch if record.best and record.has_epochs else None,
        "epoch": record.epochs if record.has_epochs else None,
        "to_epoch": record.to_epoch,
        "tier": record.tier,
        "params": dict(record.params),
    }


def _database(location: Location) -> str:
    from tuner.store.locations import find_database

    return str(find_database(location.paths, url=location.store_url))


def _next(state: str, data: StudyData, location: Location) -> str:
    from tuner.cli.command_line import stored_command, study_command
    from tuner.store.standing import what_is_left

    again = stored_command(data.facts.get("command")) or study_command("run", replace(location, argument="SWEEP"))
    report = study_command("report", location)
    if data.facts.get("sweep") is None:
        return report  # a study that tuner did not make
    match state:
        case "running":
            return f"{report}   (the ranking so far)"
        case "interrupted" | "stopped":
            return f"{again}   ({what_is_left(data)})"
        case _:
            return report


def _lines(summary: Mapping[str, Any]) -> list[str]:
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import duration_text, metric_text, number_of, trials_text, value_text

    def line(name: str, text: str) -> str:
        return f"{click.style(f'{name:<9}', bold=True)} {visible(text)}"

    def progress(trial: Mapping[str, Any]) -> str:
        reached = metric_text(trial["value"], metric=summary["metric"])
        return f"{trial['name']}, epoch {trial['epoch']} of {trial['to_epoch']}, best so far {reached}"

    trials, best = summary["trials"], summary["best"]
    counts = ", ".join(f"{trials[state]} {state.value}" for state in TrialState if trials[state]) or "none yet"
    epochs = f"{number_of(summary['epochs'], 'epoch')}, " if summary["epochs"] else ""
    total = "" if trials["total"] is None else f" of {trials['total']}"
    lines = [
        line("study", f"{summary['study']}   ({summary['database']})"),
        line("state", _state_text(summary)),
        line("trials", f"{trials['begun']}{total}: {counts}"),
        line(
            "training",
            f"{epochs}{duration_text(summary['training_seconds'])} of training",
        ),
    ]
    if summary["tier"]:
        lines.append(line("tier", summary["tier"]))
    if summary["finalists"]:
        more = summary["finalists_total"] - summary["finalists"]
        of_all = f" of {summary['finalists_total']}" if more > 0 else ""
        lines.append(line("finalists", f"{summary['finalists']}{of_all} re-trainings on fresh seeds"))
    if best is not None:
        reached = metric_text(best["value"], metric=summary["metric"])
        epoch = "" if best["best_epoch"] is None else f", epoch {best['best_epoch']}"
        lines.append(line("best", f"{reached} {summary['metric']}, trial {best['trial']}{epoch}"))
        lines.append(line("", best["why"]))
        lines += [line("", f"{name} = {value_text(value)}") for name, value in best["params"].items()]
    if (test := summary["test"]) is not None:
        value = metric_text(test["value"], metric=summary["metric"])
        lines.append(line("test", f"{value} {summary['metric']}, {trials_text(test['trials'])}"))
        lines += [line("", test["outdated"])] if test["outdated"] else []
    if summary["note"]:
        lines.append(line("note", summary["note"]))
    lines += [line("" if i else "workers", text) for i, text in enumerate(_nodes(summary["workers"]))]
    running = [*summary["running"], *summary["running_finalists"]]
    lines += [line("" if i else "running", progress(trial)) for i, trial in enumerate(running[:_MOST_LINES])]
    if len(running) > _MOST_LINES:
        lines.append(line("", f"and {len(running) - _MOST_LINES} more"))
    return [*lines, line("next", summary["next"])]


def _nodes(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each machine that trains."""
    from tuner.report.words.numbers import number_of

    lines = []
    for node, there in groupby(workers, key=lambda worker: worker["node"]):
        on_it = list(there)
        devices = Counter(str(worker["device"]) for worker in on_it)
        kinds = [name if count == 1 else f"{count} x {name}" for name, count in devices.items()]
        trials = [name.removeprefix("trial ") for worker in on_it for name in worker["trials"]]
        on = f"{number_of(len(on_it), 'worker')} ({_first(kinds)})"
        lines.append(f"{node}: {on}, {number_of(len(trials), 'trial')} in training: {_first(trials)}")
    more = len(lines) - _MOST_LINES
    return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more machines"]


def _first(names: Sequence[str], most: int = 4) -> str:
    return ", ".join((*names[:most], *([f"and {len(names) - most} more"] if len(names) > most else [])))


def _state_text(summary: Mapping[str, Any]) -> str:
    from tuner.report.words.numbers import moment_text

    owner = summary["owner"]
    who = f"process {owner['pid']} on {owner['host']}" if owner else ""
    if summary["state"] == "running":
        return f"running in {who} since {moment_text(owner['since'])}"
    return f"{summary['state']}: {summary['reason']}" if summary["reason"] else str(summary["state"])
