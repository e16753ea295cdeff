"""The networks of a cross-validated trial as one: its answer is the mean of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tuner.models.build import build_module
from tuner.models.keyed import key
from tuner.models.unpacked import load_trained
from tuner.records import DataInfo, ParamValue
from tuner.spec.model import SweepSpec

_FOLD = "fold{}."


class FoldEnsemble(nn.Module):
    """Networks of the same kind; the mean of their probabilities, or of their predictions."""

    def __init__(self, networks: Sequence[nn.Module], task: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.task = task

    def forward(self, inputs: Tensor) -> Tensor:
        return mean_outputs(torch.stack([network(inputs).flatten(1) for network in self.networks]), self.task)


def mean_outputs(outputs: Tensor, task: str) -> Tensor:
    """The outputs (networks, examples, outputs) of several networks as those of one, whose answer is the mean."""
    if task == "classification":
        return torch.logsumexp(outputs.log_softmax(dim=-1), dim=0)  # softmax of these is the mean probability
    if task == "multi_label":
        return torch.logit(outputs.sigmoid().mean(dim=0), eps=1e-7)
    return outputs.mean(dim=0)


def joined_weights(of_folds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of the folds' networks as one state dict."""
    return {f"{_FOLD.format(f)}{name}": t for f, weights in enumerate(of_folds) for name, t in weights.items()}


def parted_weights(weights: Mapping[str, Tensor], *, folds: int) -> list[dict[str, Tensor]]:
    """The inverse of `joined_weights`."""
    prefixes = [_FOLD.format(f) for f in range(folds)]
    return [{n.removeprefix(p): t for n, t in weights.items() if n.startswith(p)} for p in prefixes]


def fold_seed(seed: int, fold: int) -> int:
    """The seed of the network of one fold of a trial."""
    return key(seed, "fold", fold)


def load_network(
    spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo, weights: Mapping[str, Tensor], *, seed: int
) -> nn.Module:
    """A trial's trained network in evaluation mode: a `FoldEnsemble` where there are folds.

    Args:
        spec: The sweep.
        values: All resolved values of the trial.
        info: The data that it is for.
        weights: As the trial left them.
        seed: Of the trial: what a module draws as it is built, and no state dict has, is then as it was.

    Raises:
        OtherNetworkError: the weights are not those of this network.
    """
    if not info.folds:
        module = build_module(spec, values, info, seed=seed, pretrained=False)
        load_trained(module, weights)
        return module.eval()
    networks = []
    for fold, own in enumerate(parted_weights(weights, folds=info.folds)):
        networks.append(build_module(spec, values, info, seed=fold_seed(seed, fold), pretrained=False))
        load_trained(networks[-1], own)
    return FoldEnsemble(networks, info.task).eval()
