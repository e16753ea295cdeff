"""The test part. Only `tuner test` may import this module, and a test of ours sees to it."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.data.dataset import Split
from tuner.data.load import parts_of_study
from tuner.data.preparation import prepare
from tuner.errors import DataError
from tuner.records import Json
from tuner.spec.model import SweepSpec


def load_test_split(spec: SweepSpec, *, known: Mapping[str, Json] | None = None) -> Split:
    """The test examples, prepared with what was measured on the training part.

    Args:
        spec: The sweep file.
        known: The facts of the data that the study was trained on.

    Raises:
        DataError: the sweep has no test part, or its data cannot be read.
        StudyMismatchError: the data are not those that are known.
    """
    parts = parts_of_study(spec, known=known)
    if parts.test is None:
        raise DataError(
            "there are no test examples; give data.test a file, or data.split a share, as {train: 0.6, dev: 0.2, "
            "test: 0.2}, before the search begins"
        )
    preparation = prepare(parts.train, spec.data)
    return preparation.apply(parts.test.open_for_the_final_test())
