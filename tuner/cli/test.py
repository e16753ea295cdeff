"""`tuner test`: the one touch of the test set. No other module may import `tuner.data.test_set`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options
from tuner.cli.trained import allow_code_option, trained_sweep
from tuner.errors import DataError, TunerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuner.paths import StudyPaths
    from tuner.records import Json, TrainedTrial
    from tuner.spec.known.baselines import BaselineName
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData

_RESAMPLES = 1000


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--average", type=click.IntRange(min=1), metavar="N",
              help="Beside the winner the mean of the predictions of the N best trials, by the same use; 1 is the "
              "winner alone.")  # fmt: skip
@click.option("--again", is_flag=True, help="Use the test set once more; that is recorded, and shown for good.")
@click.option("--json", "as_json", is_flag=True, help="Print the stored evaluations as JSON.")
@allow_code_option
@location_options
def test(
    study: str, average: int | None, again: bool, as_json: bool, allow_code: bool, results: Path, store: str | None
) -> None:
    """Evaluate the final choice of STUDY on the test set, once; and by the same use the average that is its answer.

    The figure, its interval, the time and the configuration are stored in the study and shown in its reports. A
    second call prints what was stored: a test set that helps to choose is a dev set.
    """
    from tuner.cli.command_line import outdated_test_of
    from tuner.report.analysis import Analysis
    from tuner.report.certainty.tested import answer_of_test, figure_of_test
    from tuner.report.techniques import average_on_test, threshold_on_test
    from tuner.report.verdict import on_test_and_dev
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import metric_text, moment_text, trials_text
    from tuner.report.worth import baselines_on_test
    from tuner.store.reader import read_study

    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    tests: list[dict[str, Any]] = list(data.facts.get("tests", []))
    if not tests or again:
        tests.append(_touch(study, data, location, average=average, allow_code=allow_code))
        _remember(data, location, tests)
    elif not as_json:
        without = ", without an average" if average and average > 1 and "average" not in tests[-1] else ""
        found_then = f"the test set has been used{without}; this is what was found then"
        click.echo(f"{found_then} (--again uses it once more)", err=True)
    if as_json:
        json.dump(tests, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    analysis = Analysis(replace(data, facts={**data.facts, "tests": tests}), location.paths)
    for number, found in enumerate(tests, start=1):
        figure = figure_of_test(found)
        value, low, high = (metric_text(v, metric=data.metric) for v in (figure["value"], *figure["interval"]))
        use = f" (use {number} of the test set)" if len(tests) > 1 else ""
        click.echo(
            f"test {data.metric} {value}, 95 % interval {low} to {high}, "
            f"{found['examples']} examples, {trials_text(answer_of_test(found))}, {moment_text(found['at'])}{use}"
        )
        if said := on_test_and_dev(analysis, found):
            click.echo(said.text)
    for line in (*average_on_test(analysis), *threshold_on_test(analysis), *baselines_on_test(analysis)):
        click.echo(visible(line))
    if len(tests) > 1:
        click.echo(f"the test set was used {len(tests)} times: only the first figure is unbiased", err=True)
    if outdated := outdated_test_of(analysis.study, location):
        click.echo(outdated, err=True)


def _touch(study: str, data: StudyData, location: Location, *, average: int | None, allow_code: bool) -> dict[str, Any]:
    """Evaluate the final choice in a process of its own, since that imports the user's code."""
    from tuner.cli.averaging import predicting_trials
    from tuner.cli.command_line import study_command
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.certainty.answer import final_answer
    from tuner.report.certainty.baselines import baselines_of
    from tuner.report.certainty.choice import final_choice
    from tuner.store.book import utc_now
    from tuner.store.study_data import sweep_of

    choice = final_choice(data)
    if choice is None:
        raise TunerError(
            f"no trial of {data.name} has finished yet; see how it stands with: {study_command('status', location)}"
        )
    spec = sweep_of(data)
    if loop := spec.loop:
        raise UsageError(
            f"{data.name} is trained by your own {loop}, which has its own test data; the final choice is trial "
            f"{choice.record.number}, with what it left in {location.paths.trial(choice.record.number).own_checkpoint}"
        )
    if not int((data.facts.get("data") or {}).get("num_test", 0)):
        raise DataError("there are no test examples; give data.test a file, or data.split a share, before the search")
    record = choice.record
    trials = predicting_trials(data, record, location, average=average, alone=False)
    answer = final_answer(data, location.paths)
    by_average = answer is not None and answer.is_average and answer.numbers == tuple(one.trial for one in trials)
    spec = trained_sweep(study, data, location, allow_code=allow_code, record=choice.record)
    known = data.facts["data"]
    names = [one.name for one in baselines_of(data, None, None, luck=0.0)]
    found = run_apart(_evaluate, WorkerPlace("cpu", 1, None), spec, trials, known, names, location.paths)
    return {
        **found, "trial": record.number, "params": dict(record.params), "why": choice.why, "at": utc_now(),
        **({"by_average": True} if by_average else {}),
    }  # fmt: skip


