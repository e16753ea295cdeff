"""Hashes of examples: what a split, the search for duplicates and the identity of a data set stand on.

They depend on the values alone, not on the order of the rows, the machine or the version of a library, so they are
written out here and not borrowed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tuner.data.examples import Examples
from tuner.data.stored import StoredRows

Hashes: TypeAlias = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK_WORDS = 1 << 18


def mix(z: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit numbers that looks random."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hash_texts(values: Sequence[str]) -> Hashes:
    """A hash for each text."""
    digests = [hashlib.blake2b(value.encode(), digest_size=8).digest() for value in values]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def hash_rows(x: npt.NDArray[Any] | StoredRows) -> Hashes:
    """A hash for each example of an array (examples, ...); zeros of either sign are equal, and so are all NaN."""
    result = np.empty(len(x), dtype=np.uint64)
    step = max(1, _BLOCK_WORDS // max(1, prod(x.shape[1:])))
    for first in range(0, len(x), step):
        block = x[first : first + step]
        words = _words(block.reshape(len(block), -1))
        places = mix(np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _GOLDEN)
        result[first : first + step] = mix(mix(words + places).sum(axis=1, dtype=np.uint64))
    return result


def _words(rows: npt.NDArray[Any]) -> Hashes:
    """The values of rows as 64-bit words."""
    if rows.dtype == np.uint8:  # eight pixels to a word
        padded = np.zeros((len(rows), -(-rows.shape[1] // 8) * 8), dtype=np.uint8)
        padded[:, : rows.shape[1]] = rows
        return padded.view("<u8").astype(np.uint64)
    if rows.dtype.kind in "biu":
        return rows.astype(np.int64).view(np.uint64)
    numbers = rows.astype(np.float64) + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return numbers.view(np.uint64)


def input_hashes(examples: Examples) -> Hashes:
    """A hash of each example's inputs."""
    hashes = hash_rows(examples.numbers)
    # Code -1, a missing text, is the last.
    of_values = [np.append(hash_texts(column.values), np.uint64(0)) for column in examples.texts]
    step = max(1, _BLOCK_WORDS // max(1, len(of_values)))
    for first in range(0, len(hashes) if of_values else 0, step):
        rows = slice(first, first + step)
        for of_value, codes in zip(of_values, examples.codes[rows].T, strict=True):
            hashes[rows] = mix(hashes[rows] * _GOLDEN + of_value[codes])
    return hashes


def example_hashes(examples: Examples) -> Hashes:
    """A hash of each example: inputs, target, group and time."""
    if examples.task == "classification":
        of_target = hash_texts(examples.class_names)[examples.targets]
    else:
        of_target = hash_rows(examples.targets)
    hashes = mix(input_hashes(examples) * _GOLDEN + of_target)
    for further in (examples.groups, examples.times):
        if further is not None:
            hashes = mix(hashes * _GOLDEN + hash_rows(further))
    return hashes


def shuffling_keys(hashes: Hashes, *, seed: int) -> Hashes:
    """A number for each example that puts them into a random order, the same whatever order they are given in.

    Equal examples get different keys (which of them gets which does not matter), so that they are shuffled too.
    """
    order = np.argsort(hashes, kind="stable")
    ascending = hashes[order]
    is_first = np.append(True, ascending[1:] != ascending[:-1])
    place = np.arange(len(hashes))
    copy_number = place - np.maximum.accumulate(np.where(is_first, place, 0))
    numbered = np.empty_like(hashes)
    numbered[order] = mix(ascending + (copy_number.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    of_seed = mix(np.asarray([seed & (2**64 - 1)], dtype=np.uint64))
    return mix(numbered ^ of_seed)


def data_sha256(*parts: Examples) -> str:
    """One SHA-256 of several parts, in their order."""
    digest = hashlib.sha256()
    for examples in parts:
        names = (examples.number_names, examples.class_names, examples.target_names, examples.numbers.shape[1:])
        digest.update(repr(names).encode())
        digest.update(example_hashes(examples).astype("<u8").tobytes())
    return digest.hexdigest()
