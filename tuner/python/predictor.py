"""Predictions of raw examples in memory by stored weights, as exported folders and `tuner predict` make of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.errors import DataError, UsageError
from tuner.records import DataInfo, TrainedTrial
from tuner.spec.model import SweepSpec

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn


class RowPredictor:
    """Predicts raw examples, as the training examples were before any preparation, with or without their targets."""

    def __init__(self, spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo) -> None:
        """Load the network, and measure the training examples again as they were measured for the study.

        Args:
            spec: The sweep.
            trials: What predicts; of several, the mean of their predictions.
            info: The data that they were trained on.

        Raises:
            DataError: the training data cannot be read.
            StudyMismatchError: they are not those that the network was trained on.
            StorageError: the weights are damaged.
        """
        from tuner.train.after.predictor import preparation_of

        self.trials = tuple(one.trial for one in trials)
        self._known = preparation_of(spec, info)
        self._sources = spec, trials, info
        self._network = self._mean(passes=0)

    def __call__(
        self,
        examples: pd.DataFrame | Sequence[Mapping[str, object]] | npt.NDArray[Any],
        *,
        monte_carlo_passes: int = 0,
        threshold: float | None = None,
    ) -> pd.DataFrame:
        """A row for each example: the class and each class's probability, each label's, or targets in their own units.

        Args:
            examples: Rows with the columns of the training table (others are refused), or an array of inputs.
            monte_carlo_passes: Answer with the mean of so many passes with dropout on; 0 for the usual prediction.
            threshold: The probability from which on the second of two classes is the answer, as `--threshold` has it.

        Raises:
            DataError: they are not as the training examples were.
            UsageError: passes are asked of a network without dropout, or of the mean of several.
        """
        import pandas as pd

        from tuner.data.new_examples import as_texts
        from tuner.train.after.standalone import write_predictions
        from tuner.train.after.standalone_files import array_blocks, row_blocks
        from tuner.train.after.standalone_inputs import InputError

        if isinstance(examples, np.ndarray):
            blocks = array_blocks(examples)
        else:
            frame = examples if isinstance(examples, pd.DataFrame) else pd.DataFrame(list(examples))
            blocks = row_blocks(as_texts(frame), "the table", self._known)
        if monte_carlo_passes and len(self.trials) > 1:
            raise UsageError("passes with dropout on are of one network: take study.best.predictor()")
        answers = self._mean(passes=monte_carlo_passes) if monte_carlo_passes else self._network
        out = StringIO()
        try:
            write_predictions(blocks, self._known, answers, out, threshold=threshold)
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

    def _mean(self, *, passes: int) -> nn.Module:
        from tuner.train.after.predictor import mean_predictor

        return mean_predictor(*self._sources, passes=passes)
