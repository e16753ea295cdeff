"""Training throughput of a whole sweep: tuner against the loops that people write by hand.

    python benchmarks/throughput.py [--space fixed|narrow|normed|wide|cnn|all] [--data digits|FILE.csv] [--trials 64]
                                    [--epochs 30] [--rounds 3] [--model mlp|module] [--fuse auto|off]
                                    [--workers N] [--also unfused,memory] [--json FILE]

`typical`: Optuna's `study.optimize` (one process) over `nn.Sequential` and `DataLoader`s. `lean`: resident tensors,
no `DataLoader`, as many processes as tuner has workers. `tuner`: what `tuner run` does: strategy, workers, database,
checkpoints, leaderboard (the HTML page, drawn once at the end whatever the number of trials, is timed apart). All
train the same configurations on the same data, dropout on, with a dev evaluation after every epoch (tuner evaluates
training examples too), with one torch thread in each process; rounds are interleaved and everything is warmed up.
Figures are wall milliseconds for one epoch of one trial.

The spaces: `fixed` is 2 x 64 units, batches of 64; `narrow` 1 to 3 layers of 8 to 128 units, batches of 32 to 128;
`normed` the same with batch norm and tanh; `wide` 1 to 4 layers of 32 to 512 units, batches of 32 to 256; `cnn` two
convolutions of 8 and 16 channels, pooled, and a layer of 32 to 128 units, batches of 32 to 128.

`--also` adds contestants: `unfused` is tuner with `fuse: off`; `memory` is tuner's sweep without a database, whose
difference from the sweep with one is what the database costs.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import platform
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

import torch  # noqa: E402
from baselines import Configuration, lean_task, prepare_lean, run_typical  # noqa: E402

from tuner.data.load import load_training_data  # noqa: E402
from tuner.execute.cores import available_cores  # noqa: E402
from tuner.execute.devices import worker_places  # noqa: E402
from tuner.execute.local import LocalExecutor  # noqa: E402
from tuner.paths import StudyPaths  # noqa: E402
from tuner.report.write import write_page, write_tables  # noqa: E402
from tuner.search.registry import open_strategy  # noqa: E402
from tuner.spec.defaults import build_space  # noqa: E402
from tuner.spec.model import DataSpec, DimensionSpec, ModelSpec, SearchSpec, SweepSpec, TrainingSpec  # noqa: E402
from tuner.spec.space import Space  # noqa: E402
from tuner.store.memory import MemoryStore  # noqa: E402
from tuner.store.optuna_store import open_store  # noqa: E402
from tuner.store.reader import read_study  # noqa: E402
from tuner.store.store import StudyStore  # noqa: E402
from tuner.sweep.loop import StopRequest, Sweep  # noqa: E402
from tuner.sweep.study import describe  # noqa: E402
from tuner.sweep.watcher import Watcher  # noqa: E402

SPACES = ("fixed", "narrow", "normed", "wide", "cnn")
FIXED = ("norm", "activation", "conv_layers", "channels")
"""What all trials of a space share, and the sweep file therefore has beside the kind of the model."""


def configurations(space: str, count: int) -> list[Configuration]:
    """The trials of a space: the same for every contestant."""
    draw = random.Random(f"throughput {space}")

    def log_uniform(low: float, high: float) -> float:
        return math.exp(draw.uniform(math.log(low), math.log(high)))

    def one() -> Configuration:
        shape = {
            "fixed": lambda: (2, 64, 64),
            "narrow": lambda: (draw.randint(1, 3), round(log_uniform(8, 128)), draw.choice([32, 64, 128])),
            "wide": lambda: (draw.randint(1, 4), round(log_uniform(32, 512)), draw.choice([32, 64, 128, 256])),
            "cnn": lambda: (1, round(log_uniform(32, 128)), draw.choice([32, 64, 128])),
        }["narrow" if space == "normed" else space]()
        further = {
            "normed": lambda: {"norm": "batch", "activation": "tanh"},
            "cnn": lambda: {"conv_layers": 2, "channels": 8},
        }.get(space, dict)()
        return {
            "learning_rate": log_uniform(1e-3, 1e-1),
            "momentum": draw.uniform(0.5, 0.95),
            "weight_decay": log_uniform(1e-6, 1e-3),
            "dropout": draw.uniform(0.05, 0.5),
            "hidden_layers": shape[0],
            "hidden_units": shape[1],
            "batch_size": shape[2],
            **further,
        }

    return [one() for _ in range(count)]


def sweep_spec(data: str, trials: Sequence[Configuration], *, epochs: int, fuse: str, model: str) -> SweepSpec:
    """A sweep file's values whose start configurations are the trials."""
    source = "sklearn/digits" if data == "digits" else str(Path(data).resolve())
    kind = "cnn" if "channels" in trials[0] else "mlp"
    settings = {name: trials[0][name] for name in FIXED if name in trials[0]}
    space = {
        "learning_rate": DimensionSpec(low=1e-4, high=1.0),
        "momentum": DimensionSpec(low=0.1, high=0.99),
        "weight_decay": DimensionSpec(low=1e-7, high=1e-1),
        "dropout": DimensionSpec(low=0.0, high=0.9),
        **({"hidden_layers": DimensionSpec(low=1, high=4, type="int", tier=3)} if kind == "mlp" else {}),
        "hidden_units": DimensionSpec(low=8, high=512, type="int", tier=2),
        "batch_size": DimensionSpec(choices=[32, 64, 128, 256]),
    }
    start = [{name: value for name, value in trial.items() if name in space} for trial in trials]
    return SweepSpec(
        study="throughput",
        data=DataSpec(source=source),
        model=ModelSpec(kind=kind, settings=settings) if model == "mlp" else ModelSpec(kind="user_module.py:factory"),
        root=str(Path(__file__).resolve().parent),
        space=space,
        training=TrainingSpec(epochs=epochs, fuse=fuse),
        search=SearchSpec(trials=len(trials), strategy="random", start=start),
    )


