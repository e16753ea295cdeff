"""`tuner confirm`: train the best trials again on fresh seeds."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from tuner.cli.completion import studies
from tuner.cli.locate import locate, location_options, training_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import TunerError
from tuner.records import TrialState


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--top", "count", type=click.IntRange(1), help="How many of the best trials; 5 unless the sweep says.")
@click.option("--seeds", type=click.IntRange(1), help="Fresh seeds for each; 3 unless the sweep says.")
@training_options
@allow_code_option
@location_options
@click.pass_obj
def confirm(
    arguments: tuple[str, ...],
    study: str,
    count: int | None,
    seeds: int | None,
    workers: int | None,
    devices: str | None,
    allow_code: bool,
    results: Path,
    store: str | None,
) -> int:
    """Train the best trials of STUDY again on fresh seeds, and write its reports.

    The best of many trials is partly luck; the mean over fresh seeds is not. What was trained before is kept: more
    seeds add to it.
    """
    from tuner.cli.command_line import command_to_go_on, outdated_test_of, say_how_to_go_on
    from tuner.python.run import start
    from tuner.report.analysis import Analysis
    from tuner.report.terminal import Conclusion
    from tuner.spec.model import FinalistsSpec
    from tuner.store.reader import read_study
    from tuner.sweep.options import RunOptions

    where = locate(study, results=results, store=store)
    data = read_study(where.paths, study=where.study, url=where.store_url)
    if not any(record.state is TrialState.COMPLETE for record in data.records):
        raise TunerError(f"no trial of {data.name} has finished, so there is none to train again")
    spec = trained_sweep(study, data, where, allow_code=allow_code)
    rule = spec.finalists or FinalistsSpec()
    rule = FinalistsSpec(count=count or rule.count, seeds=seeds or rule.seeds)
    spec = spec.model_copy(update={"finalists": rule})
    options = RunOptions(
        results=where.paths.folder.parent,
        store_url=store,
        workers=workers,
        devices=tuple(d.strip() for d in devices.split(",")) if devices else (),
        confirm_only=True,
    )
    outcome = start(spec, options, log_level=logging.WARNING)
    data = read_study(where.paths, study=where.study, url=store)
    Conclusion.of(Analysis(data, where.paths), top=rule.count).print()
    if not sys.stdout.isatty() and (outdated := outdated_test_of(data, where)):  # else the report has said it
        click.echo(outdated, err=True)
    outcome.finish()
    if outcome.signal is None:
        return 0
    click.echo(say_how_to_go_on(command_to_go_on(arguments), why="interrupted"), err=True)
    return 128 + outcome.signal
