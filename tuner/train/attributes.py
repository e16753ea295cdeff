"""What a module holds besides its parameters and buffers, as values that can be compared and hashed.

These are the plain attributes of a module and its parts: numbers, words, collections, functions with what they
remember, generators, objects of other classes. A stack of modules sees them once for all, and a recorded step never
again; so they must be known to be alike, and to stay as they are.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Set
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.dropout import KeyedDropout

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_MOST_DEEP = 12
"""So many values within values are looked into."""

Seen = frozenset[int]


def attributes_of(module: nn.Module) -> dict[str, Hashable]:
    """The plain attributes of a module and of its parts, by their dotted names."""
    found: dict[str, Hashable] = {}
    for name, part in module.named_modules():
        found |= {f"{name}.{own}".lstrip("."): value for own, value in own_attributes(part)}
    return found


def own_attributes(module: nn.Module, seen: Seen = frozenset()) -> Iterator[tuple[str, Hashable]]:
    """Those of one module, without its parts."""
    if isinstance(module, KeyedDropout):
        return  # it counts its calls, and differs in nothing else
    for name, value in vars(module).items():
        if name not in _OF_EVERY_MODULE or (name in _HOOKS and value):
            yield name, frozen([*value.values()] if name in _HOOKS else value, seen | {id(module)})


def structure_of(module: nn.Module) -> Hashable:
    """The kinds of a module's parts and the shapes of its tensors."""
    return tuple((name, type(part), tensors_of(part)) for name, part in module.named_modules())


def tensors_of(module: nn.Module) -> Hashable:
    """The names, shapes and kinds of a module's own parameters and buffers."""
    parameters = [(n, p.shape, p.dtype, p.requires_grad) for n, p in module.named_parameters(recurse=False)]
    return *parameters, *((n, b.shape, b.dtype) for n, b in module.named_buffers(recurse=False))


def frozen(value: object, seen: Seen = frozenset()) -> Hashable:
    """A hashable stand-in that is equal for equal values; of what cannot be looked into, one of its own."""
    if id(value) in seen or len(seen) > _MOST_DEEP:
        return "seen"
    within = seen | {id(value)}
    kind = type(value)
    match value:
        case None | bool() | int() | str() | bytes() | torch.dtype() | torch.device() | type():
            return kind, value
        case float() | complex():
            return kind, repr(value)  # in which NaN is itself
        case Tensor():
            return kind, value.shape, value.dtype, _digest(value.detach().cpu())
        case np.ndarray():
            return kind, value.shape, str(value.dtype), hashlib.sha1(value.tobytes()).digest()
        case np.generic():
            return kind, repr(value)
        case Mapping():
            return kind, tuple((frozen(k, within), frozen(v, within)) for k, v in value.items())
        case list() | tuple() | deque():
            return kind, tuple(frozen(item, within) for item in value)
        case Set():
            return kind, frozenset(frozen(item, within) for item in value)
        case nn.Module():
            parts = ((name, type(part), tuple(own_attributes(part, within))) for name, part in value.named_modules())
            return kind, tuple(parts)
        case _:
            return _of_object(value, within)


def _of_object(value: object, seen: Seen) -> Hashable:
    """Of functions, generators, and objects of other classes."""
    kind = type(value)
    match value:
        case FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            return kind, value.__code__, frozen([cells, value.__defaults__, value.__kwdefaults__], seen)
        case MethodType():
            return kind, frozen(value.__func__, seen), frozen(value.__self__, seen)
        case BuiltinFunctionType():
            return kind, value
        case partial():
            return kind, frozen([value.func, value.args, value.keywords], seen)
        case torch.Generator():
            return kind, _digest(value.get_state())
        case random.Random():
            return kind, value.getstate()
        case np.random.Generator():
            return kind, frozen(value.bit_generator.state, seen)
        case np.random.RandomState():
            return kind, frozen(value.get_state(), seen)
    slots = [n for base in kind.__mro__ for n in _slots(base) if hasattr(value, n)]
    if hasattr(value, "__dict__") or slots:
        own = {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}
        return kind, frozen(own, seen)
    return kind, id(value), _repr(value)


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_filled(cell: object) -> bool:
    try:
        cell.cell_contents  # type: ignore[attr-defined]  # noqa: B018
    except ValueError:
        return False
    return True


def _digest(tensor: Tensor) -> Hashable:
    try:
        return hashlib.sha1(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).digest()
    except (RuntimeError, TypeError):  # a sparse one, one without memory, or one that is being traced
        return id(tensor)


def _repr(value: object) -> str:
    """What shows how far an iterator or a counter is."""
    try:
        return repr(value)
    except Exception:
        return ""
