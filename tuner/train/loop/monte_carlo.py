"""Monte Carlo dropout: predictions with dropout on, averaged over passes (Gal and Ghahramani, arXiv 1506.02142)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.ensemble import parted_weights
from tuner.models.generators import generators_kept, seed_generators
from tuner.models.keyed import step_keys
from tuner.models.layers.dropout import KeyedDropout
from tuner.models.unpacked import load_trained
from tuner.records import Json, TaskKind
from tuner.train.program import Member, copied_chunks
from tuner.train.task import Task

_PURPOSE = "monte carlo"
_LEAST = 1e-30
"""A probability that counts as none: its logarithm is a number of float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MonteCarlo:
    """What averaging over passes makes of the dev set."""

    outputs: Tensor
    """Those whose predictions are the mean predictions, shape (dev examples, outputs)."""
    facts: Mapping[str, Json]
    """`passes`, the dev `metric` and `loss`, the `seconds` of all passes, and `seconds_once` of one without dropout."""


@torch.no_grad()
def monte_carlo(task: Task, member: Member, weights: Mapping[str, Tensor], *, passes: int) -> MonteCarlo | None:
    """Predict the dev set by these weights with dropout on, several times; None if the module drops nothing.

    Args:
        task: With the dev set.
        member: The trial.
        weights: Of its module.
        passes: To average over.
    """
    parts = [(member, weights, task.data.dev.inputs)]
    if task.folds:
        own = zip(member.folds, parted_weights(weights, folds=len(task.folds)), task.folds, strict=True)
        parts = [(one, part, task.data.train.inputs[fold.dev]) for one, part, fold in own]
    found, seconds, seconds_once = [], 0.0, 0.0
    for one, part, inputs in parts:
        with generators_kept():
            module = one.make_module().to(task.device)
            load_trained(module, part)
            module.eval()
            layers = dropping(module)
            if not layers:
                return None
            begun = perf_counter()
            _outputs(module, inputs, task.info.num_outputs)
            seconds_once += perf_counter() - begun
            begun = perf_counter()
            found.append(_log_mean(task.info.task, _passes(module, layers, inputs, one.seed, task, passes=passes)))
            seconds += perf_counter() - begun
    outputs = torch.cat(found)
    scores = task.dev_scores(outputs)
    return MonteCarlo(
        outputs=outputs,
        facts={
            "passes": passes,
            "metric": float(np.mean([s.metric[0] for s in scores])),
            "loss": float(np.mean([s.loss[0] for s in scores])),
            "seconds": seconds,
            "seconds_once": seconds_once,
        },
    )


def dropping(module: nn.Module) -> list[nn.Module]:
    """What of a module drops units, in order: its dropout layers, and layers that drop in their own forward."""
    return [layer for layer in module.modules() if _rate_is_set(layer)]


def _rate_is_set(layer: nn.Module) -> bool:
    if isinstance(layer, KeyedDropout):
        return float(layer.scale) != 1.0
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return layer.p > 0
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase):
        return layer.dropout > 0
    # In evaluation it computes all of itself at once, whatever its dropout layers are told.
    return isinstance(layer, nn.TransformerEncoderLayer) and layer.dropout.p > 0


def _passes(
    module: nn.Module, layers: Sequence[nn.Module], inputs: Tensor, seed: int, task: Task, *, passes: int
) -> Iterator[Tensor]:
    """The outputs of each pass."""
    for _ in dropout_passes(layers, seed=seed, numbers=range(passes), device=task.device):
        yield _outputs(module, inputs, task.info.num_outputs)


def dropout_passes(layers: Sequence[nn.Module], *, seed: int, numbers: range, device: torch.device) -> Iterator[int]:
    """Let these layers of `dropping` drop units, in each pass others, which the seed and the pass's number choose."""
    keyed = [layer for layer in layers if isinstance(layer, KeyedDropout)]
    places = np.arange(numbers.start * len(keyed), numbers.stop * len(keyed)).reshape(len(numbers), len(keyed))
    keys = step_keys([seed], _PURPOSE, places)
    for layer in layers:
        layer.training = True  # itself alone: a norm within it stays in evaluation
    try:
        for number, own in zip(numbers, keys.tolist(), strict=True):
            for layer, key in zip(keyed, own, strict=True):
                layer.start_step(key)
            seed_generators(seed, _PURPOSE, number, device=device)
            yield number
    finally:
        for layer in layers:
            layer.training = False


def _outputs(module: nn.Module, inputs: Tensor, num_outputs: int) -> Tensor:
    """The module's outputs, computed when this returns, on a GPU too."""
    found = torch.cat([module(chunk) for chunk in copied_chunks(inputs)]).view(len(inputs), num_outputs).float()
    found.sum().item()
    return found


def _log_mean(task: TaskKind, passes: Iterable[Tensor]) -> Tensor:
    """Outputs that give the mean of the predictions: probabilities are averaged, not their logits."""
    match task:
        case "classification":
            return _mean(torch.softmax(z.double(), dim=-1) for z in passes).clamp_min(_LEAST).log().float()
        case "multi_label":
            return torch.logit(_mean(torch.sigmoid(z.double()) for z in passes), eps=_LEAST).float()
        case _:
            return _mean(z.double() for z in passes).float()


def _mean(values: Iterable[Tensor]) -> Tensor:
    count, total = 0, torch.zeros(())
    for value in values:
        count, total = count + 1, total.to(value) + value
    return total / count
