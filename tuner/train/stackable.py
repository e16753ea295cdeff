"""Whether users' modules can be trained as one: `torch.func` sees their tensors and nothing else.

A stack runs the code of one module with the tensors of all. So the modules must agree in everything else that they
hold: their structure, and the numbers, words and functions that they keep as plain attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from types import FunctionType

import torch
from torch import Tensor, nn

from tuner.models.dropout import KeyedDropout

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def difference(modules: Sequence[nn.Module]) -> str | None:
    """What modules differ in besides their parameters and buffers, or None."""
    first = modules[0]
    for other in modules[1:]:
        if found := _difference(first, other):
            return found
    return None


def _difference(first: nn.Module, other: nn.Module) -> str | None:
    for (name, a), (other_name, b) in zip_longest(first.named_modules(), other.named_modules(), fillvalue=("", None)):
        if name != other_name or type(a) is not type(b) or a is None or b is None:
            where = name or other_name or "the top"
            if type(a).__qualname__ == type(b).__qualname__:
                return (
                    f"each module has a class {type(a).__name__} of its own, at {where}: define it outside the factory"
                )
            return f"modules of the same shape key differ in structure, at {where}"
        mine, theirs = _own_attributes(a), _own_attributes(b)
        for attribute in sorted(mine.keys() | theirs.keys()):
            if not _same(mine.get(attribute), theirs.get(attribute)):
                where = f"{name}.{attribute}" if name else attribute
                return f"modules keep different values in {where}, which is no parameter or buffer"
        shapes = [[(n, t.shape, t.requires_grad) for n, t in m.named_parameters(recurse=False)] for m in (a, b)]
        if shapes[0] != shapes[1]:
            return f"modules of the same shape key differ in their parameters, at {name or 'the top'}"
    return None


def _own_attributes(module: nn.Module) -> Mapping[str, object]:
    if isinstance(module, KeyedDropout):
        return {}  # it counts its calls, and differs in nothing else
    return {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}


def _same(a: object, b: object) -> bool:
    """Whether two attributes have one value; False in doubt."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        return _difference(a, b) is None
    if isinstance(a, FunctionType) and isinstance(b, FunctionType):
        return a.__code__ is b.__code__ and _same(_captured(a), _captured(b))
    if isinstance(a, bool | int | float | complex | str | bytes | frozenset | set | torch.Size | torch.dtype):
        return a == b
    attributes = [vars(value) for value in (a, b) if hasattr(value, "__dict__")]
    return len(attributes) == 2 and _same(*attributes)


def _captured(function: FunctionType) -> list[object]:
    """What a function made in a factory remembers of it."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return [cells, function.__defaults__, function.__kwdefaults__]