class Tuner:
    """tuner with its workers started and its data loaded; each run is a new study."""

    def __init__(
        self,
        data: str,
        trials: Sequence[Configuration],
        *,
        epochs: int,
        workers: int,
        fuse: str,
        model: str,
        device: str = "cpu",
    ) -> None:
        self.spec = sweep_spec(data, trials, epochs=epochs, fuse=fuse, model=model)
        self.folder = Path(tempfile.mkdtemp(prefix="throughput-"))
        places = worker_places([device], workers=workers)
        self.executor = LocalExecutor(self.spec, StudyPaths(self.folder), places)
        self.facts = self.executor.facts
        self._runs = 0
        self.sweep_seconds: list[float] = []
        """Of each run, without its reports."""

    def train_in_memory(self) -> float:
        """The sweep without a database and reports; wall seconds."""
        self._runs += 1
        paths = StudyPaths(self.folder / str(self._runs))
        began = time.perf_counter()
        self._sweep(MemoryStore(direction=self.facts.direction), build_space(self.spec), paths)
        return time.perf_counter() - began

    def _sweep(self, store: StudyStore, space: Space, paths: StudyPaths) -> None:
        strategy = open_strategy(self.spec, space, self.facts.direction)
        sweep = Sweep(
            strategy, store, self.executor, folders=lambda n: paths.trial(n).folder,
            limits=self.spec.limits, watcher=Watcher(), stop=StopRequest(),
        )  # fmt: skip
        assert sweep.run()
        epochs = {record.epochs for record in store.records()}
        assert epochs <= {self.spec.training.epochs}, f"a trial ended early: {epochs}"

    def run(self) -> float:
        """One whole sweep: search, training, database, reports; wall seconds."""
        self._runs += 1
        began = time.perf_counter()
        paths = StudyPaths(self.folder / str(self._runs))
        paths.folder.mkdir(parents=True)
        space = build_space(self.spec)
        common = {"direction": self.facts.direction, "metric": self.facts.metric}
        with open_store(paths, study=self.spec.study, space=space, **common) as store:
            describe(store, self.spec, space, self.facts)
            self._sweep(store, space, paths)
        self.sweep_seconds.append(time.perf_counter() - began)
        analysis = write_tables(read_study(paths, study=self.spec.study), paths)
        seconds = time.perf_counter() - began
        if self._runs == 1:
            write_page(analysis, paths)
            self.page_seconds = time.perf_counter() - began - seconds
        return seconds

    def close(self) -> None:
        self.executor.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def multiplications(configuration: Configuration, inputs: int, outputs: int) -> int:
    width, layers = configuration["hidden_units"], configuration["hidden_layers"]
    if (channels := configuration.get("channels")) is None:
        return inputs * width + (layers - 1) * width**2 + width * outputs
    total, channels_in = 0, 1
    for _ in range(configuration["conv_layers"]):
        total += inputs * 9 * channels_in * channels
        channels_in, channels, inputs = channels, 2 * channels, inputs // 4
    return total + inputs * channels_in * width + width * outputs


