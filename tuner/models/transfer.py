"""Transfer learning: weights to start from, and which layers are trained, from when on and at which rate.

A *layer* is what directly holds a weight matrix, with the norms that follow it; the *head* is the last layer, and
every layer that the file did not fill.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tuner.errors import DataError
from tuner.models.exact import TrialBatchNorm
from tuner.models.weights_file import read_weights
from tuner.records import ParamValue
from tuner.spec.defaults import trains_in_parts
from tuner.spec.model import SweepSpec

HEAD = "head"
"""In `model.new_layers`: the last layer, whatever its name."""
_SHOWN = 8
"""Names in a message."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What of a file went into a module."""

    names: tuple[str, ...]
    new: tuple[str, ...]
    """Tensors of the module that keep their own initial values."""
    unused: tuple[str, ...]
    """Tensors of the file that the module has no place for."""

    def __str__(self) -> str:
        new = f"new: {_listed(self.new)}" if self.new else "none is new"
        unused = f"; not used: {_listed(self.unused)}" if self.unused else ""
        return f"{len(self.names)} tensors taken ({_listed(self.names)}); {new}{unused}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """At which share of the learning rate each parameter of a network is trained in each epoch."""

    layers: tuple[tuple[str, ...], ...]
    """Names of the parameters, layer by layer from the input to the output."""
    head: frozenset[str]
    """Parameters that are trained at the full rate."""
    frozen: frozenset[str]
    """Parameters that are never trained."""
    body_factor: float
    trained_layers: int
    """Layers, counted from the output, that are trained from the start."""
    unfreeze_every_epochs: int | None

    def factors(self, epoch: int) -> dict[str, float]:
        """The share of the learning rate of each parameter in an epoch, counted from 0."""
        trained = self.trained_layers
        if self.unfreeze_every_epochs is not None:
            trained += epoch // self.unfreeze_every_epochs
        found: dict[str, float] = {}
        for depth, names in enumerate(reversed(self.layers)):
            for name in names:
                held = name in self.frozen or depth >= trained
                found[name] = 0.0 if held else 1.0 if name in self.head else self.body_factor
        return found


def transfer_of(
    spec: SweepSpec, values: Mapping[str, ParamValue], shapes: Mapping[str, Sequence[int]]
) -> Transfer | None:
    """How a trial's network is trained in parts, or None where all of it is trained alike.

    Args:
        spec: The sweep.
        values: All resolved values of the trial.
        shapes: Of the network's parameters by name, in order, as its module has them.

    Raises:
        DataError: a pattern fits no parameter, or nothing is left to train.
    """
    if not trains_in_parts(spec, values):
        return None
    last, every = values.get("train_last"), values.get("unfreeze_every_epochs")
    layers = layers_of(shapes)
    count = len(layers) if last is None and every is None else int(last or 1)
    never = {n for n in shapes if matches(n, spec.training.freeze)}
    require_matches("training.freeze", spec.training.freeze, shapes)
    if every is None:
        never |= {name for layer in layers[: max(0, len(layers) - count)] for name in layer}
    if never.issuperset(shapes):
        raise DataError("training.freeze leaves nothing to train; name fewer layers")
    head = set(layers[-1])
    if spec.model.init_from is not None:
        taken = set(taken_from_file(spec, shapes).names)
        head |= {name for layer in layers if not taken.issuperset(layer) for name in layer}
    return Transfer(
        layers=layers,
        head=frozenset(head),
        frozen=frozenset(never),
        body_factor=float(values["body_learning_rate_factor"]),
        trained_layers=count,
        unfreeze_every_epochs=None if every is None else int(every),
    )


def layers_of(shapes: Mapping[str, Sequence[int]]) -> tuple[tuple[str, ...], ...]:
    """Parameter names by layer: what owns a matrix begins one, what owns vectors alone belongs to the one before."""
    owners: dict[str, list[str]] = {}
    for name in shapes:
        owners.setdefault(name.rpartition(".")[0], []).append(name)
    layers: list[list[str]] = []
    for names in owners.values():
        if not layers or any(len(shapes[name]) > 1 for name in names):
            layers.append(names)
        else:
            layers[-1].extend(names)
    return tuple(tuple(layer) for layer in layers)


def taken_from_file(spec: SweepSpec, shapes: Mapping[str, Sequence[int]]) -> _Taken:
    """Which tensors of `model.init_from` a network takes.

    The last layer may be missing or of another shape (other classes), and so may what `model.new_layers` names; all
    else must be there in its shape.

    Raises:
        DataError: the file cannot be read, or does not fit.
    """
    assert spec.model.init_from is not None
    path = Path(spec.root, spec.model.init_from)
    file = read_weights(path)
    last = layers_of(shapes)[-1]
    require_matches("model.new_layers", [p for p in spec.model.new_layers if p != HEAD], shapes)
    new = [n for n in shapes if matches(n, spec.model.new_layers) or (HEAD in spec.model.new_layers and n in last)]
    wrong = []
    for name, shape in shapes.items():
        if name in new:
            continue
        problem = None
        if name not in file:
            problem = f"{name} is missing"
        elif tuple(file[name].shape) != tuple(shape):
            problem = f"{name} has shape {tuple(file[name].shape)} in the file and {tuple(shape)} in the network"
        if problem and name in last:
            new.append(name)
        elif problem:
            wrong.append(problem)
    if wrong:
        more = f"; {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(
            f"model.init_from: {path} does not fit model {spec.model.kind}: {'; '.join(wrong[:_SHOWN])}{more}. "
            "Give the network the settings of the one that was saved, or name what is to be drawn anew under "
            "model.new_layers"
        )
    names = tuple(n for n in shapes if n not in new)
    return _Taken(
        names, tuple(n for n in shapes if n in new), tuple(n for n in file if n not in shapes and _is_weight(n))
    )


def load_pretrained(spec: SweepSpec, module: nn.Module) -> _Taken:
    """Copy the weights of `model.init_from` into a module, with the running statistics of the norms that are taken.

    Raises:
        DataError: the file cannot be read, or does not fit.
    """
    assert spec.model.init_from is not None
    taken = taken_from_file(spec, {n: p.shape for n, p in module.named_parameters()})
    file = read_weights(Path(spec.root, spec.model.init_from))
    owners = {name.rpartition(".")[0] for name in taken.new}
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            is_buffer = name not in taken.names and name not in taken.new
            if name in taken.names or (is_buffer and name in file and name.rpartition(".")[0] not in owners):
                tensor.copy_(file[name])
    return taken


def freeze(module: nn.Module, transfer: Transfer) -> None:
    """Freeze the parameters that are never trained, and let the batch norms of frozen layers keep their statistics."""
    for name, parameter in module.named_parameters():
        if name in transfer.frozen:
            parameter.requires_grad_(False)
    for layer in module.modules():
        if type(layer) in _HOLDING:
            layer.__class__ = _HOLDING[type(layer)]
    hold_norms(module, transfer.factors(0))
    module.train(module.training)


def has_norms(module: nn.Module) -> bool:
    """Whether a module that `freeze` has seen has batch norms."""
    return any(isinstance(layer, _Holding) for layer in module.modules())


def make_held_norms_exact(module: nn.Module) -> None:
    """What `models.exact` does to batch norms, for those that `freeze` has seen."""
    for layer in module.modules():
        if type(layer) in _LIBRARYS and layer.momentum is not None:
            layer.__class__ = _HoldingTrialBatchNorm


def hold_norms(module: nn.Module, factors: Mapping[str, float]) -> None:
    """Let each batch norm normalise by its running statistics, and keep them, while its scale is not trained."""
    for name, layer in module.named_modules():
        if isinstance(layer, _Holding):
            weight = f"{name}.weight" if name else "weight"
            layer.held = factors.get(weight, 1.0) == 0.0


class _Holding(nn.Module):
    """A batch norm that stays in evaluation mode while it is held."""

    held: bool = False

    def train(self, mode: bool = True) -> Any:
        return super().train(mode and not self.held)


class _HoldingBatchNorm1d(_Holding, nn.BatchNorm1d):
    pass


class _HoldingBatchNorm2d(_Holding, nn.BatchNorm2d):
    pass


class _HoldingBatchNorm3d(_Holding, nn.BatchNorm3d):
    pass


class _HoldingTrialBatchNorm(_Holding, TrialBatchNorm):
    pass


_HOLDING: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _HoldingBatchNorm1d,
    nn.BatchNorm2d: _HoldingBatchNorm2d,
    nn.BatchNorm3d: _HoldingBatchNorm3d,
    TrialBatchNorm: _HoldingTrialBatchNorm,
}
_LIBRARYS = (_HoldingBatchNorm1d, _HoldingBatchNorm2d, _HoldingBatchNorm3d)


def _is_weight(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def matches(name: str, patterns: Collection[str]) -> bool:
    """Whether a pattern such as `layers.0.*`, or the name of what holds the parameter, fits."""
    return any(fnmatchcase(name, pattern) or name.startswith(f"{pattern}.") for pattern in patterns)


def require_matches(key: str, patterns: Collection[str], shapes: Mapping[str, Sequence[int]]) -> None:
    """Make sure that each pattern fits a parameter.

    Raises:
        DataError: one does not.
    """
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in shapes):
            raise DataError(f"{key}: no parameter is called {pattern}; the network has {_listed(list(shapes))}")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
