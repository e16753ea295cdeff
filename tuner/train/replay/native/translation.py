"""The operations that the kernels run, for each trial, made of those on the tensors of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tuner.models.layers.tape import batch_last

_MIN_PRODUCT = 400
"""PyTorch computes matrix products of fewer multiplications by a loop of its own."""
COLUMN_GROUP = 16
"""The kernels' softmax takes rows of whole groups."""

NAMES = [
    "copy", "gather", "gemm", "sum", "softmax", "relu", "leaky_relu", "mul", "add", "sub", "div", "mul_scalar",
    "add_scalar", "addcmul", "sqrt", "sign", "threshold", "leaky_slope", "mul_int", "ge_int", "div_scalar", "lerp",
    "rsqrt", "tanh", "tanh_slope", "max_pool", "max_pool_slope", "sum_along",
]  # fmt: skip
_CODES = {name: code for code, name in enumerate(NAMES)}
"""In the order of the enumeration in `kernels.c`."""


class UnknownCallError(Exception):
    """The kernels have no operation for a call."""


OPERATION = np.dtype(
    [
        ("code", "i8"), ("n", "i8", 3), ("s", "i8", (4, 3)), ("p", "i8", 4), ("t", "i8", 4), ("x", "f4"),
        ("together", "i4"),
    ]
)  # fmt: skip
"""`Operation` in `kernels.c`."""
_NOWHERE = (0, 0, 0)
_NEXT = (0, 0, 1)
INPUTS = {
    "mul": 2, "add": 2, "sub": 2, "div": 2, "addcmul": 3, "threshold": 2, "leaky_slope": 2, "mul_int": 2, "ge_int": 2,
    "lerp": 2, "tanh_slope": 2,
}  # fmt: skip
"""Tensors that an elementwise operation takes, if not one."""