def peak_flops() -> float:
    """The best measured speed of a matrix product on one thread, flop/s."""
    a = torch.ones(512, 512)
    best = math.inf
    for _ in range(10):
        began = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - began)
    return 2 * 512**3 / best


def measure(space: str, args: argparse.Namespace) -> dict[str, object]:
    """Compare on one space; prints the table and returns the figures for `--json`."""
    trials = configurations(space, args.trials)
    workers = args.workers or len(available_cores())
    ours = Tuner(args.data, trials, epochs=args.epochs, workers=workers, fuse=args.fuse, model=args.model)
    data = load_training_data(ours.spec)
    context = multiprocessing.get_context("forkserver")
    with context.Pool(workers, initializer=prepare_lean, initargs=(data,)) as pool:

        def lean() -> float:
            began = time.perf_counter()
            list(pool.imap_unordered(lean_task, [(c, args.epochs) for c in trials], chunksize=1))
            return time.perf_counter() - began

        contestants: dict[str, Callable[[], float]] = {
            "typical": lambda: run_typical(trials, data, epochs=args.epochs),
            "lean": lean,
            "tuner": ours.run,
        }
        others: list[Tuner] = []
        if "unfused" in args.also:
            others.append(Tuner(args.data, trials, epochs=args.epochs, workers=workers, fuse="off", model=args.model))
            contestants["unfused"] = others[0].run
        if "memory" in args.also:
            contestants["memory"] = ours.train_in_memory
        run_typical(trials[:2], data, epochs=1)
        pool.map(lean_task, [(c, 1) for c in trials[: 2 * workers]])
        ours.run()
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(args.rounds):
            for name, run in contestants.items():
                seconds[name].append(run())
    for tuner in (ours, *others):
        tuner.close()
    scale = 1e3 / (args.trials * args.epochs)
    milliseconds = {name: [s * scale for s in found] for name, found in seconds.items()}
    median = {name: statistics.median(found) for name, found in milliseconds.items()}
    over = {name: median[name] / median["tuner"] for name in contestants if name != "tuner"}
    inputs = data.train.inputs[0].numel()
    examples = 3 * len(data.train) + len(data.dev)
    flops = sum(2 * multiplications(c, inputs, data.info.num_outputs) for c in trials) * examples * args.epochs
    share = flops / (statistics.median(seconds["tuner"]) * workers * peak_flops())
    print(f"\n{space}: {args.trials} trials x {args.epochs} epochs of {len(data.train)} examples, {args.rounds} rounds")
    for name, found in milliseconds.items():
        ratio = f"  tuner is {over[name]:.2f}x as fast" if name in over else f"  {share:.0%} of the sgemm peak"
        print(f"  {name:8} {median[name]:8.3f} ms per trial-epoch [{min(found):.3f}, {max(found):.3f}]{ratio}")
    print(f"  (the HTML page with its plots is drawn once, after the sweep: {ours.page_seconds:.1f} s, not counted)")
    found: dict[str, object] = {f"over_{name}": ratio for name, ratio in over.items() if name != "memory"}
    if "memory" in contestants:
        without = statistics.median(seconds["memory"])
        cost = statistics.median(ours.sweep_seconds[-args.rounds :]) - without
        found["database_share"] = cost / statistics.median(seconds["tuner"])
        print(f"  the database takes {found['database_share']:.1%} of tuner's time")
    return found | {"ms_per_trial_epoch": median}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=[*SPACES, "all"], default="all")
    parser.add_argument("--data", default="digits", help="`digits`, or a CSV file whose last column is the target")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="processes of tuner and of lean; one for each core by default")
    parser.add_argument("--fuse", choices=["auto", "off", "require"], default="auto")
    parser.add_argument("--model", choices=["mlp", "module"], default="mlp", help="built in, or a user's own module")
    parser.add_argument("--also", default="", help="further contestants, with commas: unfused, memory")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    args.also = [name for name in args.also.split(",") if name]
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {len(available_cores())} cores, torch {torch.__version__}, "
          "one thread in each process")  # fmt: skip
    spaces = SPACES if args.space == "all" else (args.space,)
    found = {space: measure(space, args) for space in spaces}
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
