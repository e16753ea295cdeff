"""Studies whose truth is known: records, curves and dev predictions drawn from a stated model.

A network of configuration x has true accuracy f(x) plus the luck of its seed. It gets dev example j right when
`ability + sqrt(rho) * ease_j + sqrt(1 - rho) * noise > 0`, so that networks tend to fail on the same examples.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, ParamValue, TrialRecord, TrialState
from tuner.spec.space import Dimension, Space
from tuner.store.study_data import StudyData

NUM_CLASSES = 4

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128, 256)),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=16, high=256, scale="log"),
        Dimension(name="lr_decay", kind="float", tier=3, default=0.0, low=0.0, high=0.3),
        Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.6),
    )
)


@dataclass(frozen=True, kw_only=True)
class SimulatedStudy:
    study: StudyData
    truth: Mapping[int, float]
    """True accuracy of each trial's own network, on the population that the dev set was drawn from."""
    expected: Mapping[int, float]
    """Mean true accuracy of each trial's configuration over seeds."""
    targets: NDArray[np.int64]
    predictions: Mapping[int, NDArray[np.float32]]
    finalist_predictions: Mapping[int, NDArray[np.float32]]

    def write_files(self, paths: StudyPaths) -> None:
        """Lay predictions, dev targets and curves out as a run leaves them."""
        paths.folder.mkdir(parents=True, exist_ok=True)
        np.save(paths.dev_targets, self.targets)
        for records, place, arrays in (
            (self.study.records, paths.trial, self.predictions),
            (self.study.finalists, paths.finalist, self.finalist_predictions),
        ):
            for record in records:
                files = place(record.number)
                files.folder.mkdir(parents=True, exist_ok=True)
                if record.number in arrays:
                    np.save(files.predictions, arrays[record.number])
                if record.last is not None:
                    _write_curve(files.curve, simulated_curve(record))


def simulate(
    *,
    trials: int = 40,
    seed: int = 0,
    num_dev: int = 360,
    correlation: float = 0.6,
    seed_sd: float = 0.004,
    finalists: int = 0,
    repeats: int = 3,
    pruned: float = 0.0,
    failed: float = 0.0,
    noise_only: bool = False,
    spread: float = 0.06,
    name: str = "simulated",
) -> SimulatedStudy:
    """A classification study of random configurations.

    Args:
        trials: Number of trials.
        seed: Of everything drawn.
        num_dev: Size of the dev set.
        correlation: `rho` above.
        seed_sd: Standard deviation of the true accuracy over training seeds.
        finalists: How many of the best are trained again.
        repeats: Seeds for each finalist.
        pruned: Share of the trials, the worst ones, that were pruned.
        failed: Share of the trials that diverged.
        noise_only: No hyperparameter matters.
        spread: How far the accuracy of a poor configuration lies below that of a good one.
        name: The study's name.
    """
    rng = np.random.default_rng(seed)
    ease = rng.standard_normal(num_dev)
    targets = rng.integers(NUM_CLASSES, size=num_dev)
    params = [SPACE.from_units(rng.random(len(SPACE)).tolist()) for _ in range(trials)]
    expected = {i: 0.93 if noise_only else _response(p, spread) for i, p in enumerate(params)}
    truth = {i: _clip(e + seed_sd * rng.standard_normal()) for i, e in expected.items()}
    predictions = {i: _predict(truth[i], ease, targets, correlation, rng) for i in truth}
    states = _states(predictions, targets, pruned=pruned, failed=failed, rng=rng)
    records = tuple(_record(i, params[i], _accuracy(predictions[i], targets), states[i]) for i in range(trials))
    best = sorted((r for r in records if r.state is TrialState.COMPLETE), key=lambda r: -(r.value or 0.0))[:finalists]
    again: list[TrialRecord] = []
    again_predictions: dict[int, NDArray[np.float32]] = {}
    for record in best:
        for _ in range(repeats):
            accuracy = _clip(expected[record.number] + seed_sd * rng.standard_normal())
            number = len(again)
            again_predictions[number] = _predict(accuracy, ease, targets, correlation, rng)
            value = _accuracy(again_predictions[number], targets)
            repeat = _record(number, record.params, value, TrialState.COMPLETE)
            again.append(replace(repeat, facts={"repeat_of": record.number}))
    study = StudyData(
        name=name,
        direction=Direction.MAXIMIZE,
        metric="accuracy",
        records=records,
        finalists=tuple(again),
        facts=study_facts(num_dev=num_dev, trials=trials),
        space=SPACE,
    )
    return SimulatedStudy(
        study=study,
        truth=truth,
        expected=expected,
        targets=targets,
        predictions={i: p for i, p in predictions.items() if states[i] is not TrialState.FAILED},
        finalist_predictions=again_predictions,
    )


