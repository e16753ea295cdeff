"""Our strategy as Optuna's own sampler and pruner."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

import tuner
from tuner import PriorityPruner, PrioritySampler

EPOCHS = 27


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def quality(trial: optuna.Trial) -> float:
    rate = trial.suggest_float("learning_rate", 1e-4, 1.0, log=True)
    momentum = trial.suggest_float("momentum", 0.5, 0.99)
    units = trial.suggest_int("hidden_units", 16, 256, log=True)
    slope = 0.0
    if trial.suggest_categorical("activation", ["relu", "leaky"]) == "leaky":
        slope = trial.suggest_float("slope", 0.0, 1.0)
    if rate > 0.7:
        return math.nan
    return 1 - 0.1 * (math.log10(rate) + 1.5) ** 2 - 0.3 * (momentum - 0.8) ** 2 - abs(units - 90) / 900 - slope / 10


def objective(trial: optuna.Trial) -> float:
    best = quality(trial)
    for epoch in range(1, EPOCHS + 1):
        trial.report(best * (1 - math.exp(-epoch / 6)), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return best * (1 - math.exp(-EPOCHS / 6))


def study(*, seed: int = 0, trials: int = 30, direction: str = "maximize") -> optuna.Study:
    sampler = PrioritySampler(epochs=EPOCHS, seed=seed)
    made = optuna.create_study(direction=direction, sampler=sampler, pruner=PriorityPruner(sampler))
    sign = 1 if direction == "maximize" else -1
    made.optimize(lambda trial: sign * objective(trial) if sign > 0 else -objective_up(trial), n_trials=trials)
    return made


def objective_up(trial: optuna.Trial) -> float:
    return quality(trial)


def test_the_first_trial_is_the_default() -> None:
    first = study(trials=1).trials[0].params
    assert first["learning_rate"] == pytest.approx(0.01)
    assert first["hidden_units"] == 64


@pytest.mark.slow
def test_the_tiers_follow_and_bad_trials_are_pruned() -> None:
    trials = study().trials
    second = {name for name, value in trials[1].params.items() if value != trials[0].params[name]}
    assert second == {"learning_rate"}
    pruned = [t for t in trials if t.state is optuna.trial.TrialState.PRUNED]
    assert 3 <= len(pruned) <= 27
    assert {t.last_step for t in pruned} <= {3, 9}


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_it_finds_the_optimum(direction: str) -> None:
    best = study(trials=30, direction=direction).best_params
    assert best["learning_rate"] == pytest.approx(10**-1.5, rel=0.6)


@pytest.mark.slow
def test_it_is_better_than_chance() -> None:
    def mean_of(make: object) -> float:
        found = []
        for seed in range(4):
            made = optuna.create_study(direction="maximize", sampler=make(seed))  # type: ignore[operator]
            made.optimize(quality, n_trials=20)
            found.append(made.best_value)
        return sum(found) / len(found)

    ours = mean_of(lambda seed: PrioritySampler(seed=seed))
    chance = mean_of(lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert 0.995 - ours < 0.5 * (0.995 - chance)


def test_a_trial_is_given_up_at_a_rung_where_it_lies_far_below_the_others_and_nowhere_else() -> None:
    distributions = {"learning_rate": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)}

    def ended(rate: float, final: float) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(
            params={"learning_rate": rate}, distributions=distributions, value=final,
            intermediate_values={3: 0.6 * final, 9: 0.9 * final, EPOCHS: final},
        )  # fmt: skip

    def gives_up(value: float, *, epoch: int) -> bool:
        sampler = PrioritySampler(epochs=EPOCHS)
        made = optuna.create_study(direction="maximize", sampler=sampler, pruner=PriorityPruner(sampler))
        made.add_trials([ended(0.01 * 1.5**k, 0.8 + 0.01 * k) for k in range(6)])
        trial = made.ask()
        assert trial.suggest_float("learning_rate", 1e-4, 1.0, log=True) > 0
        trial.report(value, epoch)
        return trial.should_prune()

    assert gives_up(-9.0, epoch=3)
    assert gives_up(-9.0, epoch=9)
    assert not gives_up(-9.0, epoch=4)
    assert not gives_up(-9.0, epoch=EPOCHS)
    assert not gives_up(0.9, epoch=9)


def test_tiers_and_defaults_can_be_given() -> None:
    sampler = PrioritySampler(tiers={"b": 1, "a": 3}, defaults={"a": 0.25})
    made = optuna.create_study(sampler=sampler)
    made.optimize(lambda t: t.suggest_float("a", 0, 1) + t.suggest_float("b", 0, 1), n_trials=3)
    assert made.trials[0].params == {"a": 0.25, "b": 0.5}
    assert [t.params["a"] for t in made.trials[1:]] == [0.25, 0.25]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_study_also_when_it_is_continued() -> None:
    whole = study(seed=3, trials=24)
    part = study(seed=3, trials=12)
    sampler = PrioritySampler(epochs=EPOCHS, seed=3)
    continued = optuna.create_study(direction="maximize", sampler=sampler, pruner=PriorityPruner(sampler))
    continued.add_trials(part.trials)
    continued.optimize(objective, n_trials=12)
    assert [t.params for t in continued.trials] == [t.params for t in whole.trials]


def test_importing_tuner_imports_no_optuna() -> None:
    code = "import sys, tuner; sys.exit('optuna' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute"):
        tuner.NoSuchThing  # noqa: B018


@pytest.mark.slow
def test_the_example_of_the_documentation_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", page, flags=re.S) if "PrioritySampler" in block]
    assert sum(bool(line) for line in example.splitlines()) <= 14
    found: dict[str, object] = {}
    exec(compile(example, "docs/search.md", "exec"), found)  # our own documentation
    assert isinstance(found["study"], optuna.Study)
    assert len(found["study"].trials) >= 20


def test_momentum_is_spread_over_the_orders_of_its_distance_to_one() -> None:
    made = optuna.create_study(direction="maximize", sampler=PrioritySampler())
    made.optimize(lambda t: t.suggest_float("momentum", 0.0, 0.999), n_trials=4)
    distances = sorted(1 - t.params["momentum"] for t in made.trials[1:])
    assert distances[2] / distances[1] == pytest.approx(distances[1] / distances[0], rel=0.01)
    assert distances[2] > 5 * distances[1]


def test_a_momentum_that_may_be_negative_is_spread_evenly() -> None:
    made = optuna.create_study(direction="maximize", sampler=PrioritySampler())
    made.optimize(lambda t: t.suggest_float("momentum", -0.5, 0.9), n_trials=4)
    low, middle, high = sorted(t.params["momentum"] for t in made.trials[1:])
    assert high - middle == pytest.approx(middle - low, rel=0.01)
