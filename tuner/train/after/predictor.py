"""What predicts new raw examples: the network, and what was measured on the training part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from tuner.data.column_kinds import DATE_PARTS
from tuner.data.load import measure_training_part
from tuner.errors import UsageError
from tuner.models.ensemble import load_network
from tuner.models.generators import generators_kept
from tuner.models.packed import trained_weights
from tuner.records import DataInfo, Params, TrainedTrial
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.train.loop.monte_carlo import dropout_passes, dropping
from tuner.train.measure.predictions import predictions_of


class Predictor(nn.Module):
    """A network from prepared inputs to probabilities of classes or labels, or to targets in their own units."""

    def __init__(self, network: nn.Module, info: DataInfo) -> None:
        super().__init__()
        self.network = network
        self.task = info.task
        self.num_outputs = info.num_outputs
        self.std: Tensor
        self.mean: Tensor
        self.register_buffer("std", torch.tensor(info.target_std))
        self.register_buffer("mean", torch.tensor(info.target_mean))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(inputs).reshape(-1, self.num_outputs)
        return predictions_of(outputs, task=self.task, mean=self.mean, std=self.std)


class MonteCarloPredictor(nn.Module):
    """The mean of a predictor's answers over passes with dropout on (Gal and Ghahramani, arXiv 1506.02142)."""

    def __init__(self, predictor: Predictor, *, passes: int, seed: int) -> None:
        """Find the layers that drop units.

        Args:
            predictor: Of a trial.
            passes: To average over; other masks in each, and other ones for each chunk of examples.
            seed: Of the trial.

        Raises:
            UsageError: the network drops nothing.
        """
        super().__init__()
        self.predictor, self._layers = predictor, dropping(predictor)
        self._passes, self._seed, self._done = passes, seed, 0
        if not self._layers:
            raise UsageError(
                "the trial's network has no dropout, so that all passes are alike; leave --monte-carlo-passes out, or "
                "choose a trial with dropout (--trial)"
            )

    def forward(self, inputs: Tensor) -> Tensor:
        numbers = range(self._done, self._done + self._passes)
        self._done = numbers.stop
        with generators_kept():
            passes = dropout_passes(self._layers, seed=self._seed, numbers=numbers, device=inputs.device)
            return torch.stack([self.predictor(inputs).double() for _ in passes]).mean(0)


class _Average(nn.Module):
    """The mean of what several predictors say."""

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        super().__init__()
        self.predictors = nn.ModuleList(predictors)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.stack([predictor(inputs) for predictor in self.predictors]).mean(dim=0)


def mean_predictor(spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, *, passes: int = 0) -> nn.Module:
    """What predicts by one trial, or by the mean of the predictions of several.

    Args:
        spec: The sweep.
        trials: One or more.
        info: The data that they were trained on.
        passes: With dropout on, that a single trial's predictions are the mean of; 0 for the usual ones.

    Raises:
        StorageError: weights are damaged, or are not those of the network.
        UsageError: passes are asked for, and the network drops nothing.
    """
    found = [predictor_of(spec, trial.params, trial.weights, info, seed=trial.seed) for trial in trials]
    if len(found) > 1:
        return _Average(found).eval()
    return MonteCarloPredictor(found[0], passes=passes, seed=trials[0].seed) if passes else found[0]


def predictor_of(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, *, seed: int) -> Predictor:
    """The predictor of a trial, with its weights of a file.

    Raises:
        StorageError: the file is damaged, or its tensors are not those of the network.
    """
    with trained_weights(weights) as found:
        return Predictor(load_network(spec, settings_for(spec, params), info, found, seed=seed), info).eval()


def preparation_of(spec: SweepSpec, info: DataInfo) -> dict[str, object]:
    """What was measured on the training part, as JSON: what `standalone_inputs.py` prepares new examples by.

    Raises:
        DataError: the data cannot be read.
        StudyMismatchError: they are not those that are known.
    """
    train, found = measure_training_part(spec, known=asdict(info))
    said = {c.name for c in train.texts if any(fnmatchcase(c.name, pattern) for pattern in spec.data.categorical)}
    parts = {name.rpartition(".")[0] for name in train.number_names if name.endswith(f".{DATE_PARTS[0]}")}
    names = [*train.number_names, *(column.name for column in train.texts), *train.target_names]
    return {
        "task": info.task,
        "shape": list(train.numbers.shape[1:]),
        "bytes": str(train.numbers.dtype) == "uint8" and train.numbers.ndim >= 4,
        "names": list(train.number_names),
        "mean": found.mean.tolist(),
        "std": found.std.tolist(),
        "constant": found.constant.tolist(),
        "normalise": found.normalise,
        "curves": [[curve.at, curve.become] for curve in found.curves],
        "marked": list(found.marked),
        "texts": [
            {"name": column.name, "values": list(values), "marked": marked, "whole": column.name in said}
            for column, values, marked in zip(train.texts, found.categories, found.texts_marked, strict=True)
        ],
        "dates": sorted(parts) if spec.data.dates == "expand" else [],
        "headerless": all(re.fullmatch(r"column_\d+(\.\w+)?", name) for name in names) and bool(names),
        "left_out": list(train.left_out),
        "image_size": spec.data.image_size,
        "outputs": list(info.class_names or info.target_names),
    }
