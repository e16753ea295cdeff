"""From examples as read to tensors: missing values, categories, normalisation, all measured on the training part."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch

from tuner.data.dataset import Split
from tuner.data.examples import Examples, Indices, TextColumn
from tuner.data.quantiles import Curve, normal_curve
from tuner.data.stored import StoredRows, StreamedInputs
from tuner.data.unusable import UnusableColumns
from tuner.errors import DataError
from tuner.spec.model import DataSpec

MOST_CATEGORIES = 100
"""A column with more distinct texts among the training examples is refused."""

_BLOCK_ELEMENTS = 1 << 21

Floats = npt.NDArray[np.float64]
Numbers: TypeAlias = npt.NDArray[Any] | StoredRows


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparation:
    """What was measured on the training part; `apply` does the same to any part."""

    mean: Floats
    """Of each feature, of each feature of a step, or of each channel; broadcasts against one example."""
    std: Floats
    """Likewise; 1 for constant features."""
    constant: npt.NDArray[np.bool_]
    """Features that have one value in all training examples; they become 0."""
    marked: tuple[int, ...]
    """Positions of the numeric features that had missing values: each gets a column that says where."""
    categories: tuple[tuple[str, ...], ...]
    """For each text column, the texts that occur in the training part: each gets a column."""
    texts_marked: tuple[bool, ...]
    """For each text column, whether values were missing: then a further column says where."""
    normalise: bool
    curves: tuple[Curve, ...]
    """Of each numeric feature, what makes it normal before mean and std are taken; empty where nothing does."""
    target_mean: Floats
    """Of each regression target, shape (outputs,); empty for classes and labels."""
    target_std: Floats

    def apply(self, examples: Examples, *, lazily: bool = False) -> Split:
        """Prepare a part: float32 inputs, and targets as `Split` has them.

        Args:
            examples: As read. Those that are on disk are prepared when they are asked for.
            lazily: Prepare those in memory so, too.

        Raises:
            DataError: a value is too large for float32.
        """
        targets = self._targets(examples)
        numbers, codes = examples.numbers, examples.codes
        if not lazily and not isinstance(numbers, StoredRows):
            return Split(torch.from_numpy(self._inputs(examples)), targets, examples.rows, examples.groupings)
        stored = numbers if isinstance(numbers, StoredRows) else StoredRows(numbers, numbers.shape[1:])
        at_rest = dataclasses.replace(examples, numbers=stored)

        def prepare(rows: Indices) -> npt.NDArray[np.float32]:
            return self._inputs(dataclasses.replace(at_rest.take(rows), numbers=stored[rows], codes=codes[rows]))

        shape = (len(examples), *self._shape(stored.shape))
        # It is indexed as a tensor is, which is all that those who take a split from here do with it.
        inputs = cast(torch.Tensor, StreamedInputs(prepare, shape, torch.device("cpu")))
        return Split(inputs, targets, examples.rows, examples.groupings)

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one prepared example, from the shape of examples as read."""
        return (self._num_features(),) if len(shape) == 2 else shape[1:]

    def _inputs(self, examples: Examples) -> npt.NDArray[np.float32]:
        is_table = examples.numbers.ndim == 2
        inputs = np.empty((len(examples), *self._shape(examples.numbers.shape)), dtype=np.float32)
        numbers = inputs[:, : self.mean.size] if is_table else inputs
        with np.errstate(over="ignore"):
            for rows in _blocks(examples.numbers):
                self._write_numbers(examples.numbers[rows], numbers[rows])
        if is_table:
            inputs[:, self.mean.size :] = self._indicators(examples)
        _check_finite(inputs, [f"column {name}" for name in self.feature_names(examples)] if is_table else [])
        return inputs

    def feature_names(self, examples: Examples) -> tuple[str, ...]:
        """Names of the inputs of a table, in order: numbers, categories, marks of missing values."""
        return (
            *examples.number_names,
            *(
                f"{column.name}={text}"
                for column, texts in zip(examples.texts, self.categories, strict=True)
                for text in texts
            ),
            *(f"{examples.number_names[i]} missing" for i in self.marked if examples.number_names),
            *(f"{c.name} missing" for c, marked in zip(examples.texts, self.texts_marked, strict=True) if marked),
        )

    def _num_features(self) -> int:
        return self.mean.size + sum(map(len, self.categories)) + len(self.marked) + sum(self.texts_marked)

    def _write_numbers(self, block: npt.NDArray[Any], prepared: npt.NDArray[np.float32]) -> None:
        """Prepare the numbers of some examples; bytes of images by a table of what each becomes in each channel."""
        if not _is_bytes(block):
            prepared[:] = self._numbers(block)
            return
        num_channels = block.shape[1]
        every = np.arange(256, dtype=np.uint8).reshape(256, *(1 for _ in block.shape[1:])).repeat(num_channels, axis=1)
        table = self._numbers(every).astype(np.float32).reshape(256, num_channels)
        for channel in range(num_channels):
            prepared[:, channel] = table[:, channel][block[:, channel]]

    def _numbers(self, block: npt.NDArray[Any]) -> Floats:
        centred = _scaled(block, self.curves) - self.mean
        if self.normalise:
            centred /= self.std
        centred[np.isnan(centred)] = 0.0  # a missing value becomes the mean
        prepared = centred if self.normalise else centred + self.mean
        return np.where(self.constant, 0.0, prepared) if self.normalise else prepared

    def _indicators(self, examples: Examples) -> npt.NDArray[np.float32]:
        """Columns of 0 and 1 behind the numbers: categories, then missing numbers, then missing texts."""
        assert isinstance(examples.numbers, np.ndarray), "they are read block by block"
        assert isinstance(examples.codes, np.ndarray), "they are read block by block"
        columns = [
            _matches(column, codes, texts)
            for column, codes, texts in zip(examples.texts, examples.codes.T, self.categories, strict=True)
        ]
        columns.append(np.isnan(examples.numbers[:, list(self.marked)]))
        columns.append(examples.codes[:, list(self.texts_marked)] < 0)
        return np.concatenate(columns, axis=1, dtype=np.float32)

    def _targets(self, examples: Examples) -> torch.Tensor:
        if examples.task == "classification":
            return torch.from_numpy(examples.targets)
        if examples.task == "multi_label":
            return torch.from_numpy(examples.targets.astype(np.float32))
        with np.errstate(over="ignore"):
            standardised = ((examples.targets - self.target_mean) / self.target_std).astype(np.float32)
        _check_finite(standardised, [f"the target {name}" for name in examples.target_names])
        return torch.from_numpy(standardised)


