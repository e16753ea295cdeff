"""`tuner predict`: what the winner makes of new examples."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from tuner.cli.best import chosen_trial
from tuner.cli.locate import locate, location_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuner.records import DataInfo, Params
    from tuner.spec.model import SweepSpec


@click.command()
@click.argument("study")
@click.argument("examples", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the predictions to this file instead of the standard output.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="COLUMN",
              help="A column of the examples to have before the predictions, such as an id; repeatable.")  # fmt: skip
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="By this trial instead of the winner.")
@click.option("--refit", is_flag=True, help="By the weights of `tuner best --refit`, trained on train and dev.")
@click.option("--monte-carlo-passes", "passes", type=click.IntRange(min=2), metavar="N",
              help="The mean of N predictions with dropout left on (Monte Carlo dropout).")  # fmt: skip
@click.option("--force", is_flag=True, help="With --output: overwrite what is there.")
@allow_code_option
@location_options
def predict(
    study: str,
    examples: Path,
    output: Path | None,
    keep: tuple[str, ...],
    trial: int | None,
    refit: bool,
    passes: int | None,
    force: bool,
    allow_code: bool,
    results: Path,
    store: str | None,
) -> None:
    """Predict new EXAMPLES by the winner of STUDY, as CSV.

    EXAMPLES are raw, as the training examples were, with or without their targets: a CSV or Parquet file, an NPY or NPZ
    file, or a folder of images. There is a line for each: the most probable class and the probability of each class,
    the probability of each label, or the targets in their own units.

    Example: tuner predict digits new.csv -o predictions.csv
    """
    from tuner.cli.refitting import stored_refit
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import write_output
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import metric_text
    from tuner.store.reader import read_study
    from tuner.store.weights import data_info_of, weights_of

    if output is not None and not force and (output.is_file() or output.is_symlink()):
        raise UsageError(f"{output} exists; give another name, or --force to overwrite it")
    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    record, why = chosen_trial(data, trial, location)
    weights = weights_of(record, location.paths.trial(record.number))
    again = stored_refit(data, record, location, trial=trial) if refit else None
    weights, info = (weights, data_info_of(data.facts["data"])) if again is None else (again.weights, again.info)
    spec = trained_sweep(study, data, location, allow_code=allow_code, record=record)
    with TemporaryDirectory(prefix="tuner-") as folder:
        found = Path(folder, "predictions.csv")
        notes = run_apart(
            _predicted, WorkerPlace("cpu", 1, None), spec, dict(record.params), weights, info, examples,
            found, record.seed or 0, keep, passes or 0,
        )  # fmt: skip
        content = found.read_bytes()
    for note in notes:
        click.echo(f"{click.style('warning:', fg='yellow')} {visible(note)}", err=True)
    value = f"dev {data.metric} {metric_text(record.value, metric=data.metric)}"
    said = value if again is None else again.in_words(data, record)
    if passes:
        said = f"{said}, without Monte Carlo dropout; the predictions are the mean of {passes} passes with it"
    click.echo(f"predicted by trial {record.number} ({why}): {said}", err=True)
    if output is None:
        sys.stdout.write(content.decode())
    else:
        write_output(output, content)
        click.echo(f"written: {output}", err=True)


def _predicted(
    spec: SweepSpec, params: Params, weights: Path, info: DataInfo, examples: Path, out: Path, seed: int,
    keep: Sequence[str], passes: int,
) -> list[str]:  # fmt: skip
    """In a process of its own, since it imports the user's code."""
    from tuner.train.after.predict import predict_file

    return predict_file(spec, params, weights, info, examples, out, seed=seed, keep=keep, passes=passes)
