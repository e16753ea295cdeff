"""One training step: static inputs and recorded operations, replayed; on CUDA as one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tuner.train.stacked.layers import Gradients
from tuner.train.stacked.tape import Operation, Tape

WARM_UP_RUNS = 3
"""Before a capture: libraries choose kernels and allocate workspaces in their first calls."""


class TrainingStep:
    """A step for one batch size.

    `load` fetches what differs from step to step into static tensors; `run` computes on them. On CUDA `run` is
    captured as a graph, so that a step is a handful of launches and the host never waits for the device.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        inputs: Tensor,
        targets: Tensor,
        scalar_names: Sequence[str],
        emit: Callable[[Tape, Gradients, Tensor, Tensor], None],
        update: Callable[[Mapping[str, Tensor]], None],
        state: Sequence[Tensor],
    ) -> None:
        """Record a step.

        Args:
            tape: Where to record; says the number of trials and the batch size.
            inputs: All training examples, shape (examples, ...).
            targets: Their targets, shape (examples, rounded outputs).
            scalar_names: The optimiser's scalars, in the order of the rows given to `load`.
            emit: Records the network and the loss's gradient on inputs (K, B, ...) and targets (K, B, outputs).
            update: Applies the optimiser, given the step's scalars of shape (K, 1).
            state: Every tensor that a step changes; restored after the warm-up of a capture.
        """
        self.batch_size = tape.batch_size
        self._inputs, self._targets = inputs, targets
        shape = (tape.num_trials, tape.batch_size)
        # What was loaded: the batches of all trials, one behind the other; they may be changed before `run`.
        self.x = tape.buffer(shape[0] * shape[1], *inputs.shape[1:])
        self.y = tape.buffer(shape[0] * shape[1], targets.shape[1])
        emit(tape, Gradients(tape), self.x.view(*shape, *inputs.shape[1:]), self.y.view(*shape, -1))
        self._scalars_RK = torch.zeros(len(scalar_names), tape.num_trials, device=tape.device)
        scalars = {name: row.unsqueeze(1) for name, row in zip(scalar_names, self._scalars_RK, strict=True)}
        self._operations: tuple[Operation, ...] = (
            *tape.forward,
            *reversed(tape.backward),
            lambda: update(scalars),
        )
        self._state = state
        self._graph: torch.cuda.CUDAGraph | None = None
        self._on_cuda = tape.device.type == "cuda"

    def load(self, indices_KB: Tensor, scalars_RK: Tensor) -> None:
        """Fetch the batch of each trial and the step's scalars."""
        flat = indices_KB.reshape(-1)
        torch.index_select(self._inputs, 0, flat, out=self.x)
        torch.index_select(self._targets, 0, flat, out=self.y)
        self._scalars_RK.copy_(scalars_RK)

    def run(self) -> None:
        """Compute the step on what was loaded."""
        if not self._on_cuda:
            self._run_eagerly()
            return
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()

    def _run_eagerly(self) -> None:
        for operation in self._operations:
            operation()

    def _capture(self) -> torch.cuda.CUDAGraph:
        before = [t.clone() for t in self._state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._run_eagerly()
        torch.cuda.current_stream().wait_stream(side)
        for tensor, value in zip(self._state, before, strict=True):
            tensor.copy_(value)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._run_eagerly()
        return graph
