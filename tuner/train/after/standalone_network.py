"""The network of this folder: your own code in `code/`, with the weights in weights.pt and the values in network.json.

It needs torch, numpy, and what your code imports.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tuner.models.unpacked import load_trained, read_trained

HERE = Path(__file__).parent
CODE = HERE / "code"


def load() -> Callable[[Tensor], Tensor]:
    """From prepared inputs to probabilities of classes or labels, or to targets in their own units."""
    known = json.loads((HERE / "network.json").read_text(encoding="utf-8"))
    weights = read_trained(HERE / "weights.pt")
    prefixes = [f"fold{fold}." for fold in range(known["data"]["folds"])] or [""]
    parts = [{n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)} for prefix in prefixes]
    networks = [_network(known, own) for own in parts]
    return lambda inputs: torch.stack([_predictions(network, inputs.clone(), known) for network in networks]).mean(0)


def _network(known: Mapping[str, Any], weights: Mapping[str, Any]) -> nn.Module:
    facts = _with_tuples(known["data"])
    factory = _factory(known["model"], known["places"])
    whole = {"params": dict(known["values"]), "data": SimpleNamespace(**facts)}
    module: nn.Module
    if known["arguments"] is None:
        module = factory(*whole.values())
    else:  # a LightningModule's, by name
        module = factory(**{name: whole.get(name, value) for name, value in _with_tuples(known["arguments"]).items()})
    if groups := known["inputs"]:
        module.register_forward_pre_hook(lambda own, args, _: _grouped(own, args, groups), with_kwargs=True)
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        with torch.no_grad():
            module.eval()(torch.zeros(2, *facts["input_shape"]))
    load_trained(module.train(), weights)
    return module.eval()


def _factory(model: str, places: list[str]) -> Callable[..., nn.Module]:
    """What builds the module; its file finds its neighbours by their bare names."""
    module_name, _, name = model.rpartition(":")
    file = CODE / module_name
    is_file = module_name.endswith(".py")
    folders = [str(folder) for folder in ([file.parent] if is_file else []) + [CODE / place for place in places]]
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    if not is_file:
        module = importlib.import_module(module_name)
    else:
        spec = importlib.util.spec_from_file_location(f"exported_{file.stem}_{abs(hash(file))}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    factory: Callable[..., nn.Module] = getattr(module, name)
    return factory


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """As they were before they were JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _grouped(
    module: nn.Module, args: tuple[Any, ...], groups: Mapping[str, list[int]]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The columns of each group in the place of all inputs: by the names of forward's arguments, or in their order."""
    parts = {name: args[0][:, places] for name, places in groups.items()}
    by_name = groups.keys() <= inspect.signature(module.forward).parameters.keys()
    return ((), parts) if by_name else (tuple(parts.values()), {})


def _predictions(network: nn.Module, inputs: Tensor, known: Mapping[str, Any]) -> Tensor:
    outputs = network(inputs)
    part = known["outputs"]
    if part is not None and not isinstance(outputs, Tensor):
        is_item = isinstance(part, int) or isinstance(outputs, Mapping)
        outputs = outputs[part] if is_item else getattr(outputs, part)
    data = known["data"]
    outputs = outputs.float().reshape(len(inputs), data["num_outputs"])
    if data["task"] == "classification":
        return outputs.softmax(dim=1)  # type: ignore[no-any-return]
    if data["task"] == "multi_label":
        return outputs.sigmoid()  # type: ignore[no-any-return]
    return outputs * torch.tensor(data["target_std"]) + torch.tensor(data["target_mean"])  # type: ignore[no-any-return]
