"""All that a plain module holds, taken into a checkpoint and put back: the one place for both."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.packed import UnsavedError, packed
from tuner.models.unpacked import ATTRIBUTES, EXTRA, MARK, load_trained
from tuner.train.program import RowState
from tuner.train.programs.attributes import frozen, plain_attributes

_MODE = f"{MARK}mode"
"""Whether each part is in training mode."""
_UNCHANGEABLE = frozenset({int, float, str, bool, type(None), tuple})
_UNSAVED = "unsaved."
"""Before the names of buffers that a module's state dict leaves out."""


class ModuleState:
    """A module's weights, buffers, extra state, modes, and the plain attributes that it has changed since it was built.

    Attributes may be numbers, texts, tensors, arrays, generators and collections of these. A module that has changed
    anything else has a state that cannot be written down; `unsaved` says what it is.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._built = _seen(module)

    def taken(self) -> RowState:
        """A copy of it all, on the CPU."""
        weights = self.weights()
        left_out = {n: _copy(b) for n, b in self._module.named_buffers() if n not in weights}
        modes = torch.tensor([part.training for part in self._module.modules()], dtype=torch.uint8)
        return weights | {f"{_UNSAVED}{name}": b for name, b in left_out.items()} | {_MODE: modes}

    def weights(self) -> RowState:
        """What another module of the kind needs to answer as this one: its state dict, and changed attributes."""
        saved = self._module.state_dict()
        found = {name: _copy(value) for name, value in saved.items() if isinstance(value, Tensor)}
        with suppress(UnsavedError):
            found |= self._packed(saved)
        return found

    def unsaved(self) -> str | None:
        """What of it cannot be written down, in words, or None."""
        try:
            self._packed(self._module.state_dict())
        except UnsavedError as error:
            return str(error)
        return None

    def _packed(self, saved: Mapping[str, Any]) -> RowState:
        """What is no tensor of the state dict, written down.

        Raises:
            UnsavedError: something cannot be, said in words.
        """
        found: RowState = {}
        if extra := {name: value for name, value in saved.items() if not isinstance(value, Tensor)}:
            try:
                found[EXTRA] = packed(extra)
            except UnsavedError as error:
                raise UnsavedError(f"its extra state holds {error}") from error
        if gone := self._built.keys() - dict(plain_attributes(self._module)).keys():
            raise UnsavedError(f"it has removed {min(gone)}")
        if changed := self._changed():
            held = {id(tensor) for tensor in (*self._module.parameters(), *self._module.buffers())}
            try:
                if any(_holds(value, held) for value in changed.values()):
                    raise UnsavedError("parameters among other values")
                found[ATTRIBUTES] = packed(changed)
            except UnsavedError:
                _name_unsaved(changed, held)
                raise
        return found

    def _changed(self) -> dict[str, Any]:
        now = _seen(self._module)
        return {n: value for n, value in plain_attributes(self._module) if now[n] != self._built.get(n)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `taken` returned.

        Raises:
            OtherNetworkError: it is that of another module.
        """
        load_trained(self._module, {n: t for n, t in state.items() if not n.startswith(_UNSAVED) and n != _MODE})
        for name, buffer in self._module.named_buffers():
            if (value := state.get(f"{_UNSAVED}{name}")) is not None:
                buffer.copy_(value)
        if _MODE in state:
            for part, trains in zip(self._module.modules(), state[_MODE].tolist(), strict=True):
                part.training = bool(trains)


def drawn(module: nn.Module, other: nn.Module) -> tuple[dict[str, Tensor], dict[str, object]]:
    """What of a module chance has made, and no state dict has: buffers, and plain attributes that can be written.

    Args:
        module: As it was trained.
        other: The same, built by another seed.
    """
    saved = module.state_dict()
    buffers = {name: _copy(b) for name, b in module.named_buffers() if name not in saved}
    ours, theirs = _seen(module), _seen(other)
    attributes = {}
    for name, value in plain_attributes(module):
        if ours[name] != theirs.get(name):
            with suppress(UnsavedError):
                packed({name: value})
                attributes[name] = value
    return buffers, attributes


