"""From a sweep's `model:` and one trial's values to its network: built in, or the user's factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from tuner.errors import UserCodeError
from tuner.imports import load_object
from tuner.models.adapted import adapt
from tuner.models.cnn import image_shape
from tuner.models.generators import generators_kept, seed_generators
from tuner.models.layers.dropout import dropout_rates, keyed_dropouts
from tuner.models.lightning import build_by_signature, is_lightning
from tuner.models.module import draw_weights, initial_values, load_values, module_shapes, to_module
from tuner.models.network import Network
from tuner.models.rewritten import rewritten
from tuner.models.sequences import sequence_shape
from tuner.models.tabular import row_shape
from tuner.models.transfer import Transfer, freeze, load_pretrained, transfer_of
from tuner.records import DataInfo, ParamValue
from tuner.spec.by_layer import by_layer
from tuner.spec.defaults import trains_in_parts
from tuner.spec.known.networks import DESCRIBED, MODELS
from tuner.spec.model import SweepSpec

_SHAPES: Mapping[str, Callable[..., tuple[int, ...]]] = {
    "images": image_shape,
    "sequences": sequence_shape,
    "tables": row_shape,
}


def check_inputs(spec: SweepSpec, info: DataInfo) -> None:
    """Check that a built-in model can take examples of this shape.

    Raises:
        DataError: it is for images, sequences or tables, and these are none.
    """
    for kind in spec.model.kinds:
        if kind in MODELS and (shape_of := _SHAPES.get(MODELS[kind].examples)) is not None:
            shape_of(info.input_shape, model=kind)


def _builtin(kind: str) -> Callable[..., Network | nn.Module]:
    module, _, name = MODELS[kind].place.partition(":")
    found: Callable[..., Network | nn.Module] = getattr(import_module(module), name)
    return found


def network_of(spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo) -> Network | None:
    """The description of a built-in network, None for a user's factory.

    Args:
        spec: The sweep.
        values: All resolved values of the trial.
        info: The data that it is for.
    """
    kind = spec.model.kind_in(values)
    if kind not in DESCRIBED:
        return None
    of_table = {"num_numbers": info.num_numbers} if MODELS[kind].examples == "tables" else {}
    network = _builtin(kind)(values, input_shape=info.input_shape, num_outputs=info.num_outputs, **of_table)
    assert isinstance(network, Network)
    return network


def build_module(
    spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo, *, seed: int, pretrained: bool = True
) -> nn.Module:
    """A trial's module with its initial weights; the same for the same arguments.

    Where the sweep asks for it, the weights are those of `model.init_from` and parts are frozen (`models.transfer`);
    not so with `pretrained=False`, for a module that stored weights go into.

    Dropout layers of a built-in network are `KeyedDropout` at the trial's rate. A user's module is as its factory made
    it, with PyTorch's, NumPy's and Python's generators seeded for the trial.

    Raises:
        UserCodeError: the factory cannot be imported, raises, or returns no module.
        DataError: `model.init_from` cannot be read, or does not fit.
    """
    module = _initialised(spec, values, info, seed=seed)
    if pretrained:
        if spec.model.init_from is not None:
            load_pretrained(spec, module)
        transfer = transfer_of(spec, values, {name: p.shape for name, p in module.named_parameters()})
        if transfer is not None:
            freeze(module, transfer)
    return module


class Maker:
    """Builds a trial's module anew at each call; one that was only looked at is what the next call returns."""

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self._build = build
        self._seen: nn.Module | None = None
        self._num_parameters: int | None = None

    def __call__(self) -> nn.Module:
        module, self._seen = self.look(), None
        return module

    def look(self) -> nn.Module:
        """The module, which must not be changed."""
        if self._seen is None:
            self._seen = self._build()
            self._num_parameters = sum(p.numel() for p in self._seen.parameters())
        return self._seen

    @property
    def num_parameters(self) -> int:
        """Trainable and frozen ones, for which nothing is built again."""
        if self._num_parameters is None:
            self.look()
        assert self._num_parameters is not None
        return self._num_parameters


def transfer_for(
    spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo, network: Network | None
) -> Transfer | None:
    """How a trial's network, described or a module, is trained in parts; None where it is not."""
    if not trains_in_parts(spec, values):
        return None
    return transfer_of(spec, values, parameter_shapes(spec, values, info, network))


def parameter_shapes(
    spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo, network: Network | None
) -> Mapping[str, Sequence[int]]:
    """The shapes of the parameters of a trial's network, described or a module, by name."""
    if network is not None:
        return module_shapes(network)
    module = build_module(spec, values, info, seed=0, pretrained=False)
    return {name: p.shape for name, p in module.named_parameters()}


def _initialised(spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo, *, seed: int) -> nn.Module:
    network = network_of(spec, values, info)
    if network is not None:
        module = to_module(network, dropout=_dropout_rates(values, network.num_dropouts))
        load_values(module, network, initial_values(network, seed=seed, init=str(values["init"])))
        return module
    with generators_kept():
        seed_generators(seed, "init", device=torch.device("cpu"))
        made = adapt(_made(spec, values, info), spec, info)
    if spec.model.kind in MODELS:
        made = rewritten(made, torch.device("cpu"))
        dropouts = keyed_dropouts(made)
        for dropout, rate in zip(dropouts, _dropout_rates(values, len(dropouts)), strict=True):
            dropout.set_rate(rate)
    return made


def _dropout_rates(values: Mapping[str, ParamValue], num_layers: int) -> tuple[float, ...]:
    """The rate of each dropout layer of a built-in model."""
    last = values.get("dropout_last")
    if listed := by_layer(values["dropout"]):
        return dropout_rates(max(listed), None, num_layers, listed=listed)
    return dropout_rates(float(values["dropout"]), None if last is None else float(last), num_layers)


def _made(spec: SweepSpec, values: Mapping[str, ParamValue], info: DataInfo) -> nn.Module:
    """A module that is no description, with weights drawn from the library's generator."""
    if spec.model.kind in MODELS:
        module = _builtin(spec.model.kind_in(values))(
            values, input_shape=info.input_shape, num_outputs=info.num_outputs
        )
        assert isinstance(module, nn.Module)
        draw_weights(module, init=str(values["init"]))
        return module
    factory = load_object(spec.model.kind, root=Path(spec.root))
    if not callable(factory):
        raise UserCodeError(f"{spec.model.kind} is no function; a model is a function (params, data) -> nn.Module")
    if isinstance(factory, type) and is_lightning(factory):
        return build_by_signature(factory, values, info, spec=spec)
    made = factory(dict(values), info)
    if not isinstance(made, nn.Module):
        raise UserCodeError(f"{spec.model.kind} returned {type(made).__name__}; it must return an nn.Module")
    return made
