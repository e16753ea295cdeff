"""A recording as TorchScript: the same functions of PyTorch with the same arguments in the same order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution

from tuner.train.replay.recorder import Call, NotReplayableError

_MOST_WRITTEN = 4
"""Up to this a whole number stands in the script as it is: it may be a dimension, and a larger one is a size."""


class Script:
    """The lines of a recording, and the tensors that they name."""

    def __init__(self, calls: Sequence[Call]) -> None:
        """Write down a recording.

        Raises:
            NotReplayableError: TorchScript cannot hold an argument.
        """
        self.lines: list[str] = []
        self.constants: list[Tensor] = []
        """Tensors that exist already: c0, c1, ... and views of them."""
        self.sizes: list[int] = []
        """Whole numbers among the arguments: n0, n1, ..."""
        self._names: dict[int, str] = {}
        self._num_values = 0
        for call in calls:
            of_constants = not any(self._is_value(a) for a in [*call.args, *call.kwargs.values()])
            if not (call.function.is_view and of_constants):  # a view of what stays where it is stays too
                self._write(call)

    def constant(self, tensor: Tensor) -> str:
        """The name of a tensor that exists already."""
        if id(tensor) not in self._names:
            self._names[id(tensor)] = f"c{len(self.constants)}"
            self.constants.append(tensor)
        return self._names[id(tensor)]

    def compile(self, reads: Sequence[Tensor]) -> Callable[[Sequence[Tensor], int, int], None]:
        """A function that does what was recorded for rows of tables, which it loads into the tensors that read them.

        It takes the tables, the first row and the one after the last.

        Raises:
            NotReplayableError: TorchScript has no such call.
        """
        loads = tuple(f"{self.constant(target)}.copy_(t{i}[step])" for i, target in enumerate(reads))
        try:
            function = _compiled(loads, tuple(self.lines), len(self.constants), len(self.sizes))
        except RuntimeError as error:
            raise NotReplayableError(str(error)) from error
        constants, sizes = self.constants, torch.tensor(self.sizes, dtype=torch.int64)

        def replay(tables: Sequence[Tensor], first: int, last: int) -> None:
            with torch.no_grad(), optimized_execution(False):
                function(first, last, constants, list(tables), sizes)

        return replay

    def _is_value(self, argument: object) -> bool:
        if isinstance(argument, list | tuple):
            return any(map(self._is_value, argument))
        return isinstance(argument, Tensor) and self._names.get(id(argument), "c").startswith("v")

    def _write(self, call: Call) -> None:
        func, args, kwargs, found = call
        given = [self._text(a) for a in args] + [f"{name}={self._text(a)}" for name, a in kwargs.items()]
        text = f"torch.ops.{func.namespace}.{func._schema.name.partition('::')[2]}({', '.join(given)})"
        results = found if isinstance(found, list | tuple) else [found]
        if any(r.alias_info is not None and r.alias_info.is_write for r in func._schema.returns):
            written = [a for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
            places = {a.name: place for place, a in enumerate(func._schema.arguments)}
            for result, argument in zip(results, written, strict=False):
                place = places[argument.name]
                target = args[place] if place < len(args) else kwargs[argument.name]
                self._names[id(result)] = self._text(target)
            self.lines.append(text)
            return
        names = []
        for result in results:
            names.append(f"v{self._num_values}")
            self._num_values += 1
            if isinstance(result, Tensor):
                self._names[id(result)] = names[-1]
        self.lines.append(f"{', '.join(names)} = {text}" if names else text)

    def _text(self, argument: object) -> str:
        match argument:
            case Tensor():
                return self.constant(argument)
            case list() | tuple():
                return f"[{', '.join(map(self._text, argument))}]"
            case float() if not math.isfinite(argument):
                return f'float("{argument}")'
            case int() if argument > _MOST_WRITTEN:
                self.sizes.append(argument)
                return f"n{len(self.sizes) - 1}"
            case bool() | int() | float() | str() | None:
                return repr(argument)
            case torch.device():
                return f'torch.device("{argument}")'
            case torch.dtype() | torch.memory_format() | torch.layout() if argument in _NUMBERS:
                return str(_NUMBERS[argument])
            case _:
                raise NotReplayableError(f"an argument of type {type(argument).__name__}")


@lru_cache(maxsize=256)
def _compiled(
    loads: tuple[str, ...], lines: tuple[str, ...], num_constants: int, num_sizes: int
) -> Callable[..., None]:
    """The loop over the steps. Networks of one structure share it, whatever their sizes."""
    source = [
        "def run(first: int, last: int, constants: List[Tensor], tables: List[Tensor], sizes: Tensor):",
        "    n: List[int] = sizes.tolist()",
        *(f"    c{i} = constants[{i}]" for i in range(num_constants)),
        *(f"    n{i} = n[{i}]" for i in range(num_sizes)),
        *(f"    t{i} = tables[{i}]" for i in range(len(loads))),
        "    for step in range(first, last):",
        *(f"        {line}" for line in (*loads, *lines)),
    ]
    run: Callable[..., None] = torch.jit.CompilationUnit("\n".join(source) + "\n").run
    return run


_NUMBERS: dict[object, int] = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.strided: 0,
}
"""What TorchScript has in the place of these."""
