"""Modules that are trained as written, by tuner and by a loop written by hand, on the same work and one thread.

    python benchmarks/as_written.py [--digits 1797 270] [--rounds 7] [--epochs 20] [--json FILE]

Both train the same trial to the end, with batches of 32, and evaluate the dev set and as many training examples after
each epoch, for the gap: same seeds, same batches, same weights in the end (`tests/zoo/`). tuner's time holds all that
it does besides, within one cohort: checkpoints, curve, weights and predictions on disk. Of 1,797 digits an epoch has 34
steps, of 270 it has 6, beside which the start of a trial weighs more. Rounds are interleaved, the two go first in turn,
and each is warmed up. Ratios are hand / tuner, one for each round: above 1 tuner is quicker. They are of wall seconds,
and of CPU seconds, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `tests`

from tests.zoo import by_hand as hand  # noqa: E402
from tests.zoo.catalogue import ZOO, Entry  # noqa: E402
from tuner.data.dataset import TrainingData  # noqa: E402
from tuner.data.load import load_training_data  # noqa: E402
from tuner.execute.cores import available_cores  # noqa: E402
from tuner.records import TrialJob  # noqa: E402
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec  # noqa: E402
from tuner.train.loop.cohort import Cohort  # noqa: E402
from tuner.train.program import num_steps  # noqa: E402
from tuner.train.task import Task  # noqa: E402

NAMES = (
    "Causal", "Patches", "PackedSequences", "Rotary", "Spiking", "Mobile", "FourierOperator", "SpectrallyNormed",
    "Adapter", "Renormalised",
)  # fmt: skip
"""One of each reason to be trained as written that is common."""
DROPOUT = 0.1


def spec_of(entry: Entry, folder: Path, epochs: int) -> SweepSpec:
    return SweepSpec(
        study="bench",
        root=str(folder),
        data=DataSpec(source="digits.npz"),
        model=ModelSpec(kind=entry.model),
        training=TrainingSpec.model_validate({"epochs": epochs, "batch_size": hand.BATCH_SIZE, "early_stopping": None}),
    )


def by_tuner(task: Task, folder: Path, epochs: int) -> None:
    params = {"learning_rate": hand.LEARNING_RATE, "momentum": hand.MOMENTUM, "dropout": DROPOUT}
    job = TrialJob(trial=0, params=params, seed=1000, to_epoch=epochs, folder=str(folder))
    for _ in Cohort(task, [job], worker="bench").epochs():
        pass


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of wall time, and of CPU time."""
    began, of_cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - of_cpu


def measure(entry: Entry, folder: Path, data: TrainingData, *, rounds: int, epochs: int) -> dict[str, list[float]]:
    """Ratios of the two, one a round, which go first in turn; what is done once for a sweep comes before."""
    task = Task(spec_of(entry, folder, epochs), data, torch.device("cpu"))
    sample = data.train.inputs[: len(data.dev)]
    found: dict[str, list[float]] = {"wall": [], "cpu": []}
    for number in range(rounds + 1):
        works: list[Callable[[], object]] = [
            lambda: hand.by_hand(entry.kind, {"dropout": DROPOUT}, data, seed=1000, epochs=epochs, also=sample),
            lambda number=number: by_tuner(task, folder / f"{entry.name}{number}", epochs),
        ]
        order = (0, 1) if number % 2 else (1, 0)
        took = {place: seconds(works[place]) for place in order}
        for clock, by_hand, by_us in zip(found, took[0], took[1], strict=True):
            found[clock].append(by_hand / by_us)
    return {clock: ratios[1:] for clock, ratios in found.items()}  # the first warms up


def measure_all(count: int, *, rounds: int, epochs: int) -> dict[str, dict[str, list[float]]]:
    """All modules on so many digits; prints the table."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs, targets = load_digits(return_X_y=True)
        np.savez(folder / "digits.npz", X=inputs[:count].reshape(-1, 1, 8, 8), y=targets[:count])
        entries = {entry.name: entry for entry in ZOO}
        data = load_training_data(spec_of(entries[NAMES[0]], folder, 1))
        steps = num_steps(len(data.train), hand.BATCH_SIZE)
        print(f"\n{len(data.train)} examples, {steps} steps an epoch, {epochs} epochs, {rounds} rounds")
        print("| module | hand / tuner, median of CPU seconds (range) | of wall seconds |\n| --- | --- | --- |")
        for own in NAMES:
            found[own] = measure(entries[own], folder, data, rounds=rounds, epochs=epochs)
            print(f"| {own} | {in_words(found[own]['cpu'])} | {in_words(found[own]['wall'])} |", flush=True)
    for clock in ("cpu", "wall"):
        medians = [statistics.median(ratios[clock]) for ratios in found.values()]
        print(f"median of medians, {clock}: {statistics.median(medians):.2f}x")
    return found


def in_words(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, nargs="+", default=[1797, 270], help="of which 60 %% are trained on")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    print(f"{platform.processor() or platform.machine()}, {len(available_cores())} cores, torch {torch.__version__}, "
          "one thread")  # fmt: skip
    found = {n: measure_all(n, rounds=arguments.rounds, epochs=arguments.epochs) for n in arguments.digits}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
