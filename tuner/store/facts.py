"""The facts of a study that tuner reads, and what each must be; facts of other names are somebody else's."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import Json
from tuner.spec.kept.code_versions import VERSION_PREFIX
from tuner.spec.kept.space_values import space_from_json
from tuner.spec.space import Space
from tuner.store.codec import STUDY_ATTRIBUTE, decode
from tuner.store.shapes import (
    Shape,
    StoredValueError,
    anything,
    count,
    finite,
    list_of,
    mapping,
    mapping_of,
    moment,
    name_text,
    number,
    optional,
    parts,
    scalar,
    shown,
    text,
    whole,
)

MARK = parts(metric=name_text)
"""What marks a study as ours."""

_SWEEP = parts(
    study=text,
    data=parts(source=text),
    model=mapping,
    command=optional(text),
    trainer=optional(text),
    folder=optional(text),
    objective=parts(metric=name_text, target_error=optional(number), others=optional(list_of(mapping))),
    constraints=optional(list_of(mapping)),
    space=optional(mapping),
    training=parts(epochs=count, optimizer=anything),
    search=parts(trials=count, strategy=text),
    finalists=optional(mapping),
    answer=text,
    limits=mapping,
)
"""What reports read of a sweep file; who needs all of it reads it with `tuner.store.study_data.sweep_of`."""
_DATA = parts(
    task=text,
    input_shape=list_of(count),
    num_outputs=count,
    num_train=count,
    num_dev=count,
    num_test=count,
    num_train_dev=count,
    folds=count,
    repeats=count,
    class_names=list_of(text),
    feature_names=list_of(text),
    num_numbers=count,
    target_names=list_of(text),
    target_mean=list_of(number),
    target_std=list_of(number),
    dev_in_train=count,
    test_in_train=count,
    test_in_dev=count,
    train_dev_auroc=optional(number),
    sha256=text,
    test_sha256=optional(text),
    notes=list_of(text),
    telling_columns=list_of(text),
)
_TEST = whole(
    value=number, interval=list_of(number, length=2), examples=count, trial=count, at=moment, params=mapping_of(scalar)
)
BASELINES_KEY = "baselines"
"""The fact that has what each baseline reached on the dev set, by its name."""
_BASELINE = parts(value=finite, loss=finite, examples=count, seconds=finite, failed=text, sha256=text)
_TESTED = mapping_of(parts(value=number, interval=list_of(number, length=2), failed=text))
_AVERAGE = parts(value=number, interval=list_of(number, length=2), trials=list_of(count))


def _test(value: Json, name: str) -> None:
    """One use of the test set, with what baselines reach there as far as there are any."""
    _TEST(value, name)
    parts(baselines=_TESTED, average=_AVERAGE)(value, name)


_STUDY: Mapping[str, Shape] = {
    "sweep": _SWEEP,
    "root": text,
    "data": _DATA,
    "versions": mapping_of(text),
    "packages": mapping_of(text),
    "origin": mapping_of(text),
    "code_files": mapping_of(text),
    "weights": text,
    "command": text,
    "elapsed_seconds": finite,
    "tests": list_of(_test),
    BASELINES_KEY: mapping_of(_BASELINE),
}


def read_facts(texts: Mapping[str, str]) -> tuple[dict[str, Json], Space | None]:
    """The facts of a study, and its space, from JSON texts by key.

    In a study that tuner did not make, a fact that only bears the name of one of ours is left out.

    Raises:
        StoredValueError: one of them is not what it should be.
    """
    ours = STUDY_ATTRIBUTE in texts
    facts: dict[str, Json] = {}
    space = None
    for key, stored in texts.items():
        if not isinstance(key, str):
            raise StoredValueError(f"a fact's name must be text, got {shown(key)}")
        try:
            value = decode(stored)
            try:
                if key == STUDY_ATTRIBUTE:
                    MARK(value, key)
                elif key.startswith(VERSION_PREFIX):
                    mapping_of(text)(value, key)
                elif key in _STUDY:
                    _STUDY[key](value, key)
                elif key == "space":
                    space = _space(value)
            except StoredValueError:
                if ours:
                    raise
                continue
        except StoredValueError as error:
            raise StoredValueError(f'the study\'s fact "{key}": {error}', fact=key) from error
        facts[key] = value
    return facts, space


def _space(value: Json) -> Space:
    try:
        return space_from_json(value)
    except ValueError as error:
        raise StoredValueError(str(error)) from error
