"""A trained network for use elsewhere: as safetensors, as ONNX, or as a folder that predicts with torch alone."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from tuner.data.load import measure_training_part
from tuner.errors import TunerError
from tuner.imports import require
from tuner.models.ensemble import load_network
from tuner.models.packed import MARK, trained_weights
from tuner.records import DataInfo, Params
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.train import standalone

EXAMPLES = 2
"""In the batch that a network is traced with; any number may be given afterwards."""


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
        match self.task:
            case "classification":
                return outputs.softmax(dim=1)
            case "multi_label":
                return outputs.sigmoid()
            case _:
                return outputs * self.std + self.mean


def export_safetensors(weights: Path, target: Path) -> None:
    """Write the weights as safetensors.

    Raises:
        MissingExtraError: safetensors is not installed.
        TunerError: there is more to the network than tensors.
    """
    safetensors = require("safetensors.torch", extra="safetensors")
    with trained_weights(weights) as found:
        if others := [name for name, value in found.items() if MARK in name or not isinstance(value, Tensor)]:
            raise TunerError(
                f"the network holds more than tensors ({', '.join(others).replace(MARK, '')}), which safetensors "
                "cannot: take weights.pt, or a folder"
            )
        safetensors.save_file({name: tensor.contiguous() for name, tensor in found.items()}, str(target))


def export_onnx(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, target: Path) -> None:
    """Write an ONNX model from `inputs`, prepared as in training, to `probabilities` or `predictions`.

    Raises:
        MissingExtraError: the extra `onnx` is not installed.
        TunerError: the network has parts that cannot be exported.
    """
    require("onnxscript", extra="onnx")
    output = "predictions" if info.task == "regression" else "probabilities"
    with _quietly("ONNX"):
        program = torch.onnx.export(
            _predictor(spec, params, weights, info),
            (_example(info),),
            input_names=["inputs"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("examples", min=1)},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(target), external_data=False)


def export_folder(spec: SweepSpec, params: Params, weights: Path, info: DataInfo, folder: Path) -> None:
    """Write network.pt2, preparation.json and predict.py, which together need torch and numpy alone.

    Raises:
        DataError: the data, whose preparation is measured again, cannot be read.
        StudyMismatchError: they are not those that the network was trained on.
        TunerError: the network has parts that cannot be exported.
    """
    preparation = _preparation(spec, info)
    folder.mkdir(parents=True, exist_ok=True)
    with _quietly("torch.export"):
        program = torch.export.export(
            _predictor(spec, params, weights, info),
            (_example(info),),
            dynamic_shapes=({0: torch.export.Dim("examples", min=1)},),
        )
        torch.export.save(program, folder / "network.pt2")
    (folder / "preparation.json").write_text(json.dumps(preparation, indent=1), encoding="utf-8")
    shutil.copyfile(str(standalone.__file__), folder / "predict.py")


def _predictor(spec: SweepSpec, params: Params, weights: Path, info: DataInfo) -> Predictor:
    with trained_weights(weights) as found:
        return Predictor(load_network(spec, settings_for(spec, params), info, found), info).eval()


def _example(info: DataInfo) -> Tensor:
    return torch.zeros(EXAMPLES, *info.input_shape)


def _preparation(spec: SweepSpec, info: DataInfo) -> dict[str, object]:
    """What was measured on the training part, as JSON."""
    train, found = measure_training_part(spec, known=asdict(info))
    return {
        "task": info.task,
        "shape": list(train.numbers.shape[1:]),
        "bytes": str(train.numbers.dtype) == "uint8" and train.numbers.ndim >= 4,
        "names": list(train.number_names),
        "mean": found.mean.tolist(),
        "std": found.std.tolist(),
        "constant": found.constant.tolist(),
        "normalise": found.normalise,
        "marked": list(found.marked),
        "texts": [
            {"name": column.name, "values": list(values), "marked": marked}
            for column, values, marked in zip(train.texts, found.categories, found.texts_marked, strict=True)
        ],
        "outputs": list(info.class_names or info.target_names),
    }


@contextmanager
def _quietly(what: str) -> Iterator[None]:
    """Without the exporters' chatter; what they cannot export is the user's to know in one line."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (RuntimeError, TypeError, ValueError, torch._dynamo.exc.Unsupported) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TunerError(f"the network cannot be exported by {what}: {first}") from error
    finally:
        chatter.setLevel(level)
