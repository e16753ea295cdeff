"""The data that a sweep trains on and compares configurations by. The test part stays behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from math import prod
from pathlib import Path

import numpy as np
import torch

from tuner.data.columns_in_words import columns_in_words, notes_on_telling, telling_columns
from tuner.data.dataset import DataInfo, Fold, TrainingData
from tuner.data.examples import TEST, Examples
from tuner.data.fingerprint import Hashes, data_sha256, input_hashes
from tuner.data.identity import require_same_data
from tuner.data.notes import Overlap, notes_on_overlaps, notes_on_parts
from tuner.data.parts import Parts, read_parts
from tuner.data.preparation import Preparation, check_learnable, prepare
from tuner.data.prepared import kept_data
from tuner.data.shift import Contrast, contrast_of, given_apart, note_on_contrast, note_on_test_inputs
from tuner.data.stored import StoredRows, scattered
from tuner.data.train_dev import hold_out, hold_out_of_folds, num_held_out
from tuner.records import Json
from tuner.spec.model import SweepSpec


def load_training_data(
    spec: SweepSpec,
    *,
    kept_in: Path | None = None,
    prepared_in: Path | None = None,
    known: Mapping[str, Json] | None = None,
    pooled: bool = False,
) -> TrainingData:
    """Read, split and prepare the data of a sweep; the same file, seed and settings always give the same tensors.

    Args:
        spec: The sweep file.
        kept_in: Folder for arrays of a table that is streamed, shared by the study's workers; temporary if None.
        prepared_in: Folder for the prepared tensors of data that are not streamed, shared by all studies; if None they
            are read anew.
        known: The facts of the data that a study was trained on, which these are to be.
        pooled: Train on the dev examples, too; what is known may say so by itself.

    Raises:
        DataError: the data cannot be read or used; one line that names file, column and row where they are known.
        StudyMismatchError: they are not the data that are known.
        UserCodeError: the user's own function failed.
        MissingExtraError: the format needs a package that is not installed.
    """
    if pooled or prepared_in is None:
        return _loaded(spec, kept_in=kept_in, known=known, pooled=pooled)
    found = kept_data(
        spec, lambda lazily: _loaded(spec, kept_in=kept_in, known=known, lazily=lazily), within=prepared_in
    )
    if known:
        require_same_data(known, asdict(found.info), source=spec.data.source)
    return found


def _loaded(
    spec: SweepSpec,
    *,
    kept_in: Path | None,
    known: Mapping[str, Json] | None,
    pooled: bool = False,
    lazily: bool = False,
) -> TrainingData:
    parts, found = _parts(spec, known, kept_in=kept_in, pooled=pooled)
    preparation = prepare(parts.train, spec.data)
    check_learnable(parts.train, preparation)
    train = preparation.apply(_in_runs(parts.train), lazily=lazily)
    dev = preparation.apply(parts.dev, lazily=lazily)
    info = _info(parts, preparation, tuple(train.inputs.shape[1:]), metric=spec.objective.metric)
    if pooled or (known and known.get("pooled")):
        return TrainingData(train, dev, dataclasses.replace(info, pooled=True, notes=()))
    folds = tuple(
        Fold(torch.from_numpy(own), torch.from_numpy(dev), None if held_out is None else torch.from_numpy(held_out))
        for (own, dev), held_out in zip_longest(parts.folds, parts.held_out)
    )
    info = _with_contrasts(info, parts, preparation, found)
    train_dev = None if parts.train_dev is None else preparation.apply(parts.train_dev, lazily=lazily)
    return TrainingData(train, dev, info, folds, train_dev)


def _in_runs(train: Examples) -> Examples:
    """Training examples in the order in which they are read: those on disk in runs from all over the file."""
    if not isinstance(train.numbers, StoredRows):
        return train
    row_bytes = train.numbers.dtype.itemsize * prod(train.numbers.shape[1:])
    return train.take(scattered(len(train), row_bytes))


def measure_training_part(spec: SweepSpec, *, known: Mapping[str, Json] | None = None) -> tuple[Examples, Preparation]:
    """The training examples of a sweep as read, and what is measured on them.

    Raises:
        DataError: the data cannot be read or used.
        StudyMismatchError: they are not the data that are known.
    """
    parts = parts_of_study(spec, known=known)
    return parts.train, prepare(parts.train, spec.data)


def read_dev_part(spec: SweepSpec) -> Examples:
    """The dev examples of a sweep as read, not prepared.

    Raises:
        DataError: the data cannot be read.
    """
    return read_parts(spec.data, root=Path(spec.root)).dev


def parts_of_study(spec: SweepSpec, *, known: Mapping[str, Json] | None) -> Parts:
    """The examples of a sweep as read and split, if they are those that are known.

    Raises:
        DataError: the data cannot be read.
        StudyMismatchError: they are not the data that are known.
    """
    return _parts(spec, known)[0]


def _parts(
    spec: SweepSpec, known: Mapping[str, Json] | None, *, kept_in: Path | None = None, pooled: bool = False
) -> tuple[Parts, Contrast | None]:
    """The examples as read and split, or with train and dev in one, if those are what is known."""
    known, root = known or {}, Path(spec.root)
    if known.get("pooled"):
        parts = read_parts(spec.data, root=root, kept_in=kept_in, pooled=True)
        _require_same_parts(parts, known, source=spec.data.source)
        return parts, None
    parts, found = _with_train_dev(read_parts(spec.data, root=root, kept_in=kept_in), spec)
    _require_same_parts(parts, known, source=spec.data.source)
    return (read_parts(spec.data, root=root, kept_in=kept_in, pooled=True), None) if pooled else (parts, found)


def _with_train_dev(parts: Parts, spec: SweepSpec) -> tuple[Parts, Contrast | None]:
    """The parts with what `data.train_dev` holds out, and how well train and dev can be told apart."""
    if parts.folds:
        folds, held_out, found = hold_out_of_folds(parts.train, parts.folds, spec.data)
        return dataclasses.replace(parts, folds=folds, held_out=held_out), found
    train, train_dev, found = hold_out(parts.train, parts.dev, spec.data)
    return dataclasses.replace(parts, train=train, train_dev=train_dev), found


def _require_same_parts(parts: Parts, known: Mapping[str, Json] | None, *, source: str) -> None:
    """Compare what was read with what a study was trained on, before anything is computed from it.

    Raises:
        StudyMismatchError: they differ.
    """
    if known:
        require_same_data(known, _identity(parts), source=source)


def _identity(parts: Parts) -> dict[str, Json]:
    """The facts that tell these data from others; fields of `DataInfo`."""
    return {
        "num_train": min((len(own) for own, _ in parts.folds), default=len(parts.train)),
        "num_dev": len(parts.dev) // parts.repeats,
        "num_test": len(parts.test) if parts.test else 0,
        "class_names": parts.train.class_names,
        "target_names": parts.train.target_names,
        "num_train_dev": num_held_out(parts.held_out) if parts.train_dev is None else len(parts.train_dev),
        "sha256": data_sha256(*(part for part in (parts.train, parts.dev, parts.train_dev) if part is not None)),
        "test_sha256": parts.test.sha256 if parts.test else None,
    }


def _with_contrasts(info: DataInfo, parts: Parts, preparation: Preparation, found: Contrast | None) -> DataInfo:
    """Add what a classifier tells apart: dev from train examples, and inputs of test examples that are given apart."""
    notes = []
    if found is not None and found.material:
        notes.append(note_on_contrast(found, num_train_dev=info.num_train_dev))
        info = dataclasses.replace(info, train_dev_auroc=found.auroc)
    if test := _given_test_inputs(parts):
        # Where dev is of one kind with train, what is told from the one is told from the other.
        others = [("dev", parts.dev), *([("train", parts.train)] if info.train_dev_auroc is not None else [])]
        if parts.folds:  # whose training examples are dev examples, too
            others = [("train and dev", parts.train)]
        for other, examples in others:
            told = contrast_of(examples, test, preparation, by_targets=False)
            if told is not None and told.material:
                notes.append(note_on_test_inputs(told, other=other))
    return dataclasses.replace(info, notes=(*info.notes, *notes))


def _given_test_inputs(parts: Parts) -> Examples | None:
    """The inputs of test examples that are given apart; those of a random split cannot differ but by chance."""
    apart = parts.train.parts is not None and parts.test is not None
    if not apart or isinstance(parts.train.numbers, StoredRows):
        return None
    assert parts.test is not None
    test = parts.test.inputs_alone()
    return test if test.parts is not None and bool((test.parts == TEST).all()) else None


def _info(parts: Parts, preparation: Preparation, input_shape: tuple[int, ...], *, metric: str) -> DataInfo:
    train = parts.train
    overlaps = _overlaps(parts)
    copies = {(overlap.part, overlap.other): overlap.copies for overlap in overlaps}
    telling = telling_columns(train)
    return DataInfo(
        task=train.task,
        input_shape=input_shape,
        num_outputs=len(train.class_names) or train.targets.shape[1],
        folds=len(parts.folds),
        repeats=parts.repeats,
        dev_apart=given_apart(parts.dev),
        feature_names=preparation.feature_names(train) if len(input_shape) == 1 else (),
        num_numbers=preparation.mean.size if len(input_shape) == 1 else 0,
        target_mean=tuple(preparation.target_mean.ravel().tolist()),
        target_std=tuple(preparation.target_std.ravel().tolist()),
        dev_in_train=copies[("dev", "train")],
        test_in_train=copies.get(("test", "train"), 0),
        test_in_dev=copies.get(("test", "dev"), 0),
        notes=(
            *parts.notes,
            *notes_on_parts(train, parts.dev, preparation, metric=metric),
            *notes_on_telling(telling),
            *notes_on_overlaps(overlaps),
        ),
        columns=columns_in_words(train),
        telling_columns=telling,
        **_identity(parts),
    )


def _overlaps(parts: Parts) -> list[Overlap]:
    hashes = {"train": input_hashes(parts.train), "dev": input_hashes(parts.dev)}
    if parts.folds:
        return _overlaps_of_folds(parts, hashes["train"])
    pairs = [("dev", "train")]
    if parts.test is not None:
        hashes["test"] = parts.test.input_hashes
        pairs += [("test", "train"), ("test", "dev")]
    return [Overlap(a, b, copies=int(np.isin(hashes[a], hashes[b]).sum()), examples=len(hashes[a])) for a, b in pairs]


def _overlaps_of_folds(parts: Parts, pool: Hashes) -> list[Overlap]:
    once = parts.folds[: len(parts.folds) // parts.repeats]
    copies = sum(int(np.isin(pool[dev], pool[train]).sum()) for train, dev in once)
    found = [Overlap("dev", "train", copies=copies, examples=sum(len(dev) for _, dev in once))]
    if parts.test is not None:
        test = parts.test.input_hashes
        found.append(Overlap("test", "train", copies=int(np.isin(test, pool).sum()), examples=len(test)))
    return found
