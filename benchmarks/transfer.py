"""What transfer learning brings: digits 5 to 9 from few examples, from scratch and from a network of 0 to 4.

The data are those of sweeps/transfer.yaml.

    python benchmarks/transfer.py [--seeds 6]

For each seed a network is pre-trained on 0 to 4; then each way trains on the same few examples of each other digit,
with the same seed and three learning rates, and is scored on all the other examples at its last epoch. Each way is
shown at the rate with the best mean, from scratch too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from tuner.data.dataset import DataInfo, Split, TrainingData
from tuner.records import EpochsFinished, TrialJob
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.loop.cohort import Cohort
from tuner.train.task import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from digit_tasks import Arrays, five_to_nine, zero_to_four

CNN = {"channels": 16, "conv_layers": 2, "hidden_units": 64}
PRETRAINING_EPOCHS, EPOCHS = 12, 20
SHOTS = (10,)
"""Examples of each class."""
LEARNING_RATES = (0.003, 0.01, 0.02)
WAYS: Mapping[str, Mapping[str, object] | None] = {
    "from scratch": None,
    "all layers": {},
    "body at 0.3 of the rate": {"body_learning_rate_factor": 0.3},
    "last two layers": {"train_last": 2},
    "last layer": {"train_last": 1},
}
"""Training settings by name; None: without the weights."""


def train(
    data: TrainingData,
    folder: Path,
    *,
    rates: Sequence[float],
    seed: int,
    epochs: int,
    batch_size: int,
    start: Path | None,
    **given: object,
) -> list[float]:
    """The dev accuracy at the last epoch with each learning rate; the weights stay in folders called 0, 1, ..."""
    spec = SweepSpec(
        study="transfer",
        data=DataSpec(source="examples/digit_tasks.py:five_to_nine"),
        model=ModelSpec(
            kind="cnn",
            settings=CNN,  # type: ignore[arg-type]
            init_from=None if start is None else str(start),
            new_layers=[] if start is None else ["head"],
        ),
        training=TrainingSpec(optimizer="adam", batch_size=batch_size, epochs=epochs, **given),  # type: ignore[arg-type]
        space={"learning_rate": {"low": 1e-4, "high": 1.0}},  # type: ignore[dict-item]
    )
    jobs = [
        TrialJob(trial=i, params={"learning_rate": rate}, seed=seed, to_epoch=epochs, folder=str(folder / str(i)))
        for i, rate in enumerate(rates)
    ]
    cohort = Cohort(Task(spec, data, torch.device("cpu")), jobs, worker="benchmark")
    ends = {e.trial: e for events in cohort.epochs() for e in events if isinstance(e, EpochsFinished)}
    return [ends[job.trial].results[-1].dev_metric for job in jobs]


def parted(arrays: Arrays, *, shots: int | None, seed: int) -> TrainingData:
    """So many examples of each class for training and the others for scoring; None: four fifths of all."""
    inputs, targets = torch.from_numpy(arrays["X"]), torch.from_numpy(arrays["y"])
    classes = int(targets.max()) + 1
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
    ranks = torch.stack([(targets[order] == c).cumsum(0) for c in range(classes)])[
        targets[order], torch.arange(len(order))
    ]
    chosen = ranks <= shots if shots is not None else torch.arange(len(order)) < 0.8 * len(order)
    train, dev = order[chosen], order[~chosen]
    info = DataInfo(
        task="classification",
        input_shape=tuple(inputs.shape[1:]),
        num_outputs=classes,
        num_train=len(train),
        num_dev=len(dev),
        num_test=0,
    )
    return TrainingData(Split(inputs[train], targets[train]), Split(inputs[dev], targets[dev]), info)


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
    scores: dict[tuple[int, str], list[list[float]]] = {(shots, way): [] for shots in SHOTS for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            pretrained = Path(folder, f"low-{seed}")
            low = parted(zero_to_four(seed=seed), shots=None, seed=seed)
            train(low, pretrained, rates=[0.003], seed=seed, epochs=PRETRAINING_EPOCHS, batch_size=64, start=None)
            for shots, way in scores:
                given, start = WAYS[way], pretrained / "0" / "weights.pt"
                found = train(
                    parted(five_to_nine(seed=seed), shots=shots, seed=seed),
                    Path(folder, f"{seed}-{shots}-{way}"),
                    rates=LEARNING_RATES,
                    seed=seed,
                    epochs=EPOCHS,
                    batch_size=16,
                    start=None if given is None else start,
                    **(given or {}),
                )
                scores[shots, way].append(found)
    print(
        f"{seeds} seeds, {time.perf_counter() - began:.0f} s; accuracy, and difference from scratch, 95 % intervals\n"
    )
    print("| examples of each class | way | learning rate | accuracy | gain |\n| --- | --- | --- | --- | --- |")
    best = {key: int(np.mean(by_seed, axis=0).argmax()) for key, by_seed in scores.items()}
    for (shots, way), by_seed in scores.items():
        values = np.array(by_seed)[:, best[shots, way]]
        base = np.array(scores[shots, "from scratch"])[:, best[shots, "from scratch"]]
        gain = "" if way == "from scratch" else with_interval(values - base)
        print(f"| {shots} | {way} | {LEARNING_RATES[best[shots, way]]} | {with_interval(values)} | {gain} |")


if __name__ == "__main__":
    main()
