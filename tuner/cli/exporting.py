"""Writing the network of a trial for use elsewhere, whole or not at all, and the check of what was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.paths import EXPORTED_NETWORKS

if TYPE_CHECKING:
    from tuner.cli.refitting import Refit
    from tuner.records import DataInfo, Params, TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


def write_export(
    spec: SweepSpec | None, data: StudyData, record: TrialRecord, weights: Path, target: Path, *, verify: bool,
    refit: Refit | None = None,
) -> None:  # fmt: skip
    """Write the network, and tell of it; what was not written to its end, or is not as it was ranked, leaves nothing.

    Args:
        spec: The sweep; without it only the weights can be written.
        data: The study.
        record: The trial.
        weights: Of its network.
        target: What to write: a folder, or a file of ONNX or safetensors.
        refit: The training on train and dev whose weights these are, instead of the trial's.
        verify: Have a process of its own load what was written, and compare what it answers, before it is in its place.
    """
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import new_output
    from tuner.store.weights import data_info_of

    place, params, seed = WorkerPlace("cpu", 1, None), dict(record.params), record.seed or 0
    cause = scores = None
    known = data.facts.get("data") if refit is None else asdict(refit.info)
    with new_output(target, network=EXPORTED_NETWORKS) as part:
        if spec is None or target.suffix == ".safetensors":
            from tuner.train.after.export import export_safetensors

            export_safetensors(weights, part)
        else:
            cause = run_apart(_exported, place, spec, params, weights, data_info_of(known or {}), part, seed)
        if verify:
            metric = run_apart(_score_of_export, place, spec, params, weights, part, seed, known)
            scores = "answers as the networks of the folds"
            if metric is not None:
                scores = f"scores dev {data.metric} {metric:.6g}" if refit is None else "answers as its network"
    if cause is not None:
        click.echo(f"{cause}\nso {target} holds your own code and the weights, in the place of a program", err=True)
    click.echo(f"written: {target}", err=True)
    if refit is not None:
        click.echo(f"its weights: {refit.in_words(data, record)}", err=True)
    if scores is not None:
        click.echo(f"verified: {target} {scores}", err=True)


def _score_of_export(
    spec: SweepSpec, params: Params, weights: Path, target: Path, seed: int, known: Any
) -> float | None:
    from tuner.train.after.exported import check_export

    return check_export(spec, params, weights, target, seed=seed, known=known)


def _exported(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, target: Path, seed: int) -> str | None:
    """Write the network, in a process of its own, since it imports the user's code; why it is no program, if so."""
    from tuner.train.after.export import export_folder, export_onnx

    if target.suffix != ".onnx":
        return export_folder(spec, params, weights, info, target, seed=seed)
    export_onnx(spec, params, weights, info, target, seed=seed)
    return None
