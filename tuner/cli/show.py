"""`tuner show` and `tuner logs`: one trial of a study."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.completion import studies, trials
from tuner.cli.locate import Location, locate, location_options
from tuner.errors import UsageError
from tuner.paths import TrialPaths
from tuner.records import PHASES, EpochResult, TrialRecord
from tuner.report.curves import read_curve

if TYPE_CHECKING:
    from tuner.store.study_data import StudyData

_MAX_ROWS = 12
"""Rows of a curve that are shown; the first, the best and the last are always among them."""

_finalist = click.option("--finalist", is_flag=True, help="N is a re-training of a finalist, not a trial.")


@click.command()
@click.argument("study", shell_complete=studies)
@click.argument("number", metavar="N", type=click.IntRange(min=0), shell_complete=trials)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with the whole curve.")
@_finalist
@location_options
def show(study: str, number: int, as_json: bool, finalist: bool, results: Path, store: str | None) -> None:
    """Show trial N of STUDY: its hyperparameters, its curve over epochs, why it ended.

    Example: tuner show digits 17
    """
    location = locate(study, results=results, store=store)
    record, data = _find(location, number, finalist=finalist)
    files = location.paths.finalist(number) if finalist else location.paths.trial(number)
    curve = read_curve(files.curve)
    if as_json:
        from tuner.cli.command_line import test_of
        from tuner.report.certainty.choice import choice_so_far
        from tuner.report.code import versions_of
        from tuner.store.notes import notes_in_words

        choice = choice_so_far(data)
        values = {
            **asdict(record),
            "name": record.name,
            "test_of_study": test_of(data, location),
            "best_of_study": {"trial": choice.record.number, "why": choice.why} if choice else None,
            "code": versions_of(data, record),
            "note": "" if finalist else notes_in_words(data.notes).get(number, ""),
            "curve": [asdict(result) for result in curve],
            "folder": str(files.folder),
        }
        click.echo(json.dumps(_strict(values), indent=2))
        return
    for line in _lines(record, curve, files, study=data, location=location):
        click.echo(line)


@click.command()
@click.argument("study", shell_complete=studies)
@click.argument("number", metavar="N", type=click.IntRange(min=0), shell_complete=trials)
@click.option("--tail", type=click.IntRange(min=1), metavar="LINES", help="Only the last lines.")
@_finalist
@location_options
def logs(study: str, number: int, tail: int | None, finalist: bool, results: Path, store: str | None) -> None:
    """Print what trial N of STUDY wrote: its output, and the traceback that ended it.

    Example: tuner logs digits 17 --tail 50
    """
    location = locate(study, results=results, store=store)
    _find(location, number, finalist=finalist)
    files = location.paths.finalist(number) if finalist else location.paths.trial(number)
    if not files.log.exists():
        click.echo(f"trial {number} has written nothing", err=True)
        return
    lines = files.log.read_text(encoding="utf-8", errors="replace").splitlines()
    shown = lines[-tail:] if tail else lines
    click.echo("\n".join(map(_harmless, shown)) if sys.stdout.isatty() else "\n".join(shown))


def _find(location: Location, number: int, *, finalist: bool) -> tuple[TrialRecord, StudyData]:
    """The trial and its study.

    Raises:
        UsageError: there is no trial of that number.
    """
    from tuner.store.reader import read_study

    data = read_study(location.paths, study=location.study, url=location.store_url)
    records = data.finalists if finalist else data.records
    for record in records:
        if record.number == number:
            return record, data
    kind = "re-training of a finalist" if finalist else "trial"
    known = f"they are numbered 0 to {records[-1].number}" if records else "there is none yet"
    raise UsageError(f'study "{location.study}" has no {kind} {number}; {known}')


def _lines(
    record: TrialRecord,
    curve: Sequence[EpochResult],
    files: TrialPaths,
    *,
    study: StudyData,
    location: Location,
) -> Iterator[str]:
    yield from _standing(record, study=study, location=location)
    yield from _training(record, study=study)
    if curve:
        yield ""
        yield from _course(record, curve, metric=study.metric)
    yield ""
    for path in (files.folder, files.curve, files.log, files.weights, files.checkpoint, files.own_checkpoint):
        if path.exists():
            yield _line("folder" if path == files.folder else path.stem, str(path))


def _line(name: str, text: str) -> str:
    from tuner.report.words.escape import visible

    return f"{click.style(f'{visible(name):<16}', bold=True)} {visible(text)}"


def _standing(record: TrialRecord, *, study: StudyData, location: Location) -> Iterator[str]:
    """Which trial it is, and where it stands among the others."""
    from tuner.cli.command_line import study_command, test_of
    from tuner.report.certainty.choice import choice_so_far
    from tuner.report.words.numbers import metric_text, trials_text

    kind, _, rest = record.name.partition(" ")
    yield _line(kind, f"{rest}, {record.state.value}{f': {record.reason}' if record.reason else ''}")
    choice = choice_so_far(study)
    if choice is None or kind != "trial":
        return
    which = "this one" if choice.record.number == record.number else f"trial {choice.record.number}"
    yield _line("best", f"{which}, {choice.why}")
    if (test := test_of(study, location)) is not None:
        is_own = test["trials"] == [record.number]
        whose = "" if is_own else f", {trials_text(test['trials'])}"
        yield _line("test", f"{metric_text(test['value'], metric=study.metric)}{whose}")
        if test["outdated"] and (is_own or choice.record.number == record.number):
            yield _line("", str(test["outdated"]))
    for repeat in study.finalists:
        if repeat.facts.get("repeat_of") == record.number:
            reached = metric_text(repeat.value, metric=study.metric)
            command = study_command("show", location, str(repeat.number), "--finalist")
            yield _line("trained again", f"{repeat.name}: {reached}   ({command})")


def _training(record: TrialRecord, *, study: StudyData) -> Iterator[str]:
    """What it was trained with, and what came of it."""
    from tuner.report.code import versions_of
    from tuner.report.words.numbers import count_text, duration_text, metric_text, moment_text, value_text
    from tuner.report.words.phases import phase_lines
    from tuner.spec.kept.code_versions import CODE_FACT
    from tuner.store.notes import notes_in_words

    if record.name == f"trial {record.number}" and (note := notes_in_words(study.notes).get(record.number)):
        yield _line("note", note)
    if record.tier:
        yield _line("tier", record.tier)
    for name, value in record.params.items():
        yield _line(name, value_text(value))
    for index, line in enumerate(phase_lines(record)):
        yield _line("" if index else "changed", line)
    if record.best is not None:
        best = metric_text(record.best.dev_metric, metric=study.metric)
        train = metric_text(record.best.train_metric, metric=study.metric)
        yield _line(f"dev {study.metric}", f"{best} at epoch {record.best.epoch} (train {train})")
    epochs = str(record.epochs) if record.has_epochs else "not known"
    of = f" of {record.to_epoch}" if record.is_ours else ""
    yield _line("epochs", f"{epochs}{of}, in {duration_text(record.seconds)}")
    if record.num_parameters:
        yield _line("parameters", count_text(record.num_parameters))
    if record.is_ours:
        yield _line("seed", str(record.seed))
        yield _line("attempts", str(record.attempts))
    for name, stamp in (("started", record.started), ("ended", record.ended)):
        if stamp:
            yield _line(name, moment_text(stamp))
    for version, code in versions_of(study, record).items():
        yield _line("code", f"{version}: {', '.join(f'{file} {digest[:12]}' for file, digest in code.items())}")
    for name, value in record.facts.items():
        if name not in (CODE_FACT, PHASES):
            yield _line(name, _fact(value))


def _course(record: TrialRecord, curve: Sequence[EpochResult], *, metric: str) -> Iterator[str]:
    """Its curve, drawn and as a table of some epochs."""
    yield _line(f"dev {metric}", sparkline([result.dev_metric for result in curve]))
    if any(math.isfinite(result.train_loss) for result in curve):
        yield _line("train loss", sparkline([result.train_loss for result in curve]))
    shown = _sample(curve, best=record.best.epoch if record.best else 0)
    yield from _table(shown, metric=metric)
    if len(shown) < len(curve):
        yield f"shown are {len(shown)} of {len(curve)} epochs; --json has them all"


def _fact(value: object) -> str:
    """What a trial is known by besides, with the digits that mean something: `1.weight 0.443, 4.weight 0.3274`."""
    from tuner.report.words.numbers import value_text

    match value:
        case dict():
            return ", ".join(f"{name} {_fact(part)}" for name, part in value.items())
        case list() | tuple():
            return ", ".join(map(_fact, value))
        case _:
            return value_text(value)


def _table(curve: Sequence[EpochResult], *, metric: str) -> Iterator[str]:
    from tuner.report.words.numbers import metric_text

    heads = (
        ("", "train", "dev", "train", "dev", "learning"),
        ("epoch", "loss", "loss", metric, metric, "rate"),
    )
    rows = [
        (
            str(r.epoch),
            f"{r.train_loss:.4g}",
            f"{r.dev_loss:.4g}",
            metric_text(r.train_metric, metric=metric),
            metric_text(r.dev_metric, metric=metric),
            f"{r.learning_rate:.3g}",
        )
        for r in curve
    ]
    widths = [max(len(row[column]) for row in (*heads, *rows)) for column in range(len(heads[0]))]
    for row in (*heads, *rows):
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def _sample(curve: Sequence[EpochResult], *, best: int) -> list[EpochResult]:
    """At most `_MAX_ROWS` epochs, evenly spread, and the best one."""
    if len(curve) <= _MAX_ROWS:
        return list(curve)
    count = _MAX_ROWS - 1
    places = {round(i * (len(curve) - 1) / (count - 1)) for i in range(count)}
    places |= {place for place, result in enumerate(curve) if result.epoch == best}
    return [curve[place] for place in sorted(places)]


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A curve as one line of blocks; what is no finite number is a `!`."""
    stride = max(1, math.ceil(len(values) / width))
    points = [values[i] for i in range(0, len(values), stride)]
    finite = [value for value in points if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    blocks = "▁▂▃▄▅▆▇█"

    def block(value: float) -> str:
        if not math.isfinite(value):
            return "!"
        return blocks[round((value - low) / (high - low) * 7)] if high > low else blocks[0]

    return "".join(map(block, points))


def _harmless(text: str) -> str:
    from tuner.report.words.escape import visible

    return visible(text.expandtabs())


def _strict(value: Any) -> Any:
    """The value with None for what JSON has no number for."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {str(name): _strict(part) for name, part in value.items()}
        case list() | tuple():
            return [_strict(part) for part in value]
        case _:
            return value
