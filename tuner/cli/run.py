"""`tuner run`: run a sweep, or continue it."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.locate import ResultsFolder, training_options
from tuner.cli.names import NameIn
from tuner.errors import ClusterLostError, TunerError

if TYPE_CHECKING:
    from tuner.sweep.options import RunOptions
    from tuner.sweep.outcome import Outcome

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class _Duration(click.ParamType[float]):
    """`90`, `30m`, `2h`, `1h30m`: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
        if not parts or "".join(n + u for n, u in parts) != text:
            self.fail(f'"{value}" is no duration; write seconds, or 30m, 2h, 1h30m', param, ctx)
        return sum(float(n) * _UNITS[u] for n, u in parts)


@click.command()
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option("-n", "--trials", type=click.IntRange(1), help="Total number of trials, instead of the sweep file's.")
@click.option("--time", "seconds", type=_Duration(), help="End this run after so long (30m, 2h); continue it later.")
@training_options
@click.option(
    "--engine", type=NameIn("tuner.execute.open:ENGINES", plugins="executors"), default="local", show_default=True,
    help="Worker processes on this machine, on a Ray cluster, or this process (for debugging).",
)  # fmt: skip
@click.option("--address", help="Of the Ray cluster; the one that runs here by default, else one of this machine.")
@click.option("--store", metavar="URL", help="Optuna storage URL instead of results/<study>/study.db.")
@click.option(
    "--results", type=ResultsFolder(), default=Path("results"), show_default=True,
    help="Folder of all studies.",
)  # fmt: skip
@click.option("--seed", type=int, help="Seed of the search, instead of the sweep file's.")
@click.option(
    "--track", metavar="NAMES", help="Trackers, instead of the sweep file's: tensorboard,mlflow,wandb; or none."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the sweep file; repeatable.")
@click.option("--fresh", is_flag=True, help="Set an existing study of this name aside and start anew.")
@click.option("--retry-failed", is_flag=True, help="Try failed trials again (not those that diverged).")
@click.option("--json", "as_json", is_flag=True, help="Print the leaderboard as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress; only warnings, and the table at the end.")
@click.option("-v", "--verbose", is_flag=True, help="Say more of what the search does.")
@click.pass_obj
def run(
    arguments: tuple[str, ...],
    sweep: Path,
    trials: int | None,
    seconds: float | None,
    workers: int | None,
    devices: str | None,
    engine: str,
    address: str | None,
    store: str | None,
    results: Path,
    seed: int | None,
    track: str | None,
    overrides: tuple[str, ...],
    fresh: bool,
    retry_failed: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Run the sweep of a file, or continue it where it stopped.

    The number of trials is a total: the same command goes on until the study has so many. Ctrl-C once ends
    cleanly, with everything kept; twice at once.
    """
    from tuner.cli.command_line import command_to_go_on, say_how_to_go_on
    from tuner.python.run import overrides_of, start
    from tuner.spec.reader import read_sweep
    from tuner.sweep.options import RunOptions

    named = None if track is None else [name.strip() for name in track.split(",") if name.strip() not in ("", "none")]
    file = read_sweep(sweep, overrides=[*overrides, *overrides_of(trials=trials, seed=seed, track=named)])
    for warning in file.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {warning}", err=True)
    options = RunOptions(
        results=results,
        store_url=store,
        engine=engine,
        address=address,
        devices=tuple(d.strip() for d in devices.split(",") if d.strip()) if devices else (),
        workers=workers,
        seconds=seconds,
        fresh=fresh,
        retry_failed=retry_failed,
        command=command_to_go_on(arguments),
    )
    level = logging.INFO if verbose else logging.WARNING
    try:
        outcome = start(file.spec, options, quiet=quiet or as_json, log_level=level)
    except ClusterLostError as error:
        raise ClusterLostError(f"{error}\n{say_how_to_go_on(options.command, why='interrupted')}") from error
    return _conclude(file.spec.study, options, outcome, as_json=as_json, quiet=quiet or as_json)


def _conclude(study: str, options: RunOptions, outcome: Outcome, *, as_json: bool, quiet: bool) -> int:
    """Print the table and where everything lies; the exit code."""
    from tuner.cli.command_line import outdated_test_of, say_how_to_go_on, study_command
    from tuner.cli.locate import locate
    from tuner.report.words.escape import visible
    from tuner.store.reader import read_study

    where = locate(study, results=options.results, store=options.store_url)
    conclusion = outcome.conclusion
    if outcome.nothing_was_left and not quiet:
        click.echo("nothing is left to train: this is the study as it was finished", err=True)
    if as_json:
        sys.stdout.write(where.paths.leaderboard_json.read_text())
    else:
        conclusion.print()
        told = [conclusion.best, conclusion.answer]
        if not sys.stdout.isatty():  # else the words below the table have said it
            data = read_study(where.paths, study=where.study, url=options.store_url, with_rungs=False)
            baselines = f"baselines: {visible(conclusion.baselines)}" if conclusion.baselines else ""
            told += [baselines, outdated_test_of(data, where)]
        told.append(conclusion.spared)
        if outcome.signal is None and outcome.complete and outcome.search_end:
            told.append(f"finished: {visible(outcome.search_end)}")
        for line in filter(None, told):
            click.echo(line, err=True)
    outcome.finish()
    if outcome.signal is None and not as_json:
        click.echo(f"report: {_shown(where.paths.report_html)}", err=True)
    if not outcome.complete:
        click.echo(say_how_to_go_on(options.command, why="interrupted" if outcome.signal else "out of time"), err=True)
        return 128 + outcome.signal if outcome.signal else 0
    if not outcome.any_complete:
        raise TunerError(f"no trial was trained to its end; see the reasons with: {study_command('report', where)}")
    return 0


def _shown(path: Path) -> str:
    """A path as short as it can be said."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
