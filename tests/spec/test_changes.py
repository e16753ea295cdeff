"""Which sweep files may continue a study."""

from __future__ import annotations

import json

import pytest

from tests.spec.helpers import read
from tuner.spec.defaults import build_space
from tuner.spec.kept.changes import Change, diff_spaces, diff_sweeps
from tuner.spec.space import Dimension, Space

BASE = """
model: {kind: mlp, hidden_units: 64}
space:
  learning_rate: {low: 1e-3, high: 0.1}
  hidden_layers: {low: 1, high: 3}
  batch_size: {choices: [32, 64]}
"""


def changes(*overrides: str) -> list[Change]:
    snapshot = json.loads(json.dumps(read(BASE).model_dump(mode="json")))
    return diff_sweeps(snapshot, read(BASE, overrides=overrides, is_clear=False))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.source=sklearn/iris", "data.source: was sklearn/digits, is sklearn/iris"),
        ("data.seed=1", "data.seed: was 0, is 1"),
        ("data.split={train: 0.8, dev: 0.2}", "data.split: was auto, is {train: 0.8, dev: 0.2, test: 0}"),
        ("objective.metric=f1", "objective.metric: was auto, is f1"),
        ("training.epochs=9", "training.epochs: was 30, is 9"),
        (
            "training.early_stopping={}",
            "training.early_stopping: was left out, is {patience: 5, min_delta: 0, monitor: metric, "
            "mode: auto, restore_best: true}",
        ),
        ("training.weight_decay=0.01", "training.weight_decay: was 0, is 0.01"),
        ("training.clip_norm=1", "training.clip_norm: was left out, is 1"),
        ("training.nesterov=true", "training.nesterov: was false, is true"),
        ("model.hidden_units=32", "model.hidden_units: was 64, is 32"),
        ("space.learning_rate.low=1e-2", "space.learning_rate: was 0.001 to 0.1, log, is 0.01 to 0.1, log"),
        ("space.learning_rate.step=0.009",
         "space.learning_rate: was 0.001 to 0.1, log, is 0.001 to 0.1, log, step 0.009"),
        ("space.hidden_layers={low: 0, high: 4, step: 2}",
         "space.hidden_layers: was 1 to 3 (whole numbers), is 0 to 4 (whole numbers), step 2"),
        ("space.batch_size.choices=[64, 32]", "space.batch_size: was [32, 64], is [64, 32]"),
        ("space.batch_size.choices=[64]", "space.batch_size: was [32, 64], is [64]"),
        ("space.momentum={}", "space.momentum: was not searched, is now"),
        ("space.batch_size=null", "space.batch_size: was searched, is not any more"),
        ("space.learning_rate.when={batch_size: 64}", "space.learning_rate.when: was {}, is {batch_size: [64]}"),
    ],
)  # fmt: skip
def test_trials_cannot_be_compared_across(override: str, line: str) -> None:
    assert changes(override) == [Change(line, True)]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("search.trials=128", "search.trials: was 64, is 128"),
        ("search.strategy=random", "search.strategy: was priority, is random"),
        ("search.seed=1", "search.seed: was 0, is 1"),
        ("finalists={count: 2}", "finalists: was left out, is {count: 2, seeds: 3}"),
        ("limits.retries=3", "limits.retries: was 1, is 3"),
        ("objective.target_error=0.1", "objective.target_error: was left out, is 0.1"),
        ("training.fuse=off", "training.fuse: was auto, is off"),
        ("space.learning_rate.high=1", "space.learning_rate: was 0.001 to 0.1, log, is 0.001 to 1, log"),
        ("space.hidden_layers.low=0", "space.hidden_layers: was 1 to 3 (whole numbers), is 0 to 3 (whole numbers)"),
        ("space.batch_size.choices=[32, 64, 128]", "space.batch_size: was [32, 64], is [32, 64, 128]"),
        ("space.batch_size.choices=[16, 32, 64]", "space.batch_size: was [32, 64], is [16, 32, 64]"),
        ("space.learning_rate.tier=2", "space.learning_rate.tier: was 1, is 2"),
        ("space.learning_rate.default=0.02", "space.learning_rate.default: was 0.01, is 0.02"),
    ],
)
def test_trials_stay_comparable_across(override: str, line: str) -> None:
    assert changes(override) == [Change(line, False)]


@pytest.mark.parametrize(
    "override",
    [
        "training.momentum=0.9",
        "training.weight_decay=0",
        "training.optimizer=sgd",
        "training.batch_size=null",
        "model.activation=relu",
        "search.pruner=null",
        "space.learning_rate.log=true",
        "limits={}",
    ],
)
def test_a_default_that_is_written_out_changes_nothing(override: str) -> None:
    assert changes(override) == []


def test_another_model_and_optimizer_are_named_without_what_follows_from_them() -> None:
    found = changes(
        "model={kind: cnn, hidden_units: 64}",
        "space.hidden_layers=null",
        "space.learning_rate.default=0.01",
        "training.optimizer=adam",
    )
    assert found == [
        Change("model: was mlp, is cnn", True),
        Change("space.hidden_layers: was searched, is not any more", True),
        Change("training.optimizer: was sgd, is adam", True),
    ]


def test_the_default_space_written_out_is_the_same_space() -> None:
    written = "space: {" + ", ".join(f"{name}: {{}}" for name in build_space(read("")).names) + "}"
    assert diff_sweeps(read("").model_dump(mode="json"), read(written)) == []


def test_a_snapshot_of_another_version_is_no_match() -> None:
    (change,) = diff_sweeps({"study": "s", "unheard_of": 1}, read(BASE))
    assert change.breaks
    assert "another version" in change.line


def test_a_grid_may_become_finer_or_a_continuum() -> None:
    def space(step: float | None) -> Space:
        return Space((Dimension(name="x", kind="float", tier=1, default=0.0, low=0.0, high=1.0, step=step),))

    assert [c.breaks for c in diff_spaces(space(0.2), space(0.1))] == [False]
    assert [c.breaks for c in diff_spaces(space(0.2), space(None))] == [False]
    assert [c.breaks for c in diff_spaces(space(0.2), space(0.3))] == [True]
    assert [c.breaks for c in diff_spaces(space(None), space(0.1))] == [True]
