"""What replays recorded steps on a CPU, and what each way to do it costs: processor time of the same trials.

    python benchmarks/replay.py [--spaces fixed,narrow,wide,module,norm] [--trials 16] [--epochs 20] [--rounds 5]

`kernels` is what tuner does: compiled kernels where they know the step, and else TorchScript. `script` is the same
without a C compiler. `python` records nothing. All train the trials of `throughput.py` in cohorts, in this process and
on one thread, with the same curves to the bit, in turns that begin with another one in each round. `module` is a
user's own MLP of the fixed shape; `norm` has that shape with batch norm.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import torch  # noqa: E402
from baselines import Configuration  # noqa: E402
from throughput import configurations, sweep_spec  # noqa: E402

from tuner.data.dataset import TrainingData  # noqa: E402
from tuner.data.load import load_training_data  # noqa: E402
from tuner.records import EpochsFinished, TrialJob  # noqa: E402
from tuner.spec.defaults import settings_for  # noqa: E402
from tuner.spec.model import SweepSpec  # noqa: E402
from tuner.train.loop.cohort import Cohort  # noqa: E402
from tuner.train.programs.fusion import fusion_key  # noqa: E402
from tuner.train.replay.native.library import library, unavailable_reason  # noqa: E402
from tuner.train.replay.replay import ReplayedStep  # noqa: E402
from tuner.train.task import Task  # noqa: E402

WAYS = ("kernels", "script", "python")
WIDTH = 16
"""Most trials of a cohort."""


@contextmanager
def replayed_by(way: str) -> Iterator[None]:
    """Within the block steps are replayed in this way alone."""
    own = ReplayedStep.__init__

    def without_recording(self: ReplayedStep, step: object, **options: object) -> None:
        own(self, step, **{**options, "script_after": None})  # type: ignore[arg-type]

    with ExitStack() as stack:
        if way != "kernels":
            stack.enter_context(patch("tuner.train.replay.replay.library", lambda: None))
        if way == "python":
            stack.enter_context(patch.object(ReplayedStep, "__init__", without_recording))
        yield


def train(spec: SweepSpec, data: TrainingData, trials: Sequence[Configuration]) -> tuple[float, list[float]]:
    """Processor seconds of all trials, and their dev losses in order."""
    folder = Path(tempfile.mkdtemp(prefix="replay-"))
    task = Task(spec, data, torch.device("cpu"))
    by_key: dict[object, list[TrialJob]] = defaultdict(list)
    for number, params in enumerate(trials):
        job = TrialJob(
            trial=number, params=params, seed=number, to_epoch=spec.training.epochs, folder=str(folder / str(number))
        )
        by_key[fusion_key(spec, settings_for(spec, params))].append(job)
    losses: dict[tuple[int, int], float] = {}
    began = time.process_time()
    for jobs in (own[first : first + WIDTH] for own in by_key.values() for first in range(0, len(own), WIDTH)):
        for events in Cohort(task, jobs, worker="benchmark").epochs():
            reports = [event for event in events if isinstance(event, EpochsFinished)]
            losses |= {(report.trial, r.epoch): r.dev_loss for report in reports for r in report.results}
    seconds = time.process_time() - began
    shutil.rmtree(folder)
    return seconds, [losses[place] for place in sorted(losses)]


def measure(space: str, args: argparse.Namespace) -> None:
    """Compare the ways on one space; prints a line for each."""
    trials = configurations("fixed" if space in ("module", "norm") else space, args.trials)
    model = "module" if space == "module" else "mlp"
    spec = sweep_spec("digits", trials, epochs=args.epochs, fuse="auto", model=model)
    if space == "norm":
        spec = spec.model_copy(update={"model": spec.model.model_copy(update={"settings": {"norm": "batch"}})})
    data = load_training_data(spec)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    curves = []
    for number in range(-1, args.rounds):  # the first round warms up
        for place in range(len(WAYS)):
            way = WAYS[(number + place) % len(WAYS)]
            with replayed_by(way):
                taken, losses = train(spec, data, trials)
            curves.append(losses)
            seconds[way] += [taken] if number >= 0 else []
    assert all(curve == curves[0] for curve in curves), "the ways differ"
    for way in WAYS:
        own = [1e3 * s / (args.trials * args.epochs) for s in seconds[way]]
        ratios = [a / b for a, b in zip(seconds[way], seconds["kernels"], strict=True)]
        print(
            f"{space:7} {way:8} {statistics.median(own):7.3f} ms per trial-epoch [{min(own):.3f}, {max(own):.3f}]  "
            f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] of kernels",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", default="fixed,narrow,wide,module,norm")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    library(wait=True)
    print(f"torch {torch.__version__}, one thread; kernels: {unavailable_reason() or 'built'}")
    for space in args.spaces.split(","):
        measure(space, args)


if __name__ == "__main__":
    main()
