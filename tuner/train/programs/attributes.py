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
from pickle import PicklingError
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.layers.dropout import KeyedDropout

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_PLAIN = (bool, int, str, type(None))
_MOST_VALUES = 5000
"""So many values within one are looked at; what lies beyond is taken for itself."""


def attributes_of(module: nn.Module) -> dict[str, Hashable]:
    """The plain attributes of a module and of its parts, by their dotted names."""
    found: dict[str, Hashable] = {}
    for name, part in module.named_modules():
        found |= {f"{name}.{own}".lstrip("."): value for own, value in own_attributes(part)}
    return found


def plain_attributes(module: nn.Module) -> Iterator[tuple[str, object]]:
    """Their values themselves, by dotted names, without hooks."""
    for name, part in module.named_modules():
        yield from ((f"{name}.{own}".lstrip("."), value) for own, value in _own(part).items())


def own_attributes(module: nn.Module) -> Iterator[tuple[str, Hashable]]:
    """Those of one module, without its parts."""
    hooks = {name: [*vars(module).get(name, {}).values()] for name in _HOOKS}
    yield from ((name, frozen(value)) for name, value in _own(module).items())
    yield from ((name, frozen(values)) for name, values in hooks.items() if values)


def in_words(module: nn.Module, attribute: str) -> str:
    """An attribute as its owner's author knows it, who knows nothing of what PyTorch's own classes keep in theirs."""
    where, _, name = attribute.rpartition(".")
    part = module.get_submodule(where)
    if name in _HOOKS:
        return f"the hooks of {where or 'the module'}"
    if name.startswith("_") and _is_librarys(type(part).__module__):
        return f"what {where or 'the module'}, a {type(part).__name__}, keeps for itself"
    return attribute


def structure_of(module: nn.Module) -> Hashable:
    """The kinds of a module's parts and the shapes of its tensors."""
    return tuple((name, type(part), tensors_of(part)) for name, part in module.named_modules())


def tensors_of(module: nn.Module) -> Hashable:
    """The names, shapes and kinds of a module's own parameters and buffers."""
    parameters = [(n, p.shape, p.dtype, p.requires_grad) for n, p in module.named_parameters(recurse=False)]
    return *parameters, *((n, b.shape, b.dtype) for n, b in module.named_buffers(recurse=False))


def frozen(value: object) -> Hashable:
    """A hashable stand-in that is equal for equal values; of what cannot be looked into, one of its own."""
    return (type(value), value) if type(value) in _PLAIN else _Freezing().of(value)


class _Itself:
    """A value that nothing but itself is equal to, in this process alone: no other can be told of it."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)

    def __reduce__(self) -> NoReturn:
        raise PicklingError("it is another one in another process")


class _Freezing:
    """One value, with all that is in it."""

    def __init__(self) -> None:
        self._within: set[int] = set()
        self._left = _MOST_VALUES

    def of(self, value: object) -> Hashable:
        kind = type(value)
        match value:
            case None | bool() | int() | str() | bytes() | torch.dtype() | torch.device() | type():
                return kind, value
            case float() | complex() | np.generic():
                return kind, repr(value)  # in which NaN is itself
        self._left -= 1
        if self._left < 0:
            return kind, _Itself(value)
        if id(value) in self._within:
            return "within"
        self._within.add(id(value))
        try:
            return kind, self._inside(value)
        finally:
            self._within.remove(id(value))

    def _inside(self, value: object) -> Hashable:
        match value:
            case Tensor():
                return value.shape, value.dtype, _digest(value.detach().cpu())
            case np.ndarray():
                return value.shape, str(value.dtype), hashlib.sha1(value.tobytes()).digest()
            case Mapping():
                return tuple((self.of(k), self.of(v)) for k, v in value.items())
            case list() | tuple() | deque():
                return tuple(self.of(item) for item in value)
            case Set():
                return frozenset(self.of(item) for item in value)
            case nn.Module():
                return tuple((name, type(part), self.of(_own(part))) for name, part in value.named_modules())
            case FunctionType():
                cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
                return value.__code__, self.of([cells, value.__defaults__, value.__kwdefaults__])
            case MethodType():
                return self.of(value.__func__), self.of(value.__self__)
            case partial():
                return self.of([value.func, value.args, value.keywords])
        return self._of_object(value)

    def _of_object(self, value: object) -> Hashable:
        """Of generators, and of objects of other classes."""
        match value:
            case torch.Generator():
                return _digest(value.get_state())
            case random.Random():
                return value.getstate()
            case np.random.Generator():
                return self.of(value.bit_generator.state)
            case np.random.RandomState():
                return self.of(value.get_state())
            case BuiltinFunctionType():
                return _Itself(value)
        slots = [name for base in type(value).__mro__ for name in _slots(base) if hasattr(value, name)]
        if hasattr(value, "__dict__") or slots:
            return self.of({**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})})
        return _Itself(value), _repr(value)


def _own(module: nn.Module) -> dict[str, object]:
    """What a module keeps besides what every module has; a layer of ours counts its calls, and keeps nothing else."""
    if isinstance(module, KeyedDropout):
        return {}
    return {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}


def _slots(kind: type) -> tuple[str, ...]:
    slots = kind.__dict__.get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _digest(tensor: Tensor) -> Hashable:
    try:
        return hashlib.sha1(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).digest()
    except (RuntimeError, TypeError):  # a sparse one, one without memory, or one that is being traced
        return _Itself(tensor)


def _repr(value: object) -> str:
    """What shows how far an iterator or a counter is."""
    try:
        return repr(value)
    except Exception:
        return ""


def surroundings_of(module: nn.Module) -> dict[str, Hashable]:
    """What the code of a module's own classes sees outside it: class attributes, what functions enclose, globals."""
    kinds = {base for part in module.modules() for base in type(part).__mro__ if not _is_librarys(base.__module__)}
    found: dict[str, Hashable] = {}
    functions: list[FunctionType] = []
    for kind in sorted(kinds, key=lambda k: k.__qualname__):
        for name, value in vars(kind).items():
            if isinstance(value, FunctionType):
                functions.append(value)
            elif not name.startswith("__") and not callable(value) and not hasattr(value, "__get__"):
                found[f"{kind.__name__}.{name}"] = frozen(value)
    known: set[int] = set()
    while functions and len(known) < _MOST_FUNCTIONS:
        function = functions.pop()
        if id(function) in known or _is_librarys(function.__module__ or ""):
            continue
        known.add(id(function))
        seen = dict(_enclosed(function))
        for name, value in seen.items():
            if isinstance(value, FunctionType):
                functions.append(value)
            elif not isinstance(value, ModuleType | type | BuiltinFunctionType | nn.Module):
                found[name] = frozen(value)
    return found


def _enclosed(function: FunctionType) -> Iterator[tuple[str, object]]:
    """The globals and the enclosed variables that a function may read, by name."""
    code = function.__code__
    for name in code.co_names:
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if _is_filled(cell) and name != "__class__":
            yield name, cell.cell_contents


def _is_librarys(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


_LIBRARIES = frozenset({"torch", "numpy", "builtins", "tuner", "math", "typing", "random", "collections", "functools"})
_MOST_FUNCTIONS = 500