def _evaluate(
    spec: SweepSpec, trials: Sequence[TrainedTrial], known: Mapping[str, Json], names: Sequence[BaselineName],
    paths: StudyPaths,
) -> dict[str, Any]:  # fmt: skip
    """Value, interval and seconds of the first trial, of baselines and of the mean of all trials, on the test set.

    What they predict is left in the study's folder.

    Raises:
        StudyMismatchError: the data are not those that the study was trained on.
    """
    import time

    import torch

    from tuner.data.load import load_training_data
    from tuner.data.test_set import load_test_split
    from tuner.execute.baselines import outputs_on
    from tuner.execute.training import write_array, write_examples, write_targets
    from tuner.models.ensemble import mean_outputs
    from tuner.models.packed import trained_weights
    from tuner.train.after.evaluate import outputs_of, resampled_interval, score
    from tuner.train.task import Task

    torch.set_num_threads(1)
    began = time.perf_counter()
    task = Task(spec, load_training_data(spec, known=known), torch.device("cpu"))
    split = load_test_split(spec, known=known)
    outputs = []
    for trial in trials:
        with trained_weights(trial.weights) as weights:
            outputs.append(outputs_of(task, trial.params, weights, split, seed=trial.seed))

    def scored(outputs: torch.Tensor, name: str) -> dict[str, Any]:
        value = float(score(task, outputs, split).metric[0])
        low, high = resampled_interval(task, outputs, split.targets, value=value, resamples=_RESAMPLES)
        write_array(task.predictions(outputs), paths.tested(name))
        return {"value": value, "interval": [low, high]}

    write_targets(task, split.targets, paths.tested("targets"))
    write_examples(split, rows=paths.tested("rows"), images=paths.tested("images"), groups=paths.tested_groups)
    found = scored(outputs[0], "predictions") | {"examples": len(split)}
    paths.tested("average").unlink(missing_ok=True)
    if len(trials) > 1:
        mean = mean_outputs(torch.stack(outputs), task.info.task)
        found["average"] = scored(mean, "average") | {"trials": [trial.trial for trial in trials]}
    baselines: dict[str, Any] = {}
    for name in names:
        try:
            baselines[name] = scored(outputs_on(split, name, task), name)
        except (TimeoutError, MemoryError) as error:
            baselines[name] = {"failed": str(error) or "there is too little memory"}
    return {**found, "baselines": baselines, "seconds": round(time.perf_counter() - began, 3)}


def _remember(data: StudyData, location: Location, tests: list[dict[str, Any]]) -> None:
    """Store the evaluations in the study, and write its reports again."""
    from tuner.report.write import write_reports
    from tuner.spec.space import Space
    from tuner.store.optuna_store import open_store
    from tuner.store.reader import read_study

    store = open_store(
        location.paths,
        study=location.study,
        direction=data.direction,
        metric=data.metric,
        space=data.space or Space(()),
        url=location.store_url,
        create=False,
    )
    with store:
        store.set("tests", tests)
    study = read_study(location.paths, study=location.study, url=location.store_url)
    write_reports(study, location.paths)
