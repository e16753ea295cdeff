"""Learns a portfolio: configurations to try first, each good where those before it are not, over many data sets.

    python benchmarks/portfolio.py --surrogate DIR --instances FILE -o FILE [--count 8]

Random configurations are trained in full on each data set, by a surrogate of training. From them one after another is
taken that lowers the mean regret of the best one taken so far the most for the seconds that it trains, on average over
the data sets. Regret is 0 for the best of the random configurations on a data set, and 1 for the median one.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

import numpy as np
from numpy.typing import NDArray
from surrogate import SPACE, Surrogate

from tuner.records import Params
from tuner.search.cube import Cube
from tuner.search.sobol import sobol

Array = NDArray[np.float64]

CONFIGURATIONS = 2500
"""Trained on each data set."""
SEED = 20_000
"""Of the configurations: no search draws by it."""
COST_WEIGHT = 0.25
"""A configuration is worth what it gains, divided by its seconds to this power. Of eight that are taken so, the best is
as good within 0.01 of regret as of eight that are taken with 0, and they train for four fifths of the seconds."""
COUNT = 8
"""Configurations of a portfolio."""
_AT_ONCE = 250
"""Configurations whose curves are predicted at once."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was measured of configurations on data sets."""

    regret: Array
    """Shape (data sets, configurations)."""
    cost: Array
    """Seconds of a full training, in units of the data set's median, shape (data sets, configurations)."""


def evidence_of(scores: Array, seconds: Array) -> Evidence:
    """Put the scores of data sets on one scale.

    Args:
        scores: Of full trainings, larger is better, shape (data sets, configurations).
        seconds: That they took, likewise.
    """
    best, middle = scores.max(axis=1, keepdims=True), np.median(scores, axis=1, keepdims=True)
    spread = np.where(best > middle, best - middle, 1.0)
    return Evidence(regret=(best - scores) / spread, cost=seconds / np.median(seconds, axis=1, keepdims=True))


def greedy(evidence: Evidence, *, count: int, weight: float) -> list[int]:
    """The places of so many configurations, the first the most useful.

    Args:
        evidence: Of all configurations.
        count: How many to take.
        weight: Of the cost: 1 takes what lowers regret the most for a second, 0 what does for a training.
    """
    regret, cost = evidence.regret, evidence.cost.mean(axis=0) ** weight
    chosen: list[int] = []
    left = np.full((len(regret), 1), np.median(regret))
    for _ in range(count):
        lowered = (left - np.minimum(left, regret)).mean(axis=0) / cost
        lowered[chosen] = -1.0
        chosen.append(int(np.argmax(lowered)))
        left = np.minimum(left, regret[:, chosen[-1:]])
    return chosen


def learned_from_surrogate(
    folder: Path, instances: Path, *, count: int, weight: float, leave_one_out: bool = False
) -> dict[str, dict[str, object]]:
    """Portfolio files of configurations in the surrogate's space, which are of an MLP and SGD.

    Returns:
        One, learned on all data sets, by no name; or if each is left out in turn, one for each by its name.
    """
    surrogate, codes = Surrogate(folder), json.loads(instances.read_text())
    cube = Cube(SPACE)
    design = sobol(0, CONFIGURATIONS, dimensions=cube.columns, seed=SEED)
    configurations = [cube.params(point) for point in design]
    measured = [_measured(surrogate, code, configurations) for code in codes.values()]
    scores, seconds = (np.array(each) for each in zip(*measured, strict=True))
    found: dict[str, dict[str, object]] = {}
    for left_out in codes if leave_one_out else [""]:
        kept = [name != left_out for name in codes]
        places = greedy(evidence_of(scores[kept], seconds[kept]), count=count, weight=weight)
        about = {
            "learned_from": {"surrogate": folder.name, "data_sets": [name for name in codes if name != left_out]},
            "configurations": CONFIGURATIONS,
            "seed": SEED,
            "cost_weight": weight,
        }
        entry = {"models": ["mlp"], "optimizers": ["sgd"], "starts": [configurations[place] for place in places]}
        found[left_out] = {"about": about, "portfolios": [entry]}
    return found


def _measured(surrogate: Surrogate, code: int, configurations: list[Params]) -> tuple[Array, Array]:
    """Best accuracy and seconds of full trainings."""
    parts = [configurations[at : at + _AT_ONCE] for at in range(0, len(configurations), _AT_ONCE)]
    found = np.concatenate([surrogate.predicted(code, part) for part in parts]).astype(float)
    return found[:, :, 1].max(axis=1), found[:, -1, 0]


def main() -> None:
    """Parse the command line, learn and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surrogate", type=Path, required=True, help="folder of model.onnx")
    parser.add_argument("--instances", type=Path, required=True, help="JSON: data set to code")
    parser.add_argument("--count", type=int, default=COUNT, help="configurations to take")
    parser.add_argument(
        "--cost-weight", type=float, default=COST_WEIGHT, help="0: seconds do not count; 1: as gains do"
    )
    parser.add_argument(
        "--leave-one-out", action="store_true", help="-o is a folder: NAME.json is learned on the others"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the portfolio")
    given = parser.parse_args()
    found = learned_from_surrogate(
        given.surrogate, given.instances, count=given.count, weight=given.cost_weight, leave_one_out=given.leave_one_out
    )
    if given.leave_one_out:
        given.output.mkdir(parents=True, exist_ok=True)
    for name, portfolio in found.items():
        path = given.output / f"{name}.json" if given.leave_one_out else given.output
        path.write_text(json.dumps(portfolio, indent=1) + "\n")


if __name__ == "__main__":
    main()
