"""What lies between a user's module and a batch: inputs in groups, outputs by name, lazy layers.

These are hooks of the module, so that nothing in it is replaced, and its state dict is its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tuner.errors import UserCodeError
from tuner.records import DataInfo
from tuner.spec.model import SweepSpec

EXAMPLES = 2
"""In the batch that lazy layers are shaped by."""


def adapt(module: nn.Module, spec: SweepSpec, info: DataInfo) -> nn.Module:
    """Give a module its inputs in the groups, and take of its outputs the part, that the sweep file names.

    Raises:
        UserCodeError: a group names no column.
    """
    if spec.data.inputs:
        groups = {name: columns_of(patterns, info, group=name) for name, patterns in spec.data.inputs.items()}
        by_name = groups.keys() <= inspect.signature(module.forward).parameters.keys()
        module.register_forward_pre_hook(partial(_grouped, groups, by_name), with_kwargs=True)
    if spec.model.outputs is not None:
        module.register_forward_hook(partial(_part, spec.model.outputs))
    if any(is_lazy(parameter) for parameter in (*module.parameters(), *module.buffers())):
        _shape_lazy_layers(module, info)
    return module


def columns_of(patterns: Sequence[str], info: DataInfo, *, group: str) -> list[int]:
    """The places of prepared inputs that patterns name; a column of categories has a place for each.

    Raises:
        UserCodeError: a pattern names none.
    """
    names = info.feature_names
    found: list[int] = []
    for pattern in patterns:
        own = [i for i, name in enumerate(names) if fnmatchcase(name, pattern) or fnmatchcase(_column(name), pattern)]
        if not own:
            known = ", ".join(dict.fromkeys(map(_column, names))) or "the inputs have no names"
            raise UserCodeError(f'data.inputs.{group}: "{pattern}" names no input; there are: {known}')
        found += [place for place in own if place not in found]
    return found


def _column(name: str) -> str:
    """The column of the table that an input was made of."""
    return name.partition("=")[0].removesuffix(" missing")


def _grouped(
    groups: Mapping[str, list[int]], by_name: bool, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if len(args) != 1 or kwargs:
        return None
    parts = {name: args[0][:, places] for name, places in groups.items()}
    return ((), parts) if by_name else (tuple(parts.values()), {})


def _part(name: str | int, module: nn.Module, args: object, outputs: Any) -> Any:
    """The named entry of a mapping, attribute of an object, or place of a tuple."""
    if isinstance(outputs, Tensor):
        return outputs
    try:
        if isinstance(name, int) or isinstance(outputs, Mapping):
            return outputs[name]
        return getattr(outputs, name)
    except (KeyError, IndexError, AttributeError, TypeError):
        raise UserCodeError(f"model.outputs: there is no {name} in what forward returns: {parts_of(outputs)}") from None


def parts_of(outputs: object) -> str:
    """What a forward returns, in words: the names or places that `model.outputs` may say."""
    if isinstance(outputs, Mapping):
        return f"a mapping with {', '.join(map(str, outputs))}"
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return f"a tuple with {', '.join(outputs._fields)}"
    if isinstance(outputs, tuple | list):
        return f"a {type(outputs).__name__} of {len(outputs)}, from 0 on"
    return type(outputs).__name__


@torch.no_grad()
def _shape_lazy_layers(module: nn.Module, info: DataInfo) -> None:
    """A first batch tells lazy layers their shapes; their weights are then drawn as they are built."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()(torch.zeros(EXAMPLES, *info.input_shape))
    finally:
        for part, training in modes:
            part.training = training
