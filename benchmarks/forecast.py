"""What `tuner check` says that a sweep will take, in time and memory, against what `tuner run` then takes.

    python benchmarks/forecast.py [CASE ...] [--workers N] [--json FILE]

Each case makes its data on the spot. Memory is that of `scale_data.py`: all processes together, shared pages counted
once. `check` foretells the time on a machine as busy as it finds it, so nothing else may begin or end meanwhile.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from scale_data import Spec, watched, write_images, write_rows, write_table

EXAMPLES = Path(__file__).parents[1] / "examples"
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def sweep(source: str, model: str, *, trials: int, epochs: int, **more: object) -> Spec:
    """A sweep of random search with the default space, unless more says otherwise."""
    return {
        "study": "forecast",
        "data": {"source": source},
        "model": {"kind": model},
        "training": {"epochs": epochs},
        "search": {"trials": trials, "strategy": "random"},
        **more,
    }


def folds() -> Spec:
    return sweep("sklearn/wine", "mlp", trials=8, epochs=40, data={"source": "sklearn/wine", "folds": 5})


def stream(folder: Path) -> Spec:
    source = write_table(folder, count=50_000)
    return sweep(source, "mlp", trials=2, epochs=2, data={"source": source, "stream": True})


def command(_: Path) -> Spec:
    return {
        "study": "forecast",
        "command": f"{sys.executable} {EXAMPLES / 'scripts' / 'loop.py'} --lr {{learning_rate}} --width {{width}} "
        "--epochs {epochs} --seed {seed}",
        "objective": {"metric": "accuracy"},
        "space": {
            "learning_rate": {"low": 1e-4, "high": 0.1},
            "width": {"low": 4, "high": 64, "log": True, "tier": 2},
        },
        "training": {"epochs": 9},
        "search": {"trials": 6, "strategy": "random"},
    }


def module(_: Path) -> Spec:
    return {
        "study": "forecast",
        "data": {"source": f"{EXAMPLES / 'spirals.py'}:spirals"},
        "model": f"{EXAMPLES / 'two_layer_net.py'}:factory",
        "objective": {"metric": "accuracy"},
        "space": {
            "learning_rate": {"low": 1e-3, "high": 1.0},
            "first_units": {"low": 8, "high": 64, "log": True, "tier": 2},
            "second_units": {"low": 8, "high": 64, "log": True, "tier": 2},
            "dropout": {"low": 0.0, "high": 0.4},
        },
        "training": {"epochs": 40, "batch_size": 32},
        "search": {"trials": 8, "strategy": "random"},
    }


CASES: Mapping[str, Callable[[Path], Spec]] = {
    "recurrent": lambda _: sweep("sklearn/digits", "recurrent", trials=2, epochs=4),
    "2,000 epochs": lambda _: sweep("sklearn/iris", "mlp", trials=4, epochs=2000),
    "stream": stream,
    "command": command,
    "table": lambda folder: sweep(write_table(folder, count=100_000), "mlp", trials=4, epochs=3),
    "images": lambda folder: sweep(write_images(folder, count=100), "cnn", trials=2, epochs=2),
    "own module": module,
    "folds": lambda _: folds(),
    "wide network": lambda folder: (
        sweep(write_rows(folder, count=1000, width=64), "mlp", trials=2, epochs=2)
        | {"model": {"kind": "mlp", "hidden_layers": 3, "hidden_units": 1024}}
    ),
}


def foretold(text: str) -> tuple[float, float]:
    """Seconds and gigabytes in what `check` prints; NaN where it says nothing of them.

    Raises:
        SystemExit: it says no time at all.
    """
    time_said = re.search(r"^time: (?:about|under) ([\d.]+) (s|min|h)\b", text, re.MULTILINE)
    memory = re.search(r"^memory: needs about ([\d.]+) GB", text, re.MULTILINE)
    if time_said is None:
        sys.exit(f"check says no time:\n{text}")
    return float(time_said[1]) * SECONDS[time_said[2]], float(memory[1]) if memory else float("nan")


def compared(name: str, *, workers: int) -> dict[str, float]:
    """What was said and what came, of one case."""
    with tempfile.TemporaryDirectory(prefix="forecast-") as made:
        folder = Path(made)
        (folder / "sweep.yaml").write_text(json.dumps(CASES[name](folder), indent=2))
        tuner = [sys.executable, "-m", "tuner"]
        watched([*tuner, "check", "sweep.yaml", "--workers", str(workers)], folder)
        text = (folder / "output.txt").read_text()
        seconds, gigabytes = foretold(text)
        print(next(line for line in text.splitlines() if line.startswith("time: ")), file=sys.stderr, flush=True)
        began = time.monotonic()
        cost = watched([*tuner, "run", "sweep.yaml", "--workers", str(workers)], folder)
        took = time.monotonic() - began
    return {
        "said_seconds": seconds, "took_seconds": took, "took_cpu_seconds": cost.cpu_seconds,
        "said_megabytes": 1000 * gigabytes, "took_megabytes": cost.megabytes,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of: {', '.join(CASES)}; all if left out")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if unknown := set(args.cases) - CASES.keys():
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    found = {}
    print("| sweep | said | took | of all processors | said | took |\n| --- | --- | --- | --- | --- | --- |")
    for name in args.cases or CASES:
        found[name] = one = compared(name, workers=args.workers)
        print(
            f"| {name} | {one['said_seconds']:.0f} s | {one['took_seconds']:.0f} s | {one['took_cpu_seconds']:.0f} s | "
            f"{one['said_megabytes']:.0f} MB | {one['took_megabytes']:.0f} MB |",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
