"""The part of execution that needs torch: a sweep's task in one process, set up the same inline and in a worker."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path

import numpy as np
import torch

from tuner.data.dataset import Split, TrainingData
from tuner.data.load import load_training_data
from tuner.data.stored import is_streamed
from tuner.errors import DataError, is_out_of_memory, memory_error_in
from tuner.execute.devices import WorkerPlace, see_alone
from tuner.execute.facts import TaskFacts
from tuner.execute.free_memory import free_bytes
from tuner.execute.memory import held_by_others, limit_share, room_bytes
from tuner.execute.scarcity import first_line, memory_limit, no_memory_to_load
from tuner.imports import load_object
from tuner.models.weights_file import read_weights, weights_sha256
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.train.device.gpus import make_current, wait_for
from tuner.train.loop.artefacts import replacing
from tuner.train.own.open import open_own_task
from tuner.train.own.task import OwnTask
from tuner.train.task import Task

log = logging.getLogger(__name__)

_GIB = 2**30
_MOST_PIXELS = 2**25
"""Of images that are kept for a report, in all."""
_OTHERS_SHARE = 0.25
"""Of a GPU's memory in the hands of other processes; their contexts alone take some hundredths."""


def open_task(
    spec: SweepSpec,
    place: WorkerPlace,
    *,
    paths: StudyPaths | None = None,
    prepared_in: Path | None = None,
    alone: bool = True,
    known: Mapping[str, Json] | None = None,
    pooled: bool = False,
) -> Task | OwnTask:
    """Import the user's model, find the weights to start from, load the data and put it on the device.

    Args:
        spec: The sweep file.
        place: Where trials are trained.
        paths: Of the study, whose folder keeps what its workers share; None if there is no study.
        prepared_in: Then the folder of what studies share; None if the data are to be read anew.
        alone: Whether this process is for nothing else, and CUDA has not started in it.
        known: The facts of the data that the study was trained on, where they must be the same.
        pooled: Train on the dev examples, too.

    Raises:
        DataError: the data, or the weights, cannot be used.
        UserCodeError: the user's data function or model cannot be imported.
        StudyMismatchError: the data are not those that are known.
    """
    torch.set_num_threads(place.threads)
    seen = see_alone(place.device, *place.more) if alone else (place.device, *place.more)
    device = torch.device(seen[0])
    if spec.loop is not None:
        gpus = [torch.device(name).index or 0 for name in seen]
        own_task = open_own_task(spec, device, device_name=place.shown, gpus=gpus)
        own_task.kept.free_bytes = free_bytes
        return own_task
    make_current(device)
    if device.type == "cuda" and place.sharers > 1:
        limit_share(device, 1 / place.sharers)
    if spec.model.kind not in MODELS:
        load_object(spec.model.kind, root=Path(spec.root))
    if spec.model.init_from is not None:
        read_weights(Path(spec.root, spec.model.init_from))
    kept_in, prepared_in = (None, prepared_in) if paths is None else (paths.tables, paths.prepared)
    data = None
    try:
        data = load_training_data(spec, kept_in=kept_in, prepared_in=prepared_in, known=known, pooled=pooled)
        task = Task(spec, data, device, device_name=place.device)
    except Exception as error:
        if device.type == "cuda" and data is not None and is_out_of_memory(error):
            raise DataError(_no_room(data, device, place.device)) from error
        if (asked := memory_error_in(error)) is not None:
            raise DataError(
                no_memory_to_load(spec, num_workers=1, limit=memory_limit(), cause=first_line(asked))
            ) from error
        raise
    if device.type == "cuda":
        _tell_of_others(device, place.device)
    return task


def _no_room(data: TrainingData, device: torch.device, name: str) -> str:
    parts = [part for split in (data.train, data.dev) for part in (split.inputs, split.targets)]
    size = sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
    free, total = (number / _GIB for number in torch.cuda.mem_get_info(device))
    others = held_by_others(device) / _GIB
    return (
        f"the data ({size / _GIB:.2f} GiB) do not fit on {name}: {free:.1f} of its {total:.1f} GiB are free, and other "
        f"processes hold {others:.1f}; end these, choose another device with --devices, or let the examples stay on "
        "disk with data.stream"
    )


