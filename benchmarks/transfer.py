"""What transfer learning brings: digits 5 to 9 from few examples, from scratch and from a network of 0 to 4.

The digits lie anywhere on a larger sheet: that a stroke means the same wherever it is, few examples cannot teach.

    python benchmarks/transfer.py [--seeds 6]

For each seed a network is pre-trained on 0 to 4; then each way trains on the same few examples of each other digit,
with the same seed, and is scored on all the other examples at its last epoch (no choice is made on them).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from tuner.data.dataset import DataInfo, Split, TrainingData
from tuner.records import EpochsFinished, TrialJob
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.cohort import Cohort
from tuner.train.task import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from digit_tasks import Arrays, five_to_nine, zero_to_four

CNN = {"channels": 16, "conv_layers": 2, "hidden_units": 64}
PRETRAINING_EPOCHS, EPOCHS = 12, 20
SHOTS = (10,)
"""Examples of each class."""
SHEET, NOISE = 12, 0.1
WAYS: Mapping[str, Mapping[str, object] | None] = {
    "from scratch": None,
    "all layers": {},
    "body at a tenth of the rate": {"body_learning_rate_factor": 0.1},
    "last layer": {"train_last": 1},
}
"""Training settings by name; None: without the weights."""


def train(data: TrainingData, folder: Path, *, seed: int, epochs: int, start: Path | None, **given: object) -> float:
    """The dev accuracy at the last epoch of one training; its weights stay in the folder."""
    spec = SweepSpec(
        study="transfer",
        data=DataSpec(source="examples/digit_tasks.py:five_to_nine"),
        model=ModelSpec(
            kind="cnn",
            settings=CNN,  # type: ignore[arg-type]
            init_from=None if start is None else str(start),
            new_layers=[] if start is None else ["head"],
        ),
        training=TrainingSpec(optimizer="adam", learning_rate=0.01, batch_size=16, epochs=epochs, **given),  # type: ignore[arg-type]
    )
    job = TrialJob(trial=0, params={}, seed=seed, to_epoch=epochs, folder=str(folder))
    cohort = Cohort(Task(spec, data, torch.device("cpu")), [job], worker="benchmark")
    ends = [e for events in cohort.epochs() for e in events if isinstance(e, EpochsFinished)]
    return ends[-1].results[-1].dev_metric


def parted(arrays: Arrays, *, shots: int | None, seed: int) -> TrainingData:
    """So many examples of each class for training and the others for scoring; None: four fifths of all."""
    targets = torch.from_numpy(arrays[1])
    inputs = on_a_sheet(torch.from_numpy(arrays[0]), seed=seed)
    classes = int(targets.max()) + 1
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    ranks = torch.stack([(targets[order] == c).cumsum(0) for c in range(classes)])[
        targets[order], torch.arange(len(order))
    ]
    chosen = ranks <= shots if shots is not None else torch.arange(len(order)) < 0.8 * len(order)
    train, dev = order[chosen], order[~chosen]
    info = DataInfo(
        task="classification",
        input_shape=(1, SHEET, SHEET),
        num_outputs=classes,
        num_train=len(train),
        num_dev=len(dev),
        num_test=0,
    )
    return TrainingData(Split(inputs[train], targets[train]), Split(inputs[dev], targets[dev]), info)


def on_a_sheet(images: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Each image of 8x8 somewhere on a larger sheet, with noise: what few examples cannot teach, and many can."""
    draw = torch.Generator().manual_seed(seed)
    sheets = NOISE * torch.randn(len(images), 1, SHEET, SHEET, generator=draw)
    places = torch.randint(SHEET - 7, (len(images), 2), generator=draw).tolist()
    for sheet, image, (row, column) in zip(sheets, images, places, strict=True):
        sheet[:, row : row + 8, column : column + 8] += image
    return sheets


def with_interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    """Mean and the half-width of its 95 % interval (Student's t)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} ± {half:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    began = time.perf_counter()
    scores: dict[tuple[int, str], list[float]] = {(shots, way): [] for shots in SHOTS for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            pretrained = Path(folder, f"low-{seed}")
            low = parted(zero_to_four(), shots=None, seed=seed)
            train(low, pretrained, seed=seed, epochs=PRETRAINING_EPOCHS, start=None)
            for shots, way in scores:
                given, start = WAYS[way], pretrained / "weights.pt"
                high = parted(five_to_nine(), shots=shots, seed=seed)
                at = Path(folder, f"{seed}-{shots}-{way}")
                scores[shots, way].append(
                    train(high, at, seed=seed, epochs=EPOCHS, start=None if given is None else start, **(given or {}))
                )
    print(
        f"{seeds} seeds, {time.perf_counter() - began:.0f} s; accuracy, and difference from scratch, 95 % intervals\n"
    )
    print("| examples of each class | way | accuracy | gain |\n| --- | --- | --- | --- |")
    for (shots, way), found in scores.items():
        values, base = np.array(found), np.array(scores[shots, "from scratch"])
        gain = "" if way == "from scratch" else with_interval(values - base)
        print(f"| {shots} | {way} | {with_interval(values)} | {gain} |")


if __name__ == "__main__":
    main()
