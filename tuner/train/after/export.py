"""A trained network for use elsewhere: as safetensors, as ONNX, or as a folder that predicts with torch alone."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from tuner.errors import StorageError, TunerError
from tuner.imports import require
from tuner.models.generators import generators_kept
from tuner.models.packed import trained_weights
from tuner.models.unpacked import MARK
from tuner.records import DataInfo, TrainedTrial
from tuner.spec.model import SweepSpec
from tuner.train.after.export_code import is_own_factory, storing_export, write_code
from tuner.train.after.predictor import mean_predictor, preparation_of
from tuner.train.after.source import standalone_source
from tuner.train.programs.module_state import leaving_no_trace

EXAMPLES = 2
"""In the batch that a network is traced with; any number may be given afterwards."""


def export_safetensors(weights: Path, target: Path) -> None:
    """Write the weights as safetensors.

    Raises:
        MissingExtraError: safetensors is not installed.
        TunerError: there is more to the network than tensors.
        StorageError: the disk does not take it.
    """
    safetensors = require("safetensors.torch", extra="safetensors")
    with trained_weights(weights) as found:
        if others := [name for name, value in found.items() if MARK in name or not isinstance(value, Tensor)]:
            raise TunerError(
                f"the network holds more than tensors ({', '.join(others).replace(MARK, '')}), which safetensors "
                "cannot: take weights.pt, or a folder"
            )
        content = safetensors.save({name: tensor.contiguous() for name, tensor in found.items()})
    with storing_export(target):
        target.write_bytes(content)


def export_onnx(spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, target: Path) -> None:
    """Write an ONNX model from `inputs`, prepared as in training, to `probabilities` or `predictions`.

    Of several trials it gives the mean of their predictions.

    Raises:
        MissingExtraError: the extra `onnx` is not installed.
        TunerError: the network has parts that cannot be exported.
        StorageError: the disk does not take it.
    """
    require("onnxscript", extra="onnx")
    output = "predictions" if info.task == "regression" else "probabilities"
    predictor = mean_predictor(spec, trials, info)
    with _quietly("ONNX"):
        # Traced here: left to itself the exporter fixes the number of examples where it cannot be free.
        program = torch.onnx.export(
            _traced(predictor, info), input_names=["inputs"], output_names=[output], dynamo=True, verbose=False
        )
        assert program is not None
        with storing_export(target):
            program.save(str(target), external_data=False)


def export_folder(spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, folder: Path) -> str | None:
    """Write predict.py and what it needs: network.pt2 and preparation.json, which together need torch and numpy alone.

    A user's network that cannot be traced for any number of examples is written as their own code with the weights;
    an average of several is not.

    Args:
        spec: The sweep.
        trials: What predicts; of several, the mean of their predictions.
        info: The data that they were trained on.
        folder: A new one.

    Returns:
        Why it is the user's own code, or None.

    Raises:
        DataError: the data, whose preparation is measured again, cannot be read.
        StudyMismatchError: they are not those that the network was trained on.
        TunerError: a network that is not the user's has parts that cannot be exported.
        StorageError: the disk does not take it.
    """
    preparation = preparation_of(spec, info)
    cause = None
    predictor = mean_predictor(spec, trials, info)
    try:
        with _quietly("torch.export"):
            program = io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
            torch.export.save(_traced(predictor, info), program)
    except TunerError as error:
        if not is_own_factory(spec) or len(trials) > 1:
            raise
        program, cause = None, str(error)
    with storing_export(folder):
        folder.mkdir(parents=True)
        if program is not None:
            (folder / "network.pt2").write_bytes(program.getbuffer())
        (folder / "preparation.json").write_text(json.dumps(preparation, indent=1), encoding="utf-8")
        (folder / "predict.py").write_text(standalone_source(), encoding="utf-8")
    if program is None:
        (trial,) = trials
        write_code(spec, trial.params, trial.weights, info, folder, seed=trial.seed)
    return cause


def _traced(predictor: nn.Module, info: DataInfo) -> torch.export.ExportedProgram:
    """A program that answers as the network does, also for other numbers of examples than it was traced with.

    Raises:
        ValueError: it does not.
    """
    tried = [torch.rand(count, *info.input_shape, generator=torch.Generator().manual_seed(count)) for count in (1, 5)]
    with generators_kept(), torch.no_grad():
        with leaving_no_trace(predictor):
            expected = [_answer(predictor, inputs) for inputs in tried]
        batch = {0: torch.export.Dim("examples", min=1)}
        program = torch.export.export(predictor, (_example(info),), dynamic_shapes=(batch,))
        found = [_answer(program.module(), inputs) for inputs in tried]
    if not all(
        torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5) for ours, theirs in zip(found, expected, strict=True)
    ):
        raise ValueError("the traced program answers otherwise than the network")
    return program


def _answer(network: nn.Module, inputs: Tensor) -> Tensor:
    torch.manual_seed(0)
    answer: Tensor = network(inputs.clone())
    return answer


def _example(info: DataInfo) -> Tensor:
    return torch.zeros(EXAMPLES, *info.input_shape)


@contextmanager
def _quietly(what: str) -> Iterator[None]:
    """Without the exporters' chatter; what they cannot export is the user's to know, with the whole cause."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except StorageError:
        raise
    except Exception as error:  # a user's code may raise anything where it is traced
        cause = str(error).strip() or type(error).__name__
        if "specialized it to be a constant" in cause:
            cause += "\n(len(x) is the same number for ever where a network is traced; x.shape[0] is not)"
        raise TunerError(f"the network cannot be exported by {what}: {cause}") from error
    finally:
        chatter.setLevel(level)
