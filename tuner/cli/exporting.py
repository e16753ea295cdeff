"""Writing the network of a trial for use elsewhere, whole or not at all, and the check of what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.paths import EXPORTED_NETWORKS

if TYPE_CHECKING:
    from tuner.cli.refitting import Refit
    from tuner.records import DataInfo, TrainedTrial, TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


def write_export(
    spec: SweepSpec | None, data: StudyData, record: TrialRecord, trials: Sequence[TrainedTrial], target: Path, *,
    verify: bool, refit: Refit | None = None,
) -> None:  # fmt: skip
    """Write the network, and tell of it; what was not written to its end, or is not as it was ranked, leaves nothing.

    Args:
        spec: The sweep; without it only the weights can be written.
        data: The study.
        record: The trial, or the first of those that are averaged.
        trials: It with its weights; and the others, if the mean of their predictions is written.
        target: What to write: a folder, or a file of ONNX or safetensors.
        refit: The training on train and dev whose weights these are, instead of the trial's.
        verify: Have a process of its own load what was written, and compare what it answers, before it is in its place.
    """
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import new_output
    from tuner.report.words.numbers import trials_text
    from tuner.store.weights import data_info_of

    place = WorkerPlace("cpu", 1, None)
    cause = scores = None
    known = data.facts.get("data") if refit is None else asdict(refit.info)
    with new_output(target, network=EXPORTED_NETWORKS) as part:
        if spec is None or target.suffix == ".safetensors":
            from tuner.train.after.export import export_safetensors

            export_safetensors(trials[0].weights, part)
        else:
            cause = run_apart(_exported, place, spec, trials, data_info_of(known or {}), part)
        if verify:
            metric = run_apart(_score_of_export, place, spec, trials, part, known)
            scores = "answers as the networks of the folds"
            if metric is not None:
                scores = f"scores dev {data.metric} {metric:.6g}" if refit is None else "answers as its network"
    if cause is not None:
        click.echo(f"{cause}\nso {target} holds your own code and the weights, in the place of a program", err=True)
    click.echo(f"written: {target}", err=True)
    if refit is not None:
        click.echo(f"its weights: {refit.in_words(data, record)}", err=True)
    if len(trials) > 1:
        mean = trials_text([one.trial for one in trials])
        click.echo(f"it predicts by {mean}, the {len(trials)} best", err=True)
    if scores is not None:
        click.echo(f"verified: {target} {scores}", err=True)


def _score_of_export(spec: SweepSpec, trials: Sequence[TrainedTrial], target: Path, known: Any) -> float | None:
    from tuner.train.after.exported import check_export

    return check_export(spec, trials, target, known=known)


def _exported(spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, target: Path) -> str | None:
    """Write the network, in a process of its own, since it imports the user's code; why it is no program, if so."""
    from tuner.train.after.export import export_folder, export_onnx

    if target.suffix != ".onnx":
        return export_folder(spec, trials, info, target)
    export_onnx(spec, trials, info, target)
    return None
