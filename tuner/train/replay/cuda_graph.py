"""A step on a GPU as one CUDA graph: recorded calls on memory that stays where it is, and a host that never waits."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from tuner.errors import is_out_of_memory
from tuner.models.keyed import fields_held

log = logging.getLogger(__name__)

_WARM_UP_RUNS = 3
"""Before the first capture on a device: libraries choose kernels and allocate workspaces in their first calls."""
_LATER_WARM_UP_RUNS = 1
"""Before each further one, for what is new in it."""


class GraphedOperations:
    """Operations on CUDA tensors, captured as a graph: one launch, and the host never waits for the device."""

    def __init__(
        self,
        operations: Callable[[], object],
        *,
        state: Sequence[Tensor],
        after_runs: int = 0,
        may_refuse: bool = False,
        pool: Any = None,
    ) -> None:
        """Capture on first use, or after some.

        Args:
            operations: On tensors that stay where they are.
            state: Every tensor that they change and do not set first; restored after the warm-up.
            after_runs: So many times Python runs them before.
            may_refuse: They are not all ours: if they cannot be captured, Python goes on to run them.
            pool: Handle of memory for what they make on the way; graphs share it that never run two at a time.
        """
        self._operations = operations
        self._state = tuple(state)
        self._runs_before = after_runs
        self._may_refuse = may_refuse
        self._pool = pool
        self._refused = False
        self._held: list[Tensor] = []
        """What the graph reads, and nobody else may keep."""
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self.graph is None and not self._refused:
            if self._runs_before:
                self._runs_before -= 1
                self._operations()
                return
            self._try_to_capture()
        if self.graph is None:
            self._operations()
        else:
            self.graph.replay()

    def _try_to_capture(self) -> None:
        before = [t.clone() for t in self._state] if self._may_refuse else []
        try:
            self.graph = self._capture()
        except Exception as error:  # a user's module may do on the way whatever it likes
            if not self._may_refuse or is_out_of_memory(error):
                raise
            log.debug("a step is run by Python, since it cannot be captured: %s", error)
            self._refused = True
            _restore(self._state, before)

    def _capture(self) -> torch.cuda.CUDAGraph:
        device = self._state[0].device
        before = [t.clone() for t in self._state]
        side = _side_stream(device)
        main = torch.cuda.current_stream(device)
        side.wait_stream(main)
        try:
            with torch.cuda.stream(side):
                for _ in range(_LATER_WARM_UP_RUNS if device in _warm else _WARM_UP_RUNS):
                    self._operations()
                if self._may_refuse:
                    # A capture in which the host waits fails, and may leave the library in disorder: do not begin it.
                    with _refusing_to_wait():
                        self._operations()
        finally:
            main.wait_stream(side)
            _restore(self._state, before)
        _warm.add(device)
        graph = torch.cuda.CUDAGraph()
        # Without a stream of this device, it would capture what the device that happens to be current is given.
        capture = torch.cuda.graph(graph, pool=self._pool, stream=side)
        with torch.cuda.device(device), _refusing_empty(), fields_held() as self._held, capture:
            self._operations()
        return graph


_warm: set[torch.device] = set()
"""Where a step of ours or of users' has run before."""


@lru_cache(maxsize=64)
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of all captures on a device: cuBLAS keeps a workspace for each stream that it has seen."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call, no-any-return, unused-ignore]


@torch.no_grad()
def _restore(state: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(state, values, strict=True):
        tensor.copy_(value)


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """Raise where the host would wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _refusing_empty() -> Iterator[None]:
    """Raise where PyTorch only warns: the replays of an empty graph train nothing, and nothing else would tell."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The CUDA Graph is empty", category=UserWarning)
        yield
