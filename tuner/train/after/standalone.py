"""Predicts with the network beside this file. It needs torch and numpy, not tuner and not the training data.

Where there is a folder `code`, the network is your own code, and needs what that imports. Images need pillow.

    python predict.py examples.csv      # a line of names, unless the training file had none; then the examples
    python predict.py examples.csv --keep id    # with this column of the file before the predictions
    python predict.py examples.csv --threshold 0.2    # of two classes the second from this probability on
    python predict.py inputs.npy        # one row for each example, in the shape of the training inputs
    python predict.py folder            # of images, by their names

Predictions go to stdout as CSV. `predict` is there to import.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
import torch

from tuner.train.after.standalone_files import Block, read_blocks
from tuner.train.after.standalone_inputs import Array, InputError, Known, Row, note_unseen, prepared, some

_HERE = Path(__file__).parent
_CHUNK = 1024

Network: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""From prepared inputs to class probabilities, or targets in their own units."""


def predict(inputs: Array | Sequence[Row]) -> Array:
    """Class probabilities, or predicted targets in their own units, shape (examples, outputs).

    Args:
        inputs: An array of raw inputs, (examples, ...), or a dict of column texts for each example.

    Raises:
        InputError: they are not as those that the network was trained with.
    """
    return _answers(inputs, _known(), _network())


def _answers(inputs: Array | Sequence[Row], known: Known, network: Network, *, first: int = 1) -> Array:
    with torch.no_grad():
        chunks = torch.split(torch.from_numpy(prepared(inputs, known, first=first)), _CHUNK)
        return np.asarray(torch.cat([network(chunk) for chunk in chunks]).numpy())


def write_predictions(
    blocks: Iterable[Block], known: Known, network: Network, out: TextIO, *, keep: Sequence[str] = (),
    threshold: float | None = None,
) -> list[str]:  # fmt: skip
    """Write a line of CSV for each example, below a line of names.

    Args:
        blocks: The examples.
        known: What was measured on the training part.
        network: Answers for prepared inputs.
        out: Takes the lines.
        keep: Columns of the examples that come before the predictions.
        threshold: The probability from which on the second of two classes is the answer; the more probable one if None.

    Returns:
        What to know of the examples.

    Raises:
        InputError: there are none, or they are not as those that the network was trained with; or a threshold is given
            where there are not two classes.
    """
    lines, names, is_class = csv.writer(out, lineterminator="\n"), known["outputs"], known["task"] == "classification"
    if threshold is not None and not (is_class and len(names) == 2):
        raise InputError("a threshold decides between two classes, and there are others here: leave it out")
    count, unseen = 0, dict[str, set[str]]()
    for inputs, before in blocks:
        found = _answers(inputs, known, network, first=count + 1)
        if not count:
            first = list(keep) or (["file"] if before and before[0] else [])
            lines.writerow([*first, *(["class"] if is_class else []), *names])
        for own, row in zip(before, found, strict=True):
            chosen = int(row.argmax()) if threshold is None else int(row[1] >= threshold)
            probable = [names[chosen]] if is_class else []
            shown = map(str, row) if known["task"] == "regression" else (f"{value:.6g}" for value in row)
            lines.writerow([*own, *probable, *shown])
        if not isinstance(inputs, np.ndarray):
            note_unseen(inputs, known, unseen)
        count += len(found)
    if not count:
        raise InputError("there are no examples")
    return [
        f"column {name}: the training examples had no {some(sorted(texts))}, which is taken for none of its categories"
        for name, texts in unseen.items()
    ]


def _network() -> Network:
    """The traced network; where it could not be traced, it is built by your own code."""
    if not (_HERE / "network.json").exists():
        return torch.export.load(_HERE / "network.pt2").module()
    return _beside("network").load()  # type: ignore[no-any-return]


def _beside(name: str) -> Any:
    """A module in this folder."""
    spec = importlib.util.spec_from_file_location(f"{name}_beside_predict", _HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads((_HERE / "preparation.json").read_text(encoding="utf-8"))
    return known


def main(path: Path, keep: Sequence[str] = (), threshold: float | None = None) -> None:
    """Print a prediction for each example of a file."""
    try:
        known = _known()
        blocks = read_blocks(path, known, keep)
        for note in write_predictions(blocks, known, _network(), sys.stdout, keep=keep, threshold=threshold):
            print(note, file=sys.stderr)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--keep", action="append", default=[], metavar="COLUMN")
    parser.add_argument("--threshold", type=float, metavar="P")
    given = parser.parse_args()
    main(given.path, given.keep, given.threshold)
