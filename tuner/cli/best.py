"""`tuner best`: the winning configuration, its weights, and the proof that they are what was ranked."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import TunerError, UsageError
from tuner.paths import TrialPaths

if TYPE_CHECKING:
    from tuner.cli.refitting import Refit
    from tuner.records import Params, TrialRecord
    from tuner.report.certainty.answer import Answer
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData

_EXPORTS = ("", ".onnx", ".safetensors")
_TOLERANCE = 1e-6
"""Relative difference of dev scores that rounding explains where no example changes sides."""


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--trial", type=click.IntRange(min=0), metavar="N", help="This trial instead of the winner.")
@click.option("--objective", metavar="NAME", help="The best by this objective, of several, instead of the first.")
@click.option("--within", multiple=True, metavar="NAME=VALUE",
              help="The best of the finished trials that keep this bound; repeatable.")  # fmt: skip
@click.option(
    "--format", "format_name", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="How."
)
@click.option("--params-only", is_flag=True, help="Nothing but the hyperparameters, to feed a script.")
@click.option("--weights", "weights_only", is_flag=True, help="Print nothing but the path of the weights.")
@click.option("--refit", is_flag=True,
              help="Train it again on train and dev together, once; an export then has these weights.")  # fmt: skip
@click.option("--device", help="With --refit, where to train: cpu, cuda, cuda:0, mps; the best there is by default.")
@click.option("--verify", is_flag=True, help="Load the weights, and an export, and score them on the dev set again.")
@click.option(
    "--export", type=click.Path(path_type=Path), metavar="PATH",
    help="Write the network: FILE.onnx and FILE.safetensors need the extra of that name; any other name is a folder "
    "that predicts by itself.",
)  # fmt: skip
@click.option("--average", type=click.IntRange(min=1), metavar="N",
              help="With --export: the mean of the predictions of the N best trials; 1: the winner alone.")  # fmt: skip
@allow_code_option
@click.option("--force", is_flag=True, help="With --export: overwrite what is there.")
@location_options
def best(
    study: str,
    trial: int | None,
    objective: str | None,
    within: tuple[str, ...],
    format_name: str,
    params_only: bool,
    weights_only: bool,
    refit: bool,
    device: str | None,
    verify: bool,
    export: Path | None,
    average: int | None,
    allow_code: bool,
    force: bool,
    results: Path,
    store: str | None,
) -> None:
    """Print the winning configuration of STUDY: a sweep file, a study's name or its folder.

    With finalists it is the one chosen on fresh seeds, else the best finished trial. Where the study's answer is the
    mean of several trials, that is said, and --export writes it. --refit trains the winner's configuration,
    with its seed, on all examples that are not for the test, up to the epoch that was its best on dev; the score
    that is printed stays that of the trial.

    Example: tuner best digits --verify
    """
    from tuner.cli.command_line import outdated_test_of
    from tuner.store.reader import read_study
    from tuner.store.weights import existing_weights, whole

    if export is not None and not force and (export.exists() or export.is_symlink()):
        raise UsageError(f"{export} exists; give another name, or --force to overwrite it")
    if export is not None and export.suffix not in _EXPORTS:
        raise UsageError(f'"{export}": end the name in .onnx or .safetensors, or name a folder')
    if average is not None:
        _check_average(export, others={"trial": trial is not None, "refit": refit, "objective": bool(objective),
                                       "within": bool(within)})  # fmt: skip
    if refit and verify and export is None:
        raise UsageError("--verify scores weights on the dev set, which those of --refit were trained on: leave it out")
    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    record, why = _traded(data, objective, within) if objective or within else chosen_trial(data, trial, location)
    weights = _weights(location, record)
    needs_sweep = verify or refit or (export is not None and export.suffix != ".safetensors")
    spec = again = None
    if needs_sweep:
        existing_weights(weights, record)
        spec = trained_sweep(study, data, location, allow_code=allow_code, record=record)
    if refit and spec is not None:
        from tuner.cli.refitting import make_refit

        again = make_refit(spec, data, record, location, device=device)
    if weights_only:
        click.echo(str(existing_weights(weights, record) if again is None else again.weights))
    else:
        is_winner = trial is None and not objective and not within
        _print(data, record, why, weights, location, refit=again, is_winner=is_winner,
               format_name=format_name, params_only=params_only)  # fmt: skip
        if outdated := outdated_test_of(data, location):
            click.echo(outdated, err=True)
    if verify and spec is not None and again is None:
        _verify(spec, data, whole(record), weights)
    if export is not None:
        from tuner.cli.averaging import predicting_trials
        from tuner.cli.exporting import write_export

        alone = trial is not None or refit or bool(objective or within) or export.suffix == ".safetensors"
        trials = predicting_trials(data, record, location, average=average, alone=alone)
        if again is not None:
            trials = [replace(trials[0], weights=again.weights)]
        write_export(spec, data, record, trials, export, verify=verify, refit=again)


def _check_average(export: Path | None, *, others: Mapping[str, bool]) -> None:
    """Refuse an average of what is not the best trials as they were trained, and where one network is written.

    Raises:
        UsageError: it cannot be had.
    """
    if other := next((name for name, is_given in others.items() if is_given), None):
        raise UsageError(f"--average is of the best trials, as they were trained: leave --{other} out")
    if export is None or export.suffix == ".safetensors":
        raise UsageError("--average is for an export that predicts: --export FOLDER, or FILE.onnx")


def chosen_trial(data: StudyData, trial: int | None, location: Location) -> tuple[TrialRecord, str]:
    """The trial of a number, or the winner, and why it is.

    Raises:
        UsageError: there is no such trial.
        TunerError: no trial has finished.
    """
    from tuner.cli.command_line import study_command
    from tuner.report.certainty.choice import final_choice

    if trial is not None:
        for record in data.records:
            if record.number == trial:
                return record, "asked for by its number"
        last = f"0 to {data.records[-1].number}" if data.records else "none"
        raise UsageError(f"study {data.name} has no trial {trial}; its trials: {last}")
    choice = final_choice(data)
    if choice is None:
        raise TunerError(
            f"no trial of {data.name} has finished yet; see how it stands with: {study_command('status', location)}"
        )
    return choice.record, choice.why


def _traded(data: StudyData, objective: str | None, within: tuple[str, ...]) -> tuple[TrialRecord, str]:
    """The best finished trial by one objective, within bounds."""
    from tuner.report.certainty.front import best_within

    bounds: dict[str, float] = {}
    for text in within:
        name, _, value = text.partition("=")
        try:
            bounds[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--within {text}: write NAME=VALUE, as in parameters=50000") from None
    return best_within(data, objective=objective or data.metric, bounds=bounds)


def _weights(location: Location, record: TrialRecord) -> Path:
    return location.paths.trial(record.number).weights


def _print(
    data: StudyData,
    record: TrialRecord,
    why: str,
    weights: Path,
    location: Location,
    *,
    refit: Refit | None,
    is_winner: bool,
    format_name: str,
    params_only: bool,
) -> None:
    from tuner.cli.command_line import test_of
    from tuner.report.best import best_params
    from tuner.report.certainty.answer import final_answer
    from tuner.spec.text.dump import to_yaml

    params = best_params(data, record)
    document: dict[str, Any] = params
    if not params_only:
        answer = final_answer(data, location.paths) if is_winner else None
        document = {
            "study": data.name,
            "trial": record.number,
            "why": why,
            "state": record.state.value,
            f"dev_{data.metric}": record.value,
            **(_answer(answer, data) if answer is not None and answer.is_average else {}),
            "params": params,
            "parameters": record.num_parameters or None,
            "seed": record.seed,
            "weights": str(weights) if weights.is_file() else None,
            **_own_files(location, record),
            **({} if refit is None else {"refit": f"{refit.weights}: {refit.in_words(data, record)}"}),
            **({} if (test := test_of(data, location)) is None else {"test": test}),
            "reproduce": _reproduce(location),
        }
    if format_name == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        sys.stdout.write(to_yaml(document))


def _answer(answer: Answer, data: StudyData) -> dict[str, Any]:
    from tuner.report.words.numbers import trials_text

    return {"answer": trials_text(answer.numbers), f"dev_{data.metric}_of_answer": answer.value}


def _own_files(location: Location, record: TrialRecord) -> dict[str, str]:
    """What the user's own training code left of the trial."""
    folder = location.paths.trial(record.number).own_checkpoint
    return {"checkpoint": str(folder)} if folder.is_dir() else {}


