"""Writing the network of a trial for use elsewhere, whole or not at all, and the check of what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.paths import EXPORTED_NETWORKS

if TYPE_CHECKING:
    from tuner.records import DataInfo, Params, TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


def write_export(
    spec: SweepSpec | None, data: StudyData, record: TrialRecord, weights: Path, target: Path, *, verify: bool
) -> None:
    """Write the network, and tell of it; what was not written to its end, or is not as it was ranked, leaves nothing.

    Args:
        spec: The sweep; without it only the weights can be written.
        data: The study.
        record: The trial.
        weights: Of its network.
        target: What to write: a folder, or a file of ONNX or safetensors.
        verify: Have a process of its own load what was written, and compare what it answers, before it is in its place.
    """
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import new_output

    place, params, seed = WorkerPlace("cpu", 1, None), dict(record.params), record.seed or 0
    cause = scores = None
    with new_output(target, network=EXPORTED_NETWORKS) as part:
        if spec is None or target.suffix == ".safetensors":
            from tuner.train.after.export import export_safetensors

            export_safetensors(weights, part)
        else:
            cause = run_apart(_exported, place, spec, params, weights, data_info(data), part, seed)
        if verify:
            metric = run_apart(_score_of_export, place, spec, params, weights, part, seed, data.facts.get("data"))
            scores = "answers as the networks of the folds"
            scores = f"scores dev {data.metric} {metric:.6g}" if metric is not None else scores
    if cause is not None:
        click.echo(f"{cause}\nso {target} holds your own code and the weights, in the place of a program", err=True)
    click.echo(f"written: {target}", err=True)
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


def data_info(data: StudyData) -> DataInfo:
    """The facts of the data that the study was trained on."""
    from dataclasses import fields

    from tuner.records import DataInfo

    known = {field.name for field in fields(DataInfo)}
    facts: dict[str, Any] = {name: value for name, value in data.facts["data"].items() if name in known}
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in facts.items()}
    return DataInfo(**values)
