"""Predictions of new raw examples by a trial's weights: what an exported folder does, without writing one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from tuner.data.new_examples import read_array, read_rows
from tuner.errors import DataError
from tuner.models.generators import seed_generators
from tuner.records import DataInfo, TrainedTrial
from tuner.spec.model import SweepSpec
from tuner.train.after.predictor import mean_predictor, preparation_of
from tuner.train.after.standalone import write_predictions
from tuner.train.after.standalone_files import array_blocks, read_blocks, row_blocks
from tuner.train.after.standalone_inputs import InputError


def predict_file(
    spec: SweepSpec, trials: Sequence[TrainedTrial], info: DataInfo, given: Path, out: Path, *,
    keep: Sequence[str] = (), passes: int = 0, threshold: float | None = None,
) -> list[str]:  # fmt: skip
    """Write the predictions of a file's examples, or of a folder of images, as CSV.

    Args:
        spec: The sweep.
        trials: What predicts; of several, the mean of their predictions.
        info: The data that they were trained on.
        given: The new examples.
        out: The file to write.
        keep: Columns of the file that come before the predictions.
        passes: With dropout on, of which the predictions are the mean; 0 for the usual ones.
        threshold: The probability from which on the second of two classes is the answer; the more probable one if None.

    Returns:
        What to know of the examples.

    Raises:
        DataError: the examples, or the training data, whose preparation is measured again, cannot be read or used.
        StudyMismatchError: the data are not those that the network was trained on.
        StorageError: the weights are damaged.
        UsageError: passes are asked of a network without dropout.
    """
    torch.set_num_threads(1)
    known = preparation_of(spec, info)
    network = mean_predictor(spec, trials, info, passes=passes)
    seed_generators(trials[0].seed, "evaluation", device=torch.device("cpu"))
    try:
        if (array := read_array(given)) is not None:
            if keep:
                raise InputError(f"{given.name} has no columns to keep")
            blocks = array_blocks(array)
        elif (rows := read_rows(given)) is not None:
            blocks = row_blocks(rows, given.name, known, keep)
        else:
            blocks = read_blocks(given, known, keep)
        with out.open("w", encoding="utf-8", newline="") as file:
            return write_predictions(blocks, known, network, file, keep=keep, threshold=threshold)
    except InputError as error:
        raise DataError(str(error)) from error