def _reproduce(location: Location) -> str | None:
    sweep = location.paths.best / "sweep.yaml"
    if not sweep.is_file():
        return None
    from tuner.cli.command_line import run_command

    return run_command(sweep, location)


def _verify(spec: SweepSpec, data: StudyData, record: TrialRecord, weights: Path) -> None:
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace

    known = data.facts.get("data")
    metric, agrees = run_apart(
        _rescored, WorkerPlace("cpu", 1, None), spec, dict(record.params), weights, record.seed or 0, known
    )
    ranked = record.value
    assert ranked is not None
    # Rounding may put an example on the other side: the predictions of the weights are then those that were ranked.
    if not agrees and not math.isclose(metric, ranked, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        raise TunerError(
            f"the weights of trial {record.number} score dev {data.metric} {metric:.6g}, but {ranked:.6g} was ranked; "
            "the code or the file has changed since"
        )
    click.echo(f"verified: {weights.name} of trial {record.number} scores dev {data.metric} {metric:.6g}", err=True)


def _rescored(spec: SweepSpec, params: Params, weights: Path, seed: int, known: Any) -> tuple[float, bool]:
    """The dev metric of stored weights, and whether their predictions are those that are stored.

    It runs in a process of its own, since it imports the user's code.
    """
    from tuner.train.after.evaluate import evaluate_weights

    found = evaluate_weights(spec, params, weights, seed=seed, known=known)
    return found.metric, found.agrees_with(TrialPaths(weights.parent).predictions)