@contextmanager
def leaving_no_trace(module: nn.Module) -> Iterator[None]:
    """Within the block the module answers; its buffers and plain attributes are then what they were before."""
    parts = list(module.modules())
    attributes = [dict(vars(part)) for part in parts]
    buffers = [{name: (b, None if b is None else b.clone()) for name, b in part._buffers.items()} for part in parts]
    pairs = ((value, _copied(value)) for _, value in plain_attributes(module) if type(value) not in _UNCHANGEABLE)
    values = [(value, frozen(value), copied) for value, copied in pairs if copied is not None]
    try:
        yield
    finally:
        for part, own, held in zip(parts, attributes, buffers, strict=True):
            for name in vars(part).keys() - own.keys():
                del vars(part)[name]
            vars(part).update(own)
            part._buffers.clear()
            for name, (buffer, kept) in held.items():
                part._buffers[name] = buffer
                if buffer is not None and kept is not None and not torch.equal(buffer, kept):
                    buffer.copy_(kept)
        for value, was, copied in values:
            if frozen(value) != was:
                _put_back(value, copied)


def _copied(value: object) -> object:
    """A copy of what can be changed where it lies."""
    match value:
        case torch.Generator():
            return value.get_state()
        case Tensor():
            return value.detach().clone()
        case np.ndarray() | np.random.Generator() | random.Random():
            return copy.deepcopy(value)
        case dict():
            return {key: _inside(item) for key, item in value.items()}
        case list() | set() | deque():
            return [_inside(item) for item in value]
    return None


def _inside(value: object) -> object:
    """A copy of what is in a collection; objects of the user's stay the same ones."""
    copied = _copied(value)
    if isinstance(value, torch.Generator) or copied is None:
        return value
    return type(value)(copied) if isinstance(value, set | deque) else copied  # type: ignore[call-overload]


@torch.no_grad()
def _put_back(value: object, copied: Any) -> None:
    match value:
        case torch.Generator():
            value.set_state(copied)
        case Tensor():
            value.copy_(copied)
        case np.ndarray():
            value[...] = copied
        case np.random.Generator():
            value.bit_generator.state = copied.bit_generator.state
        case random.Random():
            value.setstate(copied.getstate())
        case list() | deque():
            value.clear()
            value.extend(copied)
        case dict() | set():
            value.clear()
            value.update(copied)


def _seen(module: nn.Module) -> dict[str, Hashable]:
    """The plain attributes as values that can be compared; parameters and buffers among them change by training."""
    held = {id(tensor): "own" for tensor in (*module.parameters(), *module.buffers())}
    return {name: frozen(_without(value, held)) for name, value in plain_attributes(module)}


def _without(value: object, held: Mapping[int, str]) -> object:
    """The value with what training changes anyway replaced by a word, and with the weights of modules in it."""
    if id(value) in held:
        return held[id(value)]
    if isinstance(value, nn.Module):
        hidden = {n: t for n, t in value.state_dict(keep_vars=True).items() if id(t) not in held}
        return value, hidden
    if isinstance(value, list | tuple | set | frozenset):
        return type(value).__name__, [_without(item, held) for item in value]
    if isinstance(value, dict):
        return {key: _without(item, held) for key, item in value.items()}
    return value


def _name_unsaved(changed: Mapping[str, Any], held: set[int]) -> None:
    """Find the first of some values that cannot be written down.

    Raises:
        UnsavedError: with its name.
    """
    for name, value in changed.items():
        try:
            if _holds(value, held):
                raise UnsavedError("parameters among other values")
            packed({name: value})
        except UnsavedError as error:
            raise UnsavedError(f"{name} has changed, and holds {error}") from error


def _holds(value: object, held: set[int]) -> bool:
    if isinstance(value, list | tuple):
        return any(_holds(item, held) for item in value)
    if isinstance(value, dict):
        return any(_holds(item, held) for item in value.values())
    return id(value) in held


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone()