def fit_preparation(
    train: Examples,
    *,
    normalise: bool | Literal["quantile"],
    standardise: bool = True,
    ignored: Sequence[str] = (),
) -> Preparation:
    """Measure the training part.

    Args:
        train: Its examples.
        normalise: Give the inputs zero mean and unit variance; `quantile`: having made each number normal.
        standardise: Likewise the targets of a regression.
        ignored: Columns that are left out already, to be named with those that should be.

    Raises:
        DataError: a text column has too many distinct values, a number is too large, or `quantile` is asked for what
            is no table in memory.
    """
    curves = _curves(train.numbers) if normalise == "quantile" else ()
    mean, std, constant = _moments(train.numbers, curves)
    _check_finite(std.reshape(1, -1), [f"column {name}" for name in train.number_names])
    is_table = train.numbers.ndim == 2
    counts_of_texts, unusable, categories = train.count_codes(), UnusableColumns(ignored), []
    for column, counts in zip(train.texts, counts_of_texts, strict=True):
        with unusable.looking_at(column.name):
            categories.append(_vocabulary(column, counts[1:]))
    unusable.refuse()
    target_mean = target_std = np.empty(0)
    if train.task == "regression":
        target_mean, target_std, _ = _moments(train.targets)
        _check_finite(target_std[None], [f"the target {name}" for name in train.target_names])
        if not standardise:
            target_mean, target_std = np.zeros_like(target_mean), np.ones_like(target_std)
    return Preparation(
        mean=mean,
        std=std,
        constant=constant,
        marked=tuple(int(i) for i in np.flatnonzero(count_missing(train.numbers))) if is_table else (),
        categories=tuple(categories),
        texts_marked=tuple(bool(counts[0]) for counts in counts_of_texts),
        normalise=bool(normalise),
        curves=curves,
        target_mean=target_mean,
        target_std=target_std,
    )


def prepare(train: Examples, asked: DataSpec) -> Preparation:
    """The preparation that a sweep file asks for, measured on the training part; raises as `fit_preparation` does."""
    return fit_preparation(
        train, normalise=asked.normalised.inputs, standardise=asked.normalised.targets, ignored=asked.ignore
    )


def check_learnable(train: Examples, preparation: Preparation) -> None:
    """Check that inputs and targets of the training part differ from example to example.

    Raises:
        DataError: all inputs, or all targets, are the same.
    """
    varied_texts = any(len(texts) > 1 for texts in preparation.categories) or any(preparation.texts_marked)
    if preparation.constant.all() and not preparation.marked and not varied_texts:
        raise DataError("every input is the same in all training examples, so that nothing can be learnt from them")
    if train.task == "regression" and (train.targets == train.targets[0]).all():
        of = f" {', '.join(train.target_names)}" if train.target_names else ""
        raise DataError(f"the target{of} is the same in all training examples, so that nothing can be learnt")


def _check_finite(values: npt.NDArray[Any], names: list[str]) -> None:
    """Refuse what has overflown; `names` tell the positions of axis 1, where they have names."""
    if not np.isfinite(values).all():
        position = int(np.argwhere(~np.isfinite(values))[0][1])
        name = names[position] if names else "an input"
        raise DataError(f"{name} holds numbers that are too large to compute with; scale it down")


