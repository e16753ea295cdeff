"""The stacked program's step: recorded operations on static tensors; on CUDA captured as one graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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
        device = self._state[0].device
        before = [t.clone() for t in self._state]
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        main = torch.cuda.current_stream(device)
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._operations()
        main.wait_stream(side)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        # Without a stream of this device, it would capture what the device that happens to be current is given.
        with torch.cuda.device(device), _refusing_empty(), torch.cuda.graph(graph, stream=side):
            self._operations()
        return graph


@contextmanager
def _refusing_empty() -> Iterator[None]:
    """Raise where PyTorch only warns: the replays of an empty graph train nothing, and nothing else would tell."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The CUDA Graph is empty", category=UserWarning)
        yield
