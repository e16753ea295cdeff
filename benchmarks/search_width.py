"""What it costs a search that a coordinator of very many workers decides more cheaply.

    python benchmarks/search_width.py --surrogate DIR --instances FILE --reference FILE [--sets 4] [--seeds 4]

With a thousand workers `priority` decides by a smaller model, which believes the most promising sixteenth of the trials
under way to turn out as expected (`tuner/search/priority/effort.py`), or a quarter of them where trials are long
enough for the full model. Here 32 workers train (`search_quality.py`), and the model believes as large a share of what
they train. For each way to decide: mean regret at each budget, and how much more that is than with the full model that
believes all of them, with the standard error of the paired differences.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

from search_quality import Run, play
from surrogate import read_instances

from tuner.search.priority import explorer
from tuner.search.priority.effort import FULL, LIGHT, MIDDLE, QUICK, Effort

WORKERS = 32
WAYS = {
    "full, all believed": replace(FULL, pending=WORKERS),
    "full, a quarter": replace(FULL, pending=WORKERS // 4),
    "middle, a sixteenth": replace(MIDDLE, pending=WORKERS // 16),
    "light, all believed": replace(LIGHT, pending=WORKERS),
    "light, a sixteenth": replace(LIGHT, pending=WORKERS // 16),
    "quick, a thirty-second": replace(QUICK, pending=WORKERS // 32),
}


@contextmanager
def decided_with(effort: Effort) -> Iterator[None]:
    """Has every decision made so."""
    given = explorer.worthwhile
    explorer.worthwhile = lambda *_, **__: effort  # type: ignore[assignment]
    try:
        yield
    finally:
        explorer.worthwhile = given


def regrets(job: tuple[str, Run]) -> tuple[str, Run, dict[int, float]]:
    """Of one search, by the budget."""
    way, run = job
    with decided_with(WAYS[way]):
        return way, run, {budget: score.regret for budget, score in play(run).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--surrogate", type=Path, required=True, help="folder of model.onnx")
    parser.add_argument("--instances", type=Path, required=True, help="JSON: data set to code")
    parser.add_argument("--reference", type=Path, required=True, help="JSON: data set to best and median values")
    parser.add_argument("--sets", type=int, default=4, help="every so manieth data set is left out, to have so many")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--budgets", default="20,40,80", help="in full trainings of 52 epochs")
    parser.add_argument("--ways", default=",,".join(WAYS), help="which of them, with two commas between")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    every = read_instances(given.instances, given.reference)
    instances = every[:: max(1, len(every) // given.sets)][: given.sets]
    budgets = tuple(sorted(int(budget) for budget in given.budgets.split(",")))
    make = partial(
        Run, strategy="priority", budgets=budgets, noise=0.0, shuffle_tiers=False, workers=WORKERS,
        surrogate=given.surrogate,
    )  # fmt: skip
    ways = given.ways.split(",,")
    jobs = [(w, make(instance=i, seed=s)) for s in range(given.seeds) for i in instances for w in ways]
    found: dict[tuple[str, int], dict[tuple[str, int], float]] = {(w, b): {} for w in ways for b in budgets}
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for way, run, regret in pool.imap_unordered(regrets, jobs):
            for budget, value in regret.items():
                found[way, budget][run.instance.name, run.seed] = value
            print(f"{way}, {run.instance.name}, seed {run.seed}: {regret}", flush=True)
    for budget in budgets:
        base = found[ways[0], budget]
        for way in ways:
            more = [value - base[case] for case, value in found[way, budget].items()]
            error = statistics.pstdev(more) / len(more) ** 0.5
            mean = statistics.fmean(found[way, budget].values())
            print(f"{budget:3} full trainings, {way:22}: {mean:.3f}, {statistics.fmean(more):+.3f} ({error:.3f})")


if __name__ == "__main__":
    main()