def _blocks(numbers: Numbers) -> Iterator[slice]:
    """Slices of rows that are small enough to be held in float64."""
    step = max(1, _BLOCK_ELEMENTS // max(1, prod(numbers.shape[1:])))
    return (slice(first, first + step) for first in range(0, len(numbers), step))


def _curves(numbers: Numbers) -> tuple[Curve, ...]:
    if numbers.ndim != 2 or isinstance(numbers, StoredRows):
        raise DataError("normalise: quantile is for tables whose columns are held in memory; write normalise: true")
    return tuple(normal_curve(column.astype(np.float64)) for column in numbers.T)


def _scaled(block: npt.NDArray[Any], curves: Sequence[Curve] = ()) -> Floats:
    """Float64 values; the bytes of images become 0..1, and columns that have curves what these make of them."""
    values = block.astype(np.float64)
    for column, curve in zip(values.T, curves, strict=False):
        column[:] = curve.apply(column)
    return values / 255.0 if _is_bytes(block) else values


def _is_bytes(numbers: Numbers) -> bool:
    """Whether these are pixels of 8 bits."""
    return numbers.dtype == np.uint8 and numbers.ndim >= 4


def _moments(numbers: Numbers, curves: Sequence[Curve] = ()) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Mean, standard deviation (1 if constant) and constancy of each feature or channel, NaN left out.

    Two passes in float64, by rows in their order, so that the same examples always give the same numbers; bytes of
    images are counted in one.
    """
    if _is_bytes(numbers):
        return _moments_of_bytes(numbers)
    # Images and beyond share a mean in each channel (axis 1), sequences and tables in each feature (the last axis).
    axis = 1 if numbers.ndim >= 4 else numbers.ndim - 1
    others = tuple(i for i in range(numbers.ndim) if i != axis)
    shape = tuple(numbers.shape[i] if i == axis else 1 for i in range(1, numbers.ndim))
    size = numbers.shape[axis]
    count, total, squares = np.zeros(size), np.zeros(size), np.zeros(size)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for rows in _blocks(numbers):
        values = _scaled(numbers[rows], curves)
        count += (~np.isnan(values)).sum(axis=others)
        total += np.nansum(values, axis=others)
        low = np.fmin(low, np.fmin.reduce(values, axis=others))
        high = np.fmax(high, np.fmax.reduce(values, axis=others))
    mean = total / np.maximum(count, 1)
    with np.errstate(over="ignore"):
        for rows in _blocks(numbers):
            squares += np.nansum((_scaled(numbers[rows], curves) - mean.reshape(shape)) ** 2, axis=others)
    std = np.sqrt(squares / np.maximum(count, 1))
    constant = ~(high > low) | ~(std > 0)
    return mean.reshape(shape), np.where(constant, 1.0, std).reshape(shape), constant.reshape(shape)


def _moments_of_bytes(numbers: Numbers) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """The same from how often each byte occurs in each channel."""
    counts = np.zeros((numbers.shape[1], 256))
    for rows in _blocks(numbers):
        block = numbers[rows]
        for channel, found in enumerate(counts):
            found += np.bincount(block[:, channel].ravel(), minlength=256)
    values, shape = np.arange(256) / 255.0, (-1, *(1 for _ in numbers.shape[2:]))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    mean = (shares * values).sum(axis=1, keepdims=True)
    std = np.sqrt((shares * (values - mean) ** 2).sum(axis=1))
    constant = (counts > 0).sum(axis=1) < 2
    return mean.reshape(shape), np.where(constant, 1.0, std).reshape(shape), constant.reshape(shape)


def count_missing(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Missing values of each feature of a table."""
    found = np.zeros(numbers.shape[1], dtype=np.int64)
    for rows in _blocks(numbers):
        found += np.isnan(numbers[rows].astype(np.float64)).sum(axis=0)
    return found


def _vocabulary(column: TextColumn, counts: npt.NDArray[np.int64]) -> tuple[str, ...]:
    present = np.flatnonzero(counts)
    if len(present) > MOST_CATEGORIES:
        raise too_many_categories(column.name, len(present))
    return tuple(sorted(column.values[code] for code in present))


def too_many_categories(name: str, count: int) -> DataError:
    """What is said of a column of so many distinct texts."""
    return DataError(
        f"column {name} holds {count:,} distinct texts, more than the {MOST_CATEGORIES} that are encoded one by one; "
        f"turn it into numbers or fewer categories, or add ignore: [{name}]"
    )


def _matches(column: TextColumn, codes: npt.NDArray[Any], texts: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """(examples, texts): whether each example has each text; a text that training never showed matches none."""
    position = {text: i for i, text in enumerate(texts)}
    of_value = np.array([*(position.get(value, -1) for value in column.values), -1])
    matches: npt.NDArray[np.bool_] = of_value[codes][:, None] == np.arange(len(texts))
    return matches