def _tell_of_others(device: torch.device, name: str) -> None:
    """Warn where other processes hold much of a GPU: what is slow, or does not fit, has its reason there."""
    total, others = torch.cuda.mem_get_info(device)[1], held_by_others(device)
    if others > _OTHERS_SHARE * total:
        log.warning(
            "other processes hold %.3g of the %.3g GiB of %s: fewer trials train there at a time",
            others / _GIB, total / _GIB, name,
        )  # fmt: skip


def facts_of(task: Task | OwnTask) -> TaskFacts:
    """What the coordinator needs to know of the task."""
    if isinstance(task, OwnTask):
        return TaskFacts(
            metric=task.metric_name,
            direction=task.direction,
            data=task.data_facts,
            device=task.device_name,
            calibration={},
            code=task.code,
        )
    data: Mapping[str, Json] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(task.info).items()
    }
    return TaskFacts(
        metric=task.metric.name,
        direction=task.direction,
        data=data,
        code=task.code,
        weights=weights_sha256(task.spec),
        device=task.device_name,
        calibration=_calibrate(task.device) | _room(task.device),
    )


def write_dev_targets(task: Task | OwnTask, paths: StudyPaths) -> None:
    """Leave the dev targets beside the trials' predictions, for reports that compare the two."""
    if isinstance(task, OwnTask):
        return  # nor does own code leave predictions
    write_targets(task, task.data.dev.targets, paths.dev_targets)
    if task.info.repeats > 1:
        write_array(torch.cat([fold.dev.cpu() for fold in task.folds]), paths.dev_examples)
    else:
        paths.dev_examples.unlink(missing_ok=True)  # of a study of that name before
    write_examples(task.data.dev, rows=paths.dev_rows, images=paths.dev_images, groups=paths.dev_groups)


def write_examples(split: Split, *, rows: Path, images: Path, groups: Path) -> None:
    """Write where examples were read, of images what they show, and the groups that they are in, for a report."""
    _write_groups(split, groups)
    if split.rows is not None:
        write_array(torch.from_numpy(split.rows), rows)
    shape = split.inputs.shape
    if len(shape) == 4 and shape[1] in (1, 3) and not is_streamed(split.inputs) and prod(shape) <= _MOST_PIXELS:
        least, most = split.inputs.amin(dim=(0, 2, 3), keepdim=True), split.inputs.amax(dim=(0, 2, 3), keepdim=True)
        pixels = 255 * (split.inputs - least) / (most - least).clamp(min=1e-12)
        write_array(pixels.round().to(torch.uint8).flatten(1), images)


def _write_groups(split: Split, to: Path) -> None:
    if not split.groupings:
        to.unlink(missing_ok=True)  # of a sweep that asked for some
        return
    with replacing(to) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([grouping.name for grouping in split.groupings])
        writer.writerows(zip(*([g.values[code] for code in g.codes] for g in split.groupings), strict=True))


def write_targets(task: Task, targets: torch.Tensor, to: Path) -> None:
    """Write targets as a reader of predictions wants them: in their own units."""
    if task.info.task == "regression":
        targets = task.predictions(targets)
    if task.info.task == "multi_label":
        targets = targets.to(torch.uint8)  # by which a reader tells labels from numbers
    write_array(targets, to)


def write_array(array: torch.Tensor, to: Path) -> None:
    """Write an array beside its place, and move it there."""
    with replacing(to) as path, path.open("wb") as file:
        np.save(file, array.cpu().numpy())


def _room(device: torch.device) -> dict[str, float]:
    return {"room_bytes": room_bytes(device)} if device.type == "cuda" else {}


def _calibrate(device: torch.device) -> dict[str, float]:
    """Measure the machine for the planner: the cost of a small operation, and the speed of a matrix product."""
    small, square = torch.zeros(64, device=device), torch.ones(128, 128, device=device)
    stack = torch.ones(8, 128, 128, device=device)
    out = torch.empty_like(stack)

    def best_seconds(operation: object, repeats: int) -> float:
        found = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(repeats):
                operation()  # type: ignore[operator]
            wait_for(device)
            found = min(found, (time.perf_counter() - began) / repeats)
        return found

    overhead = best_seconds(lambda: small.mul_(1.0), 200)
    product = best_seconds(lambda: torch.bmm(stack, square.expand(8, 128, 128), out=out), 10)
    return {"overhead_seconds": overhead, "flops_per_second": 8 * 2 * 128**3 / product}
