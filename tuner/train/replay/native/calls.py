"""The calls of PyTorch that the kernels know: one function for each, which adds what it does to a translation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from tuner.models.layers.tape import batch_last
from tuner.train.replay.native.translation import COLUMN_GROUP, INPUTS, Translation, UnknownCallError
from tuner.train.replay.recorder import Call


@cache
def _name_of(function: Any) -> str:
    return _VIEW if function.is_view else str(function)


def translate(to: Translation, call: Call) -> None:
    """Add what a call does.

    Raises:
        UnknownCallError: the kernels cannot.
    """
    name = _name_of(call.function)
    if name in _NOTHING:
        return  # addresses do not change
    known = _TRANSLATIONS.get(name)
    if known is None:
        raise UnknownCallError(name)
    out = call.kwargs.get("out", call.kwargs.get("grad_input", call.result))
    if not isinstance(out, Tensor) or out.device.type != "cpu":
        raise UnknownCallError(f"{call.function} into several tensors, or on a device")
    known(to, out, call)
    to.note(out)


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
    if list(dimensions) == [1, 3, 4]:
        _sum_of_channels(to, out, x)
        return
    if list(dimensions) != [1] or x.dim() != 3 or x.dtype != torch.float32 or x.stride(2) != 1 or out.stride(-1) != 1:
        raise UnknownCallError("a sum over other dimensions")
    if x.shape[2] % 8:
        raise UnknownCallError("a sum of odd width")
    to.check_trials(x)
    to.emit("sum", [out, x], (1, *x.shape[1:]), [(0, 0, 0), (x.stride(1), 0, 0)], apart=[out.stride(0), x.stride(0)])


def _sum_of_channels(to: Translation, out: Tensor, x: Tensor) -> None:
    """Of images (trials, examples, channels, height, width), each channel of which is in one piece."""
    if batch_last(x) is None or x.dtype != torch.float32 or out.stride(-1) != 1:
        raise UnknownCallError("a sum over channels of examples that lie apart")
    to.check_trials(x)
    channels = x.shape[2]
    n = (1, channels, x[0, :, 0].numel())
    to.emit("sum_along", [out, x], n, [], apart=[out.stride(0), x.stride(0)])


def _mean(to: Translation, out: Tensor, call: Call) -> None:
    """A sum, divided by the number of summands."""
    _sum(to, out, call)
    x, dimensions = call.args[:2]
    to.elementwise("div_scalar", out, [out], x=float(prod(x.shape[dimension] for dimension in dimensions)))


def _lerp(to: Translation, out: Tensor, call: Call) -> None:
    start, end, weight = call.args
    if not isinstance(weight, float) or abs(weight) >= 0.5:
        raise UnknownCallError("a blend with more than half of the other")
    to.elementwise("lerp", out, [start, end], x=weight)


def _tanh(to: Translation, out: Tensor, call: Call) -> None:
    to.whole_buffers("tanh", out, [call.args[0]], like=call.args[0])


def _tanh_slope(to: Translation, out: Tensor, call: Call) -> None:
    gradient, y = call.args
    to.whole_buffers("tanh_slope", out, [gradient, y], like=y)


def _softmax(to: Translation, out: Tensor, call: Call) -> None:
    x, dimension = call.args[0], call.args[1]
    columns = x.shape[-1]
    if dimension not in (-1, x.dim() - 1) or columns % COLUMN_GROUP or not (x.is_contiguous() and out.is_contiguous()):
        raise UnknownCallError("a softmax over another dimension")
    to.check_trials(x)
    to.emit("softmax", [out, x], (1, x[0].numel() // columns, columns), [], apart=[out.stride(0), x.stride(0)])


def _max_pool(to: Translation, out: Tensor, call: Call) -> None:
    x, indices = call.args[0], call.kwargs["indices"]
    _pool(to, "max_pool", [out, x, indices], size=_window(call.args[1:]), small=out, large=x)
    to.note(indices)


def _max_pool_slope(to: Translation, out: Tensor, call: Call) -> None:
    dy, x, *window, indices = call.args
    _pool(to, "max_pool_slope", [out, dy, indices], size=_window(window), small=dy, large=x)


def _window(arguments: Sequence[Any]) -> int:
    """The side of square windows side by side, of the arguments that say so.

    Raises:
        UnknownCallError: they are others.
    """
    kernel, stride, *others = arguments  # what is at its default does not reach the dispatcher
    if not kernel == stride == [kernel[0]] * 2 or others != [[0, 0], [1, 1], False][: len(others)]:
        raise UnknownCallError("a pool of other windows")
    return int(kernel[0])


def _pool(to: Translation, code: str, tensors: Sequence[Tensor], *, size: int, small: Tensor, large: Tensor) -> None:
    """Of images (trials x channels, examples, height, width) whose examples lie side by side in memory."""
    images, left_over = divmod(len(large), to.num_trials)
    if left_over or not all(t.permute(0, 2, 3, 1).is_contiguous() for t in (*tensors, small, large)):
        raise UnknownCallError("a pool of examples that lie apart")
    _, batch, height, width = large.shape
    n = (images, *small.shape[2:])
    apart = [images * t[0].numel() for t in tensors]
    to.emit(code, tensors, n, [(batch, height, width), (size, 0, 0)], apart=apart)


_VIEW = "view"
_NOTHING = {_VIEW, "aten.empty_like.default"}
"""Memory that was taken while the step was recorded is still there."""
_TRANSLATIONS: dict[str, _Translate] = {
    "aten.copy_.default": _copy,
    "aten.index_select.out": _gather,
    "aten.bmm.out": _bmm,
    "aten.baddbmm.out": _baddbmm,
    "aten.sum.IntList_out": _sum,
    "aten.mean.out": _mean,
    "aten.softmax.int_out": _softmax,
    "aten.max_pool2d_with_indices.out": _max_pool,
    "aten.max_pool2d_with_indices_backward.grad_input": _max_pool_slope,
    "aten.lerp_.Scalar": _lerp,
    "aten.rsqrt_.default": _of("rsqrt"),
    "aten.tanh.out": _tanh,
    "aten.tanh_backward.grad_input": _tanh_slope,
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
    "aten.div.out": _of("div", with_number="div_scalar"),
    "aten.div.Tensor": _of("div"),
    "aten.addcmul_.default": _of("addcmul"),
    "aten.addcmul.out": _of("addcmul"),
    "aten.sqrt.out": _root,
    "aten.sign.default": _of("sign"),
}
