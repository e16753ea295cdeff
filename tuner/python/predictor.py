"""Predictions of raw examples in memory by a trial's weights, as exported folders and `tuner predict` make of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DataError
from tuner.records import DataInfo, TrialRecord
from tuner.spec.model import SweepSpec

if TYPE_CHECKING:
    import pandas as pd


class RowPredictor:
    """Predicts raw examples, as the training examples were before any preparation, with or without their targets."""

    def __init__(self, spec: SweepSpec, record: TrialRecord, weights: Path, info: DataInfo) -> None:
        """Load the network, and measure the training examples again as they were measured for the study.

        Raises:
            DataError: the training data cannot be read.
            StudyMismatchError: they are not those that the network was trained on.
            StorageError: the weights are damaged.
        """
        from tuner.train.after.predictor import predictor_of, preparation_of

        self.trial = record.number
        self._known = preparation_of(spec, info)
        self._seed = record.seed or 0
        self._network = predictor_of(spec, record.params, weights, info, seed=self._seed)

    def __call__(
        self,
        examples: pd.DataFrame | Sequence[Mapping[str, object]] | npt.NDArray[Any],
        *,
        monte_carlo_passes: int = 0,
    ) -> pd.DataFrame:
        """A row for each example: the class and each class's probability, each label's, or targets in their own units.

        Args:
            examples: Rows with the columns of the training table (others are refused), or an array of inputs.
            monte_carlo_passes: Answer with the mean of so many passes with dropout on; 0 for the usual prediction.

        Raises:
            DataError: they are not as the training examples were.
            UsageError: passes are asked of a network without dropout.
        """
        import pandas as pd

        from tuner.data.new_examples import as_texts
        from tuner.train.after.predictor import MonteCarloPredictor
        from tuner.train.after.standalone import write_predictions
        from tuner.train.after.standalone_files import array_blocks, row_blocks
        from tuner.train.after.standalone_inputs import InputError

        if isinstance(examples, np.ndarray):
            blocks = array_blocks(examples)
        else:
            frame = examples if isinstance(examples, pd.DataFrame) else pd.DataFrame(list(examples))
            blocks = row_blocks(as_texts(frame), "the table", self._known)
        network, passes = self._network, monte_carlo_passes
        answers = MonteCarloPredictor(network, passes=passes, seed=self._seed) if passes else network
        out = StringIO()
        try:
            write_predictions(blocks, self._known, answers, out)
        except InputError as error:
            raise DataError(str(error)) from error
        found = pd.read_csv(StringIO(out.getvalue()), dtype={"class": str}, keep_default_na=False)
        if "class" in found:
            numbers = pd.to_numeric(found["class"], errors="coerce").astype("Int64", errors="ignore")
            if (numbers.astype(str) == found["class"]).all():  # classes that were numbers are numbers again
                found["class"] = numbers.astype("int64")
        if isinstance(examples, pd.DataFrame):
            found.index = examples.index
        return found
