"""Recording: the calls that reach the dispatcher while a function runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_UNREPEATABLE = (torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@cache
def _is_unrepeatable(function: Any) -> bool:
    return any(tag in function.tags for tag in _UNREPEATABLE)


class NotReplayableError(Exception):
    """A function does what a recording cannot hold: it draws random numbers, or looks at a tensor's values."""


class Call(NamedTuple):
    """A call, and what came of it; together they keep every tensor of a recording alive, and so its address its own."""

    function: Any
    """A `torch._ops.OpOverload`."""
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down each call while it is carried out.

    Raises:
        NotReplayableError: by the function that is recorded, at a call that could not be repeated.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; to skip what is not there would import it, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _is_unrepeatable(func):
            raise NotReplayableError(str(func))
        found = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default and not isinstance(args[0], Tensor):
            return found  # a number as a tensor is the same each time
        self.calls.append(Call(func, args, kwargs, found))
        return found
