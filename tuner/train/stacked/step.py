"""The stacked program's step: recorded operations on static tensors; on CUDA captured as one graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tuner.train.stacked.tape import Operation

SCRIPT_AFTER_RUNS = 50
"""On a CPU: recording a step and compiling it as TorchScript takes as long as some hundred runs."""
KERNELS_AFTER_RUNS = 2
"""On a CPU: to hand a step to the compiled kernels takes as long as some ten runs."""
WARM_UP_RUNS = 3
"""Before a capture: libraries choose kernels and allocate workspaces in their first calls."""


class Operations:
    """Operations in their order."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = tuple(operations)

    def __call__(self) -> None:
        for operation in self._operations:
            operation()


class GraphedOperations:
    """Operations on CUDA tensors, captured as a graph: a few launches, and the host never waits for the device."""

    def __init__(self, operations: Callable[[], None], *, state: Sequence[Tensor]) -> None:
        """Capture on first use.

        Args:
            operations: On tensors that stay where they are.
            state: Every tensor that they change; restored after the warm-up.
        """
        self._operations = operations
        self._state = state
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()

    def _capture(self) -> torch.cuda.CUDAGraph:
        before = [t.clone() for t in self._state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._operations()
        torch.cuda.current_stream().wait_stream(side)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._operations()
        return graph
