"""The stacked program's step: recorded operations on static tensors."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.train.programs.stacked.tape import Operation

SCRIPT_AFTER_RUNS = 50
"""On a CPU: recording a step and compiling it as TorchScript takes as long as some hundred runs."""
KERNELS_AFTER_RUNS = 2
"""On a CPU: to hand a step to the compiled kernels takes as long as some ten runs."""


class Operations:
    """Operations in their order."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = tuple(operations)

    def __call__(self) -> None:
        for operation in self._operations:
            operation()
