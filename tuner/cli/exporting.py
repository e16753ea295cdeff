"""Writing the network of a trial for use elsewhere, whole or not at all, and the check of what was written."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.errors import TunerError
from tuner.paths import EXPORTED_NETWORKS, StudyPaths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuner.cli.refitting import Refit
    from tuner.records import DataInfo, Json, Params, TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


def write_export(
    spec: SweepSpec | None, data: StudyData, record: TrialRecord, weights: Path, target: Path, *, paths: StudyPaths,
    verify: bool, refit: Refit | None = None,
) -> None:  # fmt: skip
    """Write the network, and tell of it; what was not written to its end, or is not as it was ranked, leaves nothing.

    Args:
        spec: The sweep; without it only the weights can be written.
        data: The study.
        record: The trial.
        weights: Of its network.
        target: What to write: a folder, or a file of ONNX or safetensors.
        paths: Of the study.
        refit: The training on train and dev whose weights these are, instead of the trial's.
        verify: Have a process of its own load what was written, and compare what it answers, before it is in its place.
    """
    from tuner.execute.apart import run_apart
    from tuner.execute.devices import WorkerPlace
    from tuner.report.files import new_output

    place, params, seed = WorkerPlace("cpu", 1, None), dict(record.params), record.seed or 0
    cause = scores = chosen = None
    known = data.facts.get("data") if refit is None else asdict(refit.info)
    with new_output(target, network=EXPORTED_NETWORKS) as part:
        if spec is None or target.suffix == ".safetensors":
            from tuner.train.after.export import export_safetensors

            export_safetensors(weights, part)
        else:
            chosen = chosen_threshold(data, record, paths)
            cause = run_apart(_exported, place, spec, params, weights, data_info_of(known or {}), part, seed, chosen)
        if verify:
            metric = run_apart(_score_of_export, place, spec, params, weights, part, seed, known)
            scores = "answers as the networks of the folds"
            if metric is not None:
                scores = f"scores dev {data.metric} {metric:.6g}" if refit is None else "answers as its network"
    if cause is not None:
        click.echo(f"{cause}\nso {target} holds your own code and the weights, in the place of a program", err=True)
    click.echo(f"written: {target}", err=True)
    if chosen is not None:
        click.echo(f"its predict.py says {chosen[0]} above a probability of {chosen[1]:.3g}, chosen on dev", err=True)
    if refit is not None:
        click.echo(f"its weights: {refit.in_words(data, record)}", err=True)
    if scores is not None:
        click.echo(f"verified: {target} {scores}", err=True)


def chosen_threshold(data: StudyData, record: TrialRecord, paths: StudyPaths) -> tuple[str, float] | None:
    """The class and the probability above which it is predicted, where the sweep asks for one that is chosen on dev.

    Raises:
        TunerError: it does, and there are no dev predictions of the trial.
    """
    from tuner.report.certainty.mistakes import mistakes_on
    from tuner.report.certainty.threshold import threshold_of
    from tuner.report.facts import sweep_value

    if sweep_value(data, "objective", "threshold") is None:
        return None
    found = threshold_of(data, mistakes_on("dev", data, paths, record))
    if found is None:
        raise TunerError(
            f"objective.threshold is chosen on the dev predictions of trial {record.number}, which are not stored "
            "(they are kept of the best few); take another trial"
        )
    return found.answer, found.threshold


def _score_of_export(
    spec: SweepSpec, params: Params, weights: Path, target: Path, seed: int, known: Any
) -> float | None:
    from tuner.train.after.exported import check_export

    return check_export(spec, params, weights, target, seed=seed, known=known)


def _exported(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, target: Path, seed: int,
    chosen: tuple[str, float] | None,
) -> str | None:  # fmt: skip
    """Write the network, in a process of its own, since it imports the user's code; why it is no program, if so."""
    from tuner.train.after.export import export_folder, export_onnx

    if target.suffix != ".onnx":
        threshold = None if chosen is None else chosen[1]
        return export_folder(spec, params, weights, info, target, seed=seed, threshold=threshold)
    export_onnx(spec, params, weights, info, target, seed=seed)
    return None


def data_info_of(facts: Mapping[str, Json]) -> DataInfo:
    """The facts of data as they are kept: JSON."""
    from dataclasses import fields

    from tuner.records import DataInfo

    known = {field.name for field in fields(DataInfo)}
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in facts.items() if n in known}
    return DataInfo(**values)
