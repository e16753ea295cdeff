"""`tuner predict`: what the winner makes of new examples."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from tuner.cli.best import chosen_trial
from tuner.cli.completion import studies
from tuner.cli.locate import locate, location_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuner.records import DataInfo, TrainedTrial
    from tuner.spec.model import SweepSpec


@click.command()
@click.argument("study", shell_complete=studies)
@click.argument("examples", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the predictions to this file instead of the standard output.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="COLUMN",
              help="A column of the examples to have before the predictions, such as an id; repeatable.")  # fmt: skip
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="By this trial instead of the winner.")
@click.option("--average", type=click.IntRange(min=1), metavar="N",
              help="By the mean of the predictions of the N best trials, of those whose weights are kept; 1 is the "
              "winner alone.")  # fmt: skip
@click.option("--refit", is_flag=True, help="By the weights of `tuner best --refit`, trained on train and dev.")
@click.option("--monte-carlo-passes", "passes", type=click.IntRange(min=2), metavar="N",
              help="The mean of N predictions with dropout left on (Monte Carlo dropout).")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1), metavar="P",
              help="Of two classes answer the second from this probability on, not the more probable one.")  # fmt: skip
@click.option("--force", is_flag=True, help="With --output: overwrite what is there.")
@allow_code_option
@location_options
def predict(
    study: str,
    examples: Path,
    output: Path | None,
    keep: tuple[str, ...],
    trial: int | None,
    average: int | None,
    refit: bool,
    passes: int | None,
    threshold: float | None,
    force: bool,
    allow_code: bool,
    results: Path,
    store: str | None,
) -> None:
    """Predict new EXAMPLES by the winner of STUDY, or by the mean of its best trials if that is its answer, as CSV.

    EXAMPLES are raw, as the training examples were, with or without their targets: a CSV or Parquet file, an NPY or NPZ
    file, or a folder of images. There is a line for each: the most probable class and the probability of each class,
    the probability of each label, or the targets in their own units. What the answer is, and why, the report says.

    Example: tuner predict digits new.csv -o predictions.csv
    """
    from tuner.cli.averaging import predicting_trials
    from tuner.cli.refitting import stored_refit
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import write_output
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import metric_text, trials_text
    from tuner.store.reader import read_study
    from tuner.store.weights import data_info_of

    if output is not None and not force and (output.is_file() or output.is_symlink()):
        raise UsageError(f"{output} exists; give another name, or --force to overwrite it")
    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    others = {"trial": trial is not None, "refit": refit, "monte-carlo-passes": passes is not None}
    if average is not None and (other := next((name for name, is_given in others.items() if is_given), None)):
        raise UsageError(f"--average is of the best trials, as they were trained: leave --{other} out")
    record, why = chosen_trial(data, trial, location)
    again = stored_refit(data, record, location, trial=trial) if refit else None
    info = data_info_of(data.facts["data"]) if again is None else again.info
    trials = predicting_trials(data, record, location, average=average, alone=any(others.values()))
    if again is not None:
        trials = [replace(trials[0], weights=again.weights)]
    spec = trained_sweep(study, data, location, allow_code=allow_code, record=record)
    with TemporaryDirectory(prefix="tuner-") as folder:
        found = Path(folder, "predictions.csv")
        notes = run_apart(
            _predicted, WorkerPlace("cpu", 1, None), spec, trials, info, examples, found, keep, passes or 0, threshold
        )
        content = found.read_bytes()
    for note in notes:
        click.echo(f"{click.style('warning:', fg='yellow')} {visible(note)}", err=True)
    value = f"dev {data.metric} {metric_text(record.value, metric=data.metric)}"
    said = value if again is None else again.in_words(data, record)
    if passes:
        said = f"{said}, without Monte Carlo dropout; the predictions are the mean of {passes} passes with it"
    if len(trials) > 1:
        mean = trials_text([one.trial for one in trials])
        click.echo(f"predicted by {mean}, the {len(trials)} best: the first alone has {value}", err=True)
    else:
        click.echo(f"predicted by trial {record.number} ({why}): {said}", err=True)
    if output is None:
        sys.stdout.write(content.decode())
    else:
        write_output(output, content)
        click.echo(f"written: {output}", err=True)


def _predicted(
    spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, examples: Path, out: Path, keep: Sequence[str],
    passes: int, threshold: float | None,
) -> list[str]:  # fmt: skip
    """In a process of its own, since it imports the user's code."""
    from tuner.train.after.predict import predict_file

    return predict_file(spec, trials, info, examples, out, keep=keep, passes=passes, threshold=threshold)
