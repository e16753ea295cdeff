"""From the calls of a recorded step to the operations that the kernels run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tuner.train.replay.recorder import Call

_MIN_PRODUCT = 400
"""PyTorch computes matrix products of fewer multiplications by a loop of its own."""
_COLUMN_GROUP = 16
"""The kernels' softmax takes rows of whole groups."""

NAMES = [
    "copy", "gather", "gemm", "sum", "softmax", "relu", "leaky_relu", "mul", "add", "sub", "div", "mul_scalar",
    "add_scalar", "addcmul", "sqrt", "sign", "threshold", "leaky_slope", "mul_int", "ge_int",
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
INPUTS = {
    "mul": 2, "add": 2, "sub": 2, "div": 2, "addcmul": 3, "threshold": 2, "leaky_slope": 2, "mul_int": 2, "ge_int": 2,
}  # fmt: skip
"""Tensors that an elementwise operation takes, if not one."""


class Translation:
    """The operations so far, each for one trial."""

    def __init__(self, num_trials: int) -> None:
        self.num_trials = num_trials
        self.operations: list[tuple[object, ...]] = []
        self.written: list[Tensor] = []
        self._seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()

    def add(self, call: Call) -> None:
        """Add what a call does.

        Raises:
            UnknownCallError: the kernels cannot.
        """
        name = str(call.function)
        if call.function.is_view or name in _NOTHING:
            return  # addresses do not change
        translate = _TRANSLATIONS.get(name)
        if translate is None:
            raise UnknownCallError(name)
        out = call.kwargs.get("out", call.kwargs.get("grad_input", call.result))
        if not isinstance(out, Tensor) or out.device.type != "cpu":
            raise UnknownCallError(f"{call.function} into several tensors, or on a device")
        translate(self, out, call)
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
        places = [min(place, len(tensors) - 1) for place in range(4)]
        self.operations.append(
            (
                _CODES[code], tuple(n), (*strides, *[_NOWHERE] * (4 - len(strides))),
                tuple(tensors[place].data_ptr() for place in places),
                tuple(apart[place] * tensors[place].element_size() for place in places),
                x, 1,
            )
        )  # fmt: skip

    def check_trials(self, tensor: Tensor) -> None:
        """Make sure that the first dimension is that of the trials.

        Raises:
            UnknownCallError: it is not.
        """
        if tensor.dim() == 0 or len(tensor) != self.num_trials:
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
        try:
            operands = [out, *(t.expand(out.shape) for t in inputs)]
        except RuntimeError as error:
            raise UnknownCallError(str(error)) from error
        n, strides = _merged(tuple(out.shape[1:]), [t.stride()[1:] for t in operands])
        self.emit(code, operands, n, strides, apart=[t.stride(0) for t in operands], x=x)

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


# One function for each call that the kernels know

_Translate = Callable[[Translation, Tensor, Call], None]


def _of(code: str, *, with_number: str | None = None, number: float = 1.0) -> _Translate:
    """Elementwise on the leading tensors.

    Args:
        code: The operation.
        with_number: That if the second argument is a number.
        number: The default of a number among the arguments: what is at its default does not reach the dispatcher.
    """

    def translate(to: Translation, out: Tensor, call: Call) -> None:
        tensors = [a for a in call.args if isinstance(a, Tensor)]
        numbers = [a for a in call.args if not isinstance(a, Tensor)]
        alpha = float(call.kwargs.get("alpha", call.kwargs.get("value", number)))
        if with_number is not None and len(tensors) == 1:
            if alpha != 1.0:
                raise UnknownCallError("a number with a factor")
            to.elementwise(with_number, out, tensors, x=float(numbers[0]))
        elif len(tensors) != INPUTS.get(code, 1) or (code == "sub" and alpha != 1.0):
            raise UnknownCallError(f"{call.function} with other arguments")
        elif code == "mul" and out.dtype == torch.int32:
            to.elementwise("mul_int", out, tensors, dtype=torch.int32)
        else:
            to.elementwise(code, out, tensors, x=float(numbers[0]) if numbers else alpha)

    return translate


def _compare(to: Translation, out: Tensor, call: Call) -> None:
    if out.dtype != torch.float32:
        raise UnknownCallError("a comparison into other types")
    to.elementwise("ge_int", out, call.args, dtype=torch.int32)


def _copy(to: Translation, out: Tensor, call: Call) -> None:
    to.elementwise("copy", out, [call.args[1]])


def _gather(to: Translation, out: Tensor, call: Call) -> None:
    table, dimension, index = call.args
    if dimension != 0 or index.dtype != torch.int64 or not all(t.is_contiguous() for t in (table, index, out[0])):
        raise UnknownCallError("a gather along another dimension")
    rows, left_over = divmod(len(index), to.num_trials)
    if left_over:
        raise UnknownCallError("a gather for another number of trials")
    size = out[0].numel() * out.element_size()
    row = out.stride(0)
    strides = [(row * out.element_size(), 0, 0)]
    to.emit("gather", [out, table, index], (rows, 1, size), strides, apart=[rows * row, 0, rows])


def _bmm(to: Translation, out: Tensor, call: Call) -> None:
    to.product(out, *call.args, beta=0.0)


def _baddbmm(to: Translation, out: Tensor, call: Call) -> None:
    bias, a, b = call.args
    if call.kwargs.get("beta", 1) != 1 or call.kwargs.get("alpha", 1) != 1:
        raise UnknownCallError("a product with factors")
    to.elementwise("copy", out, [bias])
    to.product(out, a, b, beta=1.0)


def _root(to: Translation, out: Tensor, call: Call) -> None:
    (x,) = call.args
    to.check_trials(out)
    if x.dtype != torch.float32 or out.shape != x.shape or not (x.is_contiguous() and out.is_contiguous()):
        raise UnknownCallError("roots of strided tensors")
    to.emit("sqrt", [out, x], (1, 1, x[0].numel()), [], apart=[out.stride(0), x.stride(0)])


def _sum(to: Translation, out: Tensor, call: Call) -> None:
    x, dimensions = call.args[0], call.args[1]
    if list(dimensions) != [1] or x.dim() != 3 or x.dtype != torch.float32 or x.stride(2) != 1 or out.stride(-1) != 1:
        raise UnknownCallError("a sum over other dimensions")
    if x.shape[2] % 8:
        raise UnknownCallError("a sum of odd width")
    to.check_trials(x)
    to.emit("sum", [out, x], (1, *x.shape[1:]), [(0, 0, 0), (x.stride(1), 0, 0)], apart=[out.stride(0), x.stride(0)])


def _softmax(to: Translation, out: Tensor, call: Call) -> None:
    x, dimension = call.args[0], call.args[1]
    columns = x.shape[-1]
    if dimension not in (-1, x.dim() - 1) or columns % _COLUMN_GROUP or not (x.is_contiguous() and out.is_contiguous()):
        raise UnknownCallError("a softmax over another dimension")
    to.check_trials(x)
    to.emit("softmax", [out, x], (1, x[0].numel() // columns, columns), [], apart=[out.stride(0), x.stride(0)])


_NOTHING = {"aten.empty_like.default"}
"""Memory that was taken while the step was recorded is still there."""
_TRANSLATIONS: dict[str, _Translate] = {
    "aten.copy_.default": _copy,
    "aten.index_select.out": _gather,
    "aten.bmm.out": _bmm,
    "aten.baddbmm.out": _baddbmm,
    "aten.sum.IntList_out": _sum,
    "aten.softmax.int_out": _softmax,
    "aten.ge.Tensor_out": _compare,
    "aten.relu_.default": _of("relu"),
    "aten.threshold_backward.grad_input": _of("threshold"),
    "aten.leaky_relu_.default": _of("leaky_relu", number=0.01),
    "aten.leaky_relu_backward.grad_input": _of("leaky_slope"),
    "aten.mul.out": _of("mul", with_number="mul_scalar"),
    "aten.mul_.Tensor": _of("mul", with_number="mul_scalar"),
    "aten.add.out": _of("add", with_number="add_scalar"),
    "aten.add_.Tensor": _of("add", with_number="add_scalar"),
    "aten.sub.out": _of("sub"),
    "aten.sub_.Tensor": _of("sub"),
    "aten.div.out": _of("div"),
    "aten.div.Tensor": _of("div"),
    "aten.addcmul_.default": _of("addcmul"),
    "aten.addcmul.out": _of("addcmul"),
    "aten.sqrt.out": _root,
    "aten.sign.default": _of("sign"),
}
