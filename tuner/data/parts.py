"""The three parts of a data set, with the test part sealed: it can be counted and compared, not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tuner.data.content import Arrays, Content, Contents, StoredTable, Table
from tuner.data.examples import DEV, TEST, TRAIN, Examples, Indices
from tuner.data.fingerprint import Hashes, data_sha256, input_hashes
from tuner.data.folds import Positions, repeated_positions
from tuner.data.sources import read_contents
from tuner.data.split import split_examples
from tuner.errors import DataError
from tuner.spec.model import DataSpec


class _SealedExamples:
    """Examples that are set aside for the one final test. Only `tuner.data.test_set` opens them."""

    __slots__ = ("__examples", "input_hashes", "sha256")

    def __init__(self, examples: Examples) -> None:
        self.__examples = examples
        self.input_hashes: Hashes = input_hashes(examples)
        """A hash of each example's inputs, to find copies of test examples among the others."""
        self.sha256 = data_sha256(examples)
        """Of all of them, to notice when they are others."""

    def __len__(self) -> int:
        return len(self.input_hashes)

    def inputs_alone(self) -> Examples:
        """The examples with the same target for each, to ask whether their inputs are those of another distribution."""
        return replace(self.__examples, targets=np.zeros_like(self.__examples.targets))

    def open_for_the_final_test(self) -> Examples:
        """The examples; a test of ours lets only `tuner.data.test_set` call this."""
        return self.__examples


@dataclass(frozen=True, slots=True)
class Parts:
    """Examples as read, split."""

    train: Examples
    dev: Examples
    test: _SealedExamples | None
    notes: tuple[str, ...]
    train_dev: Examples | None = None
    """Examples of the training distribution that nothing is trained on; see `train_dev.py`."""
    folds: tuple[Positions, ...] = ()
    """Positions in `train`, which then holds all examples that are not for the test; `dev` repeats those of the
    folds' dev examples, one fold behind the other."""
    held_out: tuple[Indices, ...] = ()
    """Positions of each fold's train-dev part; empty where there is none."""
    repeats: int = 1
    """So many times the examples are shared out to folds."""


def read_parts(data: DataSpec, *, root: Path, kept_in: Path | None = None, pooled: bool = False) -> Parts:
    """Read what a sweep file names, and split it.

    Args:
        data: The sweep file's block.
        root: Folder of the sweep file.
        kept_in: Folder for arrays of a table that is streamed; temporary if None.
        pooled: Take the dev examples among those to train on, where they are dev examples still.

    Raises:
        DataError: a file cannot be read, or its examples cannot be used or split.
        UserCodeError: the user's own function failed.
        MissingExtraError: the format needs a package that is not installed.
    """
    examples, notes = _read_examples(data, root=root, kept_in=kept_in)
    train, dev, test = split_examples(examples, data)
    if data.stream and data.order is None:
        train, dev, test = (np.sort(part) for part in (train, dev, test))  # read forwards; see `train.batch.order`
    sealed = _SealedExamples(examples.take(test)) if len(test) else None
    if pooled:
        both = np.concatenate([train, dev])
        both = np.sort(both) if data.stream and data.order is None else both
        of_dev = examples.take(both if data.folds is not None else dev)
        return Parts(examples.take(both), of_dev, sealed, (*examples.notes, *notes))
    if data.cross_validation is not None:
        if examples.parts is not None and (examples.parts == DEV).any():
            raise DataError(
                "data.folds makes dev examples of the training examples, and dev examples are given apart; leave folds "
                "out where these are what the networks are for (a train-dev part then tells variance from mismatch), "
                "else give all examples in one part"
            )
        pool = examples.take(np.concatenate([train, dev]))
        folds = repeated_positions(pool, folds=data.cross_validation, seed=data.seed)
        of_folds = pool.take(np.concatenate([own for _, own in folds]))
        said, repeats = (*examples.notes, *notes), data.cross_validation.repeats
        return Parts(pool, of_folds, sealed, said, folds=tuple(folds), repeats=repeats)
    return Parts(examples.take(train), examples.take(dev), sealed, (*examples.notes, *notes))


def _read_examples(data: DataSpec, *, root: Path, kept_in: Path | None) -> tuple[Examples, tuple[str, ...]]:
    contents = read_contents(data.source, data, root=root)
    contents, notes = _with_parts_given_apart(contents, data, root=root)
    if isinstance(contents.train, StoredTable):
        from tuner.data.table_in_parts import examples_from_stored_table

        stored = examples_from_stored_table(contents.train, data=data, kept_in=kept_in)
        return replace(stored, takes_last=data.target is None), notes
    given = [(TRAIN, contents.train), (DEV, contents.dev), (TEST, contents.test)]
    parts = [part for part, content in given if content is not None]
    return _joined([content for _, content in given if content is not None], parts, data), notes


def _with_parts_given_apart(contents: Contents, data: DataSpec, *, root: Path) -> tuple[Contents, tuple[str, ...]]:
    """Add the files that `dev:` and `test:` name."""
    found: dict[str, Content | None] = {"dev": contents.dev, "test": contents.test}
    for name, location in (("dev", data.dev), ("test", data.test)):
        if location is None:
            continue
        if found[name] is not None:
            raise DataError(f"data.{name}: {data.source} holds {name} examples of its own; give them once")
        found[name] = read_contents(location, data, root=root).train
    notes = []
    if found["dev"] is not None and found["test"] is None:
        notes.append("the dev examples are given apart and no test examples are: there is no test part")
    if found["dev"] is not None and data.split != "auto":
        notes.append("split: has no effect, since the dev examples are given apart")
    return Contents(train=contents.train, dev=found["dev"], test=found["test"]), tuple(notes)


def _joined(contents: Sequence[Content], parts: Sequence[int], data: DataSpec) -> Examples:
    tables = [content for content in contents if isinstance(content, Table)]
    arrays = [content for content in contents if isinstance(content, Arrays)]
    if tables and arrays:
        raise DataError(f"{arrays[0].where} holds arrays and {tables[0].where} a table; give all parts in one form")
    if arrays:
        from tuner.data.arrays import examples_from_arrays

        return examples_from_arrays(arrays, parts=parts, data=data)
    from tuner.data.table import examples_from_tables

    return replace(examples_from_tables(tables, parts=parts, data=data), takes_last=data.target is None)
