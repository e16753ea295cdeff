"""An exported network on the dev set: the check that what was written answers as what was ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.data.examples import Examples
from tuner.data.load import load_training_data, read_dev_part
from tuner.errors import TunerError
from tuner.imports import load_object, require
from tuner.models.generators import seed_generators
from tuner.models.packed import trained_weights
from tuner.records import Json, TrainedTrial
from tuner.spec.model import SweepSpec
from tuner.train.after.evaluate import PREDICTION_TOLERANCE, outputs_of
from tuner.train.task import Task


def check_export(
    spec: SweepSpec, trials: Sequence[TrainedTrial], target: Path, *, known: Mapping[str, Json] | None
) -> float | None:
    """Predict the dev examples by an export, and compare with the network that it is of.

    Args:
        spec: The sweep file.
        trials: What it is of: one, or several whose predictions are averaged.
        target: The export: a folder, or a file of ONNX or safetensors.
        known: The facts of the data that the study was trained on.

    Returns:
        The dev metric of the export; None with folds, whose networks are ranked each on its own examples.

    Raises:
        TunerError: the export answers otherwise.
        MissingExtraError: what reads the export is not installed.
    """
    torch.set_num_threads(1)
    task = Task(spec, load_training_data(spec, known=known), torch.device("cpu"))
    dev = task.data.dev
    each = []
    for trial in trials:
        with trained_weights(trial.weights) as found:
            each.append(task.predictions(outputs_of(task, trial.params, found, dev, seed=trial.seed)))
    expected, first = torch.stack(each).mean(dim=0).numpy(), trials[0]
    seed_generators(first.seed, "evaluation", device=task.device)
    if target.suffix == ".safetensors":
        tensors = require("safetensors.torch", extra="safetensors").load_file(str(target))
        outputs = outputs_of(task, first.params, tensors, dev, seed=first.seed)
        predictions = task.predictions(outputs).numpy()
    else:
        predictions = _of_onnx(target, dev.inputs[:]) if target.suffix == ".onnx" else _of_folder(spec, target)
        outputs = _as_outputs(predictions, task)
    apart = float(np.abs(predictions - expected).max())
    if not apart <= PREDICTION_TOLERANCE * float(np.abs(expected).max()):
        raise TunerError(f"the export does not answer as its network does: dev predictions are off by {apart:.3g}")
    if task.folds:
        return None
    return float(np.mean([scores.metric for scores in task.dev_scores(outputs)]))


def _of_onnx(target: Path, inputs: Tensor) -> NDArray[np.float32]:
    runtime = require("onnxruntime", extra="onnx")
    (found,) = runtime.InferenceSession(target).run(None, {"inputs": inputs.numpy()})
    return np.asarray(found)


def _of_folder(spec: SweepSpec, target: Path) -> NDArray[np.float32]:
    """What predict.py makes of raw examples."""
    raw = read_dev_part(spec)
    predict: Any = load_object("predict.py:predict", root=target)
    return np.asarray(predict(_as_rows(raw) if raw.texts else np.asarray(raw.numbers[:])))


def _as_rows(raw: Examples) -> list[dict[str, str]]:
    """A dict of column texts for each example, as a CSV file gives them."""
    numbers, codes = np.asarray(raw.numbers[:]), np.asarray(raw.codes[:])
    rows = [dict(zip(raw.number_names, map(repr, row.tolist()), strict=True)) for row in numbers]
    for row, own in zip(rows, codes, strict=True):
        row |= {
            column.name: column.values[code] if code >= 0 else ""
            for column, code in zip(raw.texts, own.tolist(), strict=True)
        }
    return rows


def _as_outputs(predictions: NDArray[np.float32], task: Task) -> Tensor:
    """What a network would have to give for these predictions."""
    found = torch.from_numpy(predictions.copy())
    tiny = torch.finfo(found.dtype).tiny
    if task.info.task == "classification":
        return found.clamp_min(tiny).log()
    if task.info.task == "multi_label":
        return torch.logit(found)
    return (found - torch.tensor(task.info.target_mean)) / torch.tensor(task.info.target_std)
