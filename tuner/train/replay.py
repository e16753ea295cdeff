"""Tensor operations recorded once and replayed without Python: on a CPU, what a CUDA graph is on a GPU.

In small networks the interpreter takes longer to call an operation than the operation takes. A recording is the list
of calls that reach the dispatcher; it is replayed as TorchScript, which calls the same kernels with the same arguments
in the same order, so the results are the same bits.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.jit._fuser import optimized_execution
from torch.utils._python_dispatch import TorchDispatchMode

log = logging.getLogger(__name__)

_UNREPEATABLE = (torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class NotReplayableError(Exception):
    """A function does what a recording cannot hold: it draws random numbers, or looks at a tensor's values."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down each call as a line of TorchScript, while it is carried out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[str] = []
        self.constants: list[Tensor] = []
        """Tensors that exist already: c0, c1, ... and views of them."""
        self._names: dict[int, str] = {}
        self._seen: list[object] = []
        """Keeps all tensors alive, since they are known by their identity."""
        self._num_values = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; to skip what is not there would import it, which takes seconds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(tag in func.tags for tag in _UNREPEATABLE):
            raise NotReplayableError(str(func))
        found = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default and not isinstance(args[0], Tensor):
            return found  # a number as a tensor is the same each time
        of_constants = not any(self._is_value(a) for a in [*args, *kwargs.values()])
        if not (func.is_view and of_constants):  # a view of what stays where it is stays too
            self._write(func, args, kwargs, found)
        return found

    def constant(self, tensor: Tensor) -> str:
        """The name of a tensor that exists already."""
        if id(tensor) not in self._names:
            self._name(tensor, f"c{len(self.constants)}")
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
            function = _compiled(loads, tuple(self.lines), len(self.constants))
        except RuntimeError as error:
            raise NotReplayableError(str(error)) from error
        constants = self.constants

        def replay(tables: Sequence[Tensor], first: int, last: int) -> None:
            with torch.no_grad(), optimized_execution(False):
                function(first, last, constants, list(tables))

        return replay

    def _name(self, tensor: Tensor, name: str) -> None:
        self._names[id(tensor)] = name
        self._seen.append(tensor)

    def _is_value(self, argument: object) -> bool:
        if isinstance(argument, list | tuple):
            return any(map(self._is_value, argument))
        return isinstance(argument, Tensor) and self._names.get(id(argument), "c").startswith("v")

    def _write(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], found: Any) -> None:
        given = [self._text(a) for a in args] + [f"{name}={self._text(a)}" for name, a in kwargs.items()]
        call = f"torch.ops.{func.namespace}.{func._schema.name.partition('::')[2]}({', '.join(given)})"
        results = found if isinstance(found, list | tuple) else [found]
        if any(r.alias_info is not None and r.alias_info.is_write for r in func._schema.returns):
            written = [a for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
            places = {a.name: place for place, a in enumerate(func._schema.arguments)}
            for result, argument in zip(results, written, strict=False):
                place = places[argument.name]
                target = args[place] if place < len(args) else kwargs[argument.name]
                self._name(result, self._text(target))
            self.lines.append(call)
            return
        names = []
        for result in results:
            names.append(f"v{self._num_values}")
            self._num_values += 1
            if isinstance(result, Tensor):
                self._name(result, names[-1])
        self.lines.append(f"{', '.join(names)} = {call}" if names else call)

    def _text(self, argument: object) -> str:
        match argument:
            case Tensor():
                return self.constant(argument)
            case list() | tuple():
                return f"[{', '.join(map(self._text, argument))}]"
            case float() if not math.isfinite(argument):
                return f'float("{argument}")'
            case bool() | int() | float() | str() | None:
                return repr(argument)
            case torch.device():
                return f'torch.device("{argument}")'
            case torch.dtype() | torch.memory_format() | torch.layout() if argument in _NUMBERS:
                return str(_NUMBERS[argument])
            case _:
                raise NotReplayableError(f"an argument of type {type(argument).__name__}")


class ReplayedStep:
    """A step that Python runs at first, and TorchScript once it has run so often that recording it pays."""

    def __init__(
        self,
        step: Callable[[], object],
        *,
        reads: Sequence[Tensor],
        state: Sequence[Tensor],
        record_after: int | None,
    ) -> None:
        """Prepare a step.

        Args:
            step: Operations on tensors that stay where they are.
            reads: Those that it finds a row of a table in.
            state: Those that it changes and does not set first.
            record_after: Record it after so many runs: to do so, and to compile it, takes as long as many of them. If
                None, Python runs it for good.
        """
        self._step = step
        self._reads = tuple(reads)
        self._state = tuple(state)
        self._record_after = record_after
        self._num_runs = 0
        self._replay: Callable[[Sequence[Tensor], int, int], None] | None = None

    @property
    def recorded(self) -> bool:
        """Whether it runs without Python from now on."""
        return self._replay is not None

    def run(self, tables: Sequence[Tensor], first: int, last: int) -> None:
        """Run the steps from `first` up to, not including, `last`, each on its row of the tables."""
        while first < last and self._replay is None:
            for target, table in zip(self._reads, tables, strict=True):
                target.copy_(table[first])
            if self._num_runs == self._record_after:
                self._record()
            else:
                self._step()
            self._num_runs += 1
            first += 1
        if first < last and self._replay is not None:
            self._replay(tables, first, last)

    def _record(self) -> None:
        """Run the step and record it; if that is not possible, just run it."""
        before = [t.clone() for t in self._state]
        recorder = _Recorder()
        try:
            with recorder:
                self._step()
            self._replay = recorder.compile(self._reads)
        except NotReplayableError as error:
            log.debug("a step is run by Python, since it cannot be recorded: %s", error)
            with torch.no_grad():
                for tensor, value in zip(self._state, before, strict=True):
                    tensor.copy_(value)
            self._step()


@lru_cache(maxsize=256)
def _compiled(loads: tuple[str, ...], lines: tuple[str, ...], num_constants: int) -> Callable[..., None]:
    """The loop over the steps. Networks of one structure share it, whatever their sizes."""
    source = [
        "def run(first: int, last: int, constants: List[Tensor], tables: List[Tensor]):",
        *(f"    c{i} = constants[{i}]" for i in range(num_constants)),
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