class Translation:
    """The operations so far, each for one trial."""

    def __init__(self, num_trials: int) -> None:
        self.num_trials = num_trials
        self.operations: list[tuple[object, ...]] = []
        self.written: list[Tensor] = []
        self._seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
        self._by_trial: dict[int, Tensor] = {}
        """What was written so far and is (trials, ...) without a gap, by its address."""

    def note(self, out: Tensor) -> None:
        """Take down what an operation writes."""
        if out.dim() > 1 and out.shape[0] == self.num_trials and (out.is_contiguous() or batch_last(out) is not None):
            self._by_trial[out.data_ptr()] = out
        place = (out.data_ptr(), tuple(out.shape), out.stride())
        if place not in self._seen:
            self._seen.add(place)
            self.written.append(out)

    def emit(
        self,
        code: str,
        tensors: Sequence[Tensor],
        n: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        apart: Sequence[int],
        x: float = 0.0,
    ) -> None:
        """Add an operation.

        Args:
            code: Its name.
            tensors: Output and inputs.
            n: How often for each trial.
            strides: Of each tensor.
            apart: Elements of each tensor from trial to trial.
            x: A number among the arguments.
        """
        missing = 4 - len(tensors)
        addresses = [t.data_ptr() for t in tensors]
        bytes_apart = [step * t.element_size() for step, t in zip(apart, tensors, strict=True)]
        self.operations.append(
            (
                _CODES[code], tuple(n), (*strides, *[_NOWHERE] * (4 - len(strides))),
                (*addresses, *addresses[-1:] * missing), (*bytes_apart, *bytes_apart[-1:] * missing), x, 1,
            )
        )  # fmt: skip

    def check_trials(self, tensor: Tensor) -> None:
        """Make sure that the first dimension is that of the trials.

        Raises:
            UnknownCallError: it is not.
        """
        if tensor.dim() == 0 or tensor.shape[0] != self.num_trials:
            raise UnknownCallError(f"a tensor of shape {tuple(tensor.shape)} for {self.num_trials} trials")

    def elementwise(
        self, code: str, out: Tensor, inputs: Sequence[Tensor], *, x: float = 0.0, dtype: torch.dtype = torch.float32
    ) -> None:
        """Add an elementwise operation with broadcasting.

        Raises:
            UnknownCallError: other types, or more than three dimensions that cannot be merged.
        """
        self.check_trials(out)
        if any(t.dtype != dtype for t in inputs) or out.dtype not in (dtype, torch.float32):
            raise UnknownCallError(f"{code} of other types")
        shape = out.shape
        if out.is_contiguous() and all(t.shape == shape and t.is_contiguous() for t in inputs):  # nearly all of them
            apart = shape[1:].numel()
            operands = [out, *inputs]
            self.emit(code, operands, (1, 1, apart), [_NEXT] * len(operands), apart=[apart] * len(operands), x=x)
            return
        try:
            operands = [out, *(t if t.shape == shape else t.expand(shape) for t in inputs)]
        except RuntimeError as error:
            raise UnknownCallError(str(error)) from error
        steps = [t.stride() for t in operands]
        order = sorted(range(1, len(shape)), key=lambda dimension: -steps[0][dimension])  # as the output lies in memory
        n, strides = _merged(
            tuple(shape[dimension] for dimension in order),
            [tuple(own[dimension] for dimension in order) for own in steps],
        )
        self.emit(code, operands, n, strides, apart=[own[0] for own in steps], x=x)

    def whole_buffers(self, code: str, out: Tensor, inputs: Sequence[Tensor], *, like: Tensor) -> None:
        """Add an elementwise operation on the whole memory of buffers with a padded end: for each trial its own part.

        Args:
            code: Its name.
            out: One-dimensional, as the inputs are.
            inputs: Of the same layout.
            like: One that an earlier operation has written by trial.

        Raises:
            UnknownCallError: the part of each is not known, or no number of whole vectors.
        """
        own = self._by_trial.get(like.data_ptr())
        size = 0 if own is None else own[0].numel()
        if any(t.dim() != 1 or t.stride(0) != 1 or t.dtype != torch.float32 for t in (out, *inputs)):
            raise UnknownCallError(f"{code} of strided tensors, or of other types")
        if not size or size % COLUMN_GROUP or size * self.num_trials > out.shape[0]:
            raise UnknownCallError(f"{code} of buffers of unknown shape")
        operands = [out, *inputs]
        self.emit(code, operands, (1, 1, size), [_NEXT] * len(operands), apart=[size] * len(operands))
        self._by_trial[out.data_ptr()] = out[: size * self.num_trials].view(self.num_trials, size)

    def product(self, out: Tensor, a: Tensor, b: Tensor, *, beta: float) -> None:
        """Add a matrix product for each trial.

        Raises:
            UnknownCallError: PyTorch computes them by other means than the library.
        """
        self.check_trials(out)
        _, m, k = a.shape
        n = b.shape[2]
        if any(t.dtype != torch.float32 for t in (out, a, b)) or m * n * k < _MIN_PRODUCT or out.stride(2) != 1:
            raise UnknownCallError("a product of small, strided or other matrices")
        (lda, a_turned), (ldb, b_turned) = _leading(a), _leading(b)
        self.emit(
            "gemm", [out, a, b], (1, m, n), [(out.stride(1), 0, 0), (lda, 0, 0), (ldb, 0, 0), (k, a_turned, b_turned)],
            apart=[t.stride(0) for t in (out, a, b)], x=beta,
        )  # fmt: skip


def _leading(matrices: Tensor) -> tuple[int, int]:
    """The leading dimension of each matrix, and whether it lies there transposed."""
    _, rows, columns = matrices.shape
    _, down, along = matrices.stride()
    if along == 1 and down >= columns:
        return down, 0
    if down == 1 and along >= rows:
        return along, 1
    raise UnknownCallError("a matrix with gaps")


def _merged(
    shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The same loop over three dimensions, with neighbours merged where every operand goes on evenly."""
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for dimension, size in enumerate(shape):
        if size == 1:
            continue
        now = [stride[dimension] for stride in strides]
        if sizes and all(own[-1] == step * size for own, step in zip(steps, now, strict=True)):
            sizes[-1] *= size
            for own, step in zip(steps, now, strict=True):
                own[-1] = step
            continue
        sizes.append(size)
        for own, step in zip(steps, now, strict=True):
            own.append(step)
    if not sizes:
        sizes, steps = [1], [[1] for _ in strides]
    missing = 3 - len(sizes)
    if missing < 0:
        raise UnknownCallError("a loop over more than three dimensions")
    return (1,) * missing + tuple(sizes), [(0,) * missing + tuple(own) for own in steps]