def study_facts(*, num_dev: int, trials: int) -> dict[str, Any]:
    """The facts of a study as the sweep stores them."""
    return {
        "space": [asdict(d) for d in SPACE],
        "sweep": {
            "study": "simulated",
            "data": {"source": "sklearn/digits"},
            "model": {"kind": "mlp", "settings": {}},
            "objective": {"metric": "accuracy", "target_error": 0.02},
            "training": {"optimizer": "sgd", "epochs": 20},
            "search": {"trials": trials, "strategy": "random", "seed": 0},
        },
        "data": {
            "task": "classification",
            "input_shape": [64],
            "num_outputs": NUM_CLASSES,
            "num_train": 3 * num_dev,
            "num_dev": num_dev,
            "num_test": num_dev,
            "class_names": [str(i) for i in range(NUM_CLASSES)],
            "feature_names": [],
            "target_names": [],
            "sha256": "0" * 64,
            "notes": [],
        },
        "versions": {"python": "3.11.7", "torch": "2.13.0", "optuna": "5.0.0"},
    }


def simulated_curve(record: TrialRecord) -> list[EpochResult]:
    """A curve that rises to the record's best epoch and stays near its last."""
    assert record.best is not None
    assert record.last is not None
    curve = []
    for epoch in range(1, record.last.epoch + 1):
        share = min(1.0, 1 - math.exp(-4 * epoch / record.best.epoch))
        dev = record.best.dev_metric * (1.0 if epoch == record.best.epoch else 0.99) * share
        train = record.best.train_metric * share
        curve.append(
            EpochResult(
                epoch=epoch,
                train_loss=1.5 * (1 - train) + 0.02,
                dev_loss=1.5 * (1 - dev) + 0.05,
                train_metric=train,
                dev_metric=dev,
                learning_rate=0.01,
                seconds=record.last.seconds * epoch / record.last.epoch,
            )
        )
    curve[record.best.epoch - 1] = record.best
    curve[-1] = record.last
    return curve


def _response(params: Mapping[str, ParamValue], spread: float) -> float:
    """True accuracy of a configuration: the learning rate matters most, lr_decay and batch size not at all."""
    rate = SPACE["learning_rate"].to_unit(params["learning_rate"])
    momentum = SPACE["momentum"].to_unit(params["momentum"])
    units = SPACE["hidden_units"].to_unit(params["hidden_units"])
    return 0.97 - spread * ((rate - 0.7) ** 2 * 4 + 0.3 * (momentum - 0.6) ** 2 + 0.2 * (1 - units) ** 2)


def _clip(accuracy: float) -> float:
    return min(0.999, max(0.05, accuracy))


def _predict(
    accuracy: float,
    ease: NDArray[np.float64],
    targets: NDArray[np.int64],
    correlation: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    own = rng.standard_normal(len(ease))
    right = norm.ppf(accuracy) + math.sqrt(correlation) * ease + math.sqrt(1 - correlation) * own > 0
    wrong = (targets + rng.integers(1, NUM_CLASSES, size=len(ease))) % NUM_CLASSES
    chosen = np.where(right, targets, wrong)
    probabilities = np.full((len(ease), NUM_CLASSES), 0.1 / (NUM_CLASSES - 1), dtype=np.float32)
    probabilities[np.arange(len(ease)), chosen] = 0.9
    return probabilities


def _accuracy(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(1) == targets).mean())


def _states(
    predictions: Mapping[int, NDArray[np.float32]],
    targets: NDArray[np.int64],
    *,
    pruned: float,
    failed: float,
    rng: np.random.Generator,
) -> dict[int, TrialState]:
    worst_first = sorted(predictions, key=lambda i: _accuracy(predictions[i], targets))
    states = dict.fromkeys(predictions, TrialState.COMPLETE)
    states |= dict.fromkeys(worst_first[: round(pruned * len(states))], TrialState.PRUNED)
    count = round(failed * len(states))
    states |= dict.fromkeys(rng.permutation(len(states))[:count].tolist(), TrialState.FAILED)
    return states


def _record(number: int, params: Mapping[str, ParamValue], accuracy: float, state: TrialState) -> TrialRecord:
    epochs = {TrialState.COMPLETE: 20, TrialState.PRUNED: 6, TrialState.FAILED: 2}[state]
    reasons = {
        TrialState.COMPLETE: "all epochs",
        TrialState.PRUNED: "worse than the median at epoch 6",
        TrialState.FAILED: "diverged: the training loss became NaN in epoch 3",
    }
    units = int(params["hidden_units"])
    best = EpochResult(
        epoch=max(1, epochs - 2),
        train_loss=0.05,
        dev_loss=1.5 * (1 - accuracy) + 0.05,
        train_metric=min(1.0, accuracy + 0.02),
        dev_metric=accuracy,
        learning_rate=float(params["learning_rate"]),
        seconds=0.1 * max(1, epochs - 2),
    )
    last = replace(best, epoch=epochs, dev_metric=accuracy - 0.004, seconds=0.1 * epochs)
    start = f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}+00:00"
    return TrialRecord(
        number=number,
        params=params,
        seed=1000 + number,
        state=state,
        tier=("default" if number == 0 else f"tier {1 + min(2, number // 12)}"),
        reason=reasons[state],
        to_epoch=20,
        rungs=((epochs, accuracy),),
        best=best,
        last=last,
        num_parameters=64 * units + units * NUM_CLASSES,
        attempts=1,
        started=start,
        ended=start.replace("T00:", "T01:"),
        facts={"path": "stacked", "cohort_width": 8},
    )


def _write_curve(path: Any, curve: list[EpochResult]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(EpochResult)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in curve)
