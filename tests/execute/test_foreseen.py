"""Which configurations are foreseen, timed and planned before a sweep is run."""

from __future__ import annotations

import pytest

from tests.execute.sweeps import small_sweep
from tuner.execute import foreseen
from tuner.execute.facts import TaskFacts
from tuner.execute.foreseen import plan, to_time
from tuner.execute.planner import Planner
from tuner.records import Direction
from tuner.search.registry import open_strategy
from tuner.search.strategy import Start
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec

FACTS = TaskFacts(
    metric="accuracy", direction=Direction.MAXIMIZE, device="cpu",
    data={"input_shape": [64], "num_outputs": 10, "num_train": 1000, "num_dev": 200},
    calibration={"overhead_seconds": 1e-6, "flops_per_second": 1e10},
)  # fmt: skip


def sweep(strategy: str, *, trials: int = 12) -> SweepSpec:
    changes = {
        "space": {"hidden_units": {"low": 16, "high": 4096}},
        "search": {"strategy": strategy, "trials": trials},
    }
    return SweepSpec.model_validate(small_sweep(epochs=1).model_dump() | {"model": {"kind": "mlp"}} | changes)


@pytest.mark.parametrize("strategy", ["random", "qmc", "grid"])
def test_of_a_search_that_waits_for_no_results_its_own_trials_are_timed_the_largest_first(strategy: str) -> None:
    spec = sweep(strategy)
    space = build_space(spec)
    decisions = open_strategy(spec, space, Direction.MAXIMIZE).decide([], 12)
    own = [decision.params for decision in decisions if isinstance(decision, Start)]
    timed = to_time(spec, Planner(spec, FACTS, num_workers=1), default=space.default())
    assert timed[0] == max(own, key=lambda params: params["hidden_units"])
    assert all(params in own for params in timed[:-1])
    assert timed[-1] == space.default()


def test_a_search_that_learns_begins_with_the_default() -> None:
    spec = sweep("priority")
    default = build_space(spec).default()
    timed = to_time(spec, Planner(spec, FACTS, num_workers=1), default=default)
    assert timed[0] == default
    assert settings_for(spec, timed[1])["hidden_units"] > settings_for(spec, default)["hidden_units"]


@pytest.mark.parametrize(("strategy", "trials"), [("random", 12), ("population", 12), ("priority", 3)])
def test_all_trials_are_planned(strategy: str, trials: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreseen, "_MOST_FORESEEN", 5)
    planned = plan(sweep(strategy, trials=trials), FACTS, num_workers=2)
    assert planned.trials == trials
