"""`tuner learning-curve`: train the winner on parts of the training examples, to see whether more data would help."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options, training_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import TunerError, UsageError

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.report.analysis import Analysis
    from tuner.store.study_data import StudyData

_FEWEST = 10
"""Training examples of the smallest part."""


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--shares", default="25,50,100", show_default=True, metavar="PERCENT,...",
              help="Parts of the training examples, in percent.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings on each part.")
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="This trial's configuration, not the winner's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@training_options
@allow_code_option
@location_options
@click.pass_obj
def learning_curve(
    arguments: tuple[str, ...],
    study: str,
    shares: str,
    seeds: int,
    trial: int | None,
    as_json: bool,
    workers: int | None,
    devices: str | None,
    allow_code: bool,
    results: Path,
    store: str | None,
) -> int:
    """Train the winner of STUDY on parts of the training examples, and say whether more data would help.

    Each seed draws parts of its own, of which each holds the smaller ones and every class has its share. All are
    trained for as many steps, and scored on the same dev set. What was trained before is kept; the report shows the
    curve.

    Example: tuner learning-curve digits --seeds 5
    """
    from tuner.cli.best import chosen_trial
    from tuner.cli.command_line import command_to_go_on, say_how_to_go_on
    from tuner.python.run import start
    from tuner.report.analysis import Analysis
    from tuner.store.reader import read_study
    from tuner.sweep.on_parts import PartsPlan
    from tuner.sweep.options import RunOptions

    wanted = _shares(shares)
    where = locate(study, results=results, store=store)
    data = read_study(where.paths, study=where.study, url=where.store_url)
    record, _ = chosen_trial(data, trial, where)
    _check(data, record, wanted)
    spec = trained_sweep(study, data, where, allow_code=allow_code, record=record)
    if spec.loop is not None:
        raise UsageError(
            f"{data.name} is trained by code of yours, which reads its data by itself, so that tuner cannot leave some "
            "out: let the code take the number of its training examples as a hyperparameter, and search that"
        )
    options = RunOptions(
        results=where.paths.folder.parent,
        store_url=store,
        workers=workers,
        devices=tuple(d.strip() for d in devices.split(",")) if devices else (),
        parts=PartsPlan(record=record, shares=wanted, seeds=seeds),
    )
    outcome = start(spec, options, log_level=logging.WARNING)
    data = read_study(where.paths, study=where.study, url=store)
    _print(Analysis(data, where.paths), where, as_json=as_json)
    outcome.finish()
    if outcome.signal is None:
        return 0
    click.echo(say_how_to_go_on(command_to_go_on(arguments), why="interrupted"), err=True)
    return 128 + outcome.signal


def _shares(text: str) -> tuple[float, ...]:
    """Shares by what was typed, the least first.

    Raises:
        UsageError: it is something else.
    """
    try:
        found = sorted({float(word) for word in text.split(",")})
    except ValueError:
        raise UsageError(f"--shares {text}: write percentages with commas between them, as in 25,50,100") from None
    if not all(0 < percent <= 100 for percent in found):
        raise UsageError(f"--shares {text}: each must lie above 0 and at most at 100")
    if len(found) < 2:
        raise UsageError(f"--shares {text}: a curve needs two parts at least, as in 50,100")
    return tuple(percent / 100 for percent in found)


def _check(data: StudyData, record: TrialRecord, shares: tuple[float, ...]) -> None:
    """Refuse what cannot be trained.

    Raises:
        TunerError: the trial is not one of ours, or too few examples are left.
    """
    if not record.is_ours or record.value is None:
        raise TunerError(f"trial {record.number} of {data.name} was not trained by tuner to a score; choose another")
    facts = data.facts.get("data") or {}
    num_train, classes = facts.get("num_train"), len(facts.get("class_names") or ())
    if not isinstance(num_train, int):
        return
    least, fewest = round(shares[0] * num_train), max(_FEWEST, classes)
    if least < fewest:
        raise UsageError(
            f"--shares: {100 * shares[0]:g} % of {num_train:,} training examples are {least}, and {fewest} are needed; "
            f"begin at {100 * fewest / num_train:.2g} or more"
        )


def _print(analysis: Analysis, where: Location, *, as_json: bool) -> None:
    from tuner.report.more_data import more_data_in_words
    from tuner.report.page.best import learning_curve_rows

    found = analysis.learning_curve
    if found is None:
        raise TunerError(f"no training on a part of the training examples has finished; see {where.paths.on_parts}")
    lines = list(more_data_in_words(analysis))
    if as_json:
        click.echo(json.dumps({"study": analysis.study.name, **found.to_json(), "summary": lines}, indent=2))
        return
    metric = analysis.study.metric
    head = ("share", "examples", f"dev {metric}", "95 % interval", f"train {metric}")
    rows = [[str(row[key]) for key in ("share", "examples", "mean", "interval", "train")]
            for row in learning_curve_rows(analysis)]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    click.echo()
    click.echo("\n".join(lines))
