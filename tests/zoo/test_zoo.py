"""Networks in the styles that people publish train as a loop written by hand trains them, and leave as they scored.

Each against `by_hand`, fused or not, in one go, in pieces and interrupted; then its weights and its export.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.train.cohorts import curves, figures, jobs, run_cohort
from tests.zoo.by_hand import BATCH_SIZE, EPOCHS, LEARNING_RATE, MOMENTUM, Epoch, by_hand
from tests.zoo.catalogue import SMOKE, ZOO, Entry
from tuner.data.dataset import TrainingData
from tuner.data.load import load_training_data
from tuner.data.parts import read_parts
from tuner.imports import load_object
from tuner.models.unpacked import read_trained
from tuner.paths import TrialPaths
from tuner.records import EpochResult, Params, TrainedTrial, TrialFinished, TrialPaused, TrialStarted
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.after.export import export_folder
from tuner.train.loop.cohort import Cohort
from tuner.train.programs.modules import structures
from tuner.train.task import Task

pytestmark = pytest.mark.slow

SEED = 1000
DROPOUT = 0.1
STEPS = 6
"""Of an epoch."""
ROUNDING = 1e-6
AS_ROWS = 1e-5
"""The sums of a stack are rounded otherwise than those of a module alone."""
ALL = [pytest.param(entry, id=entry.name, marks=() if entry.name in SMOKE else pytest.mark.deep) for entry in ZOO]
BOTH = pytest.mark.parametrize("fuse", ["off", "auto"])


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 300 digits, of which 180 are trained on."""
    folder = tmp_path_factory.mktemp("zoo")
    inputs, targets = load_digits(return_X_y=True)
    np.savez(folder / "digits.npz", X=inputs[:300].reshape(-1, 1, 8, 8), y=targets[:300])
    return folder


class Animal:
    """A module of the zoo, and the trials of it."""

    def __init__(self, entry: Entry, root: Path, fuse: str, *, dropout: float = DROPOUT) -> None:
        self.entry = entry
        self.params: Params = {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM, "dropout": dropout}
        training = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "fuse": fuse, "auxiliary_loss": entry.auxiliary}
        self.spec = SweepSpec(
            study="zoo", root=str(root), data=DataSpec(source="digits.npz"), model=ModelSpec(kind=entry.model),
            training=TrainingSpec.model_validate(training),
        )  # fmt: skip
        self.data = data_of(root)

    def task(self) -> Task:
        """As another process would have it."""
        return Task(self.spec, self.data, torch.device("cpu"))

    def train(self, folder: Path, *, to_epoch: int = EPOCHS, count: int = 1) -> list[Any]:
        return run_cohort(self.task(), jobs(folder, [self.params] * count, to_epoch=to_epoch))

    def by_hand(self) -> list[Epoch]:
        return hand_made(self.entry, self.params["dropout"], self.spec.root)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def data_of(root: Path) -> TrainingData:
    sweep = SweepSpec(study="zoo", root=str(root), data=DataSpec(source="digits.npz"), model=ModelSpec(kind="mlp"))
    return load_training_data(sweep)


@lru_cache(maxsize=4)
def hand_made(entry: Entry, dropout: float, root: str) -> list[Epoch]:
    data = data_of(Path(root))
    return by_hand(entry.kind, {"dropout": dropout}, data, seed=SEED, auxiliary=entry.auxiliary)


def test_the_documentation_lists_what_is_fused_and_what_is_not() -> None:
    """Each idiom of the zoo in its row, with the reason that is shown, and no other."""
    page = Path("docs/fused-training.md").read_text(encoding="utf-8")
    section = page.split("### Which idioms are fused")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "| " in line]
    found = {idiom: reason for idiom, reason in rows if idiom != "idiom" and not idiom.startswith("---")}
    assert found == {entry.idiom: entry.reason or "fused" for entry in ZOO}


def first_curve(events: list[Any]) -> list[EpochResult]:
    return curves(events)[0]


@pytest.mark.parametrize("entry", ALL)
@BOTH
def test_it_trains_as_a_loop_by_hand_trains_it(entry: Entry, fuse: str, root: Path, tmp_path: Path) -> None:
    """Its curve, and its weights of the best epoch; of one that draws when it answers, its weights in some epoch."""
    is_row = fuse == "auto" and entry.reason is None
    animal = Animal(entry, root, fuse, dropout=0.0 if is_row else DROPOUT)
    events = animal.train(tmp_path, count=2)
    assert {e.path for e in events if isinstance(e, TrialStarted)} == {"vmap" if is_row else "plain"}
    assert sum(isinstance(event, TrialFinished) for event in events) == 2
    curve, expected = first_curve(events), animal.by_hand()
    within = AS_ROWS if is_row else ROUNDING
    best = max(range(EPOCHS), key=lambda epoch: curve[epoch].dev_metric)
    if not entry.draws:
        assert [r.dev_loss for r in curve] == [pytest.approx(e.dev_loss, rel=within) for e in expected]
        assert [r.dev_metric for r in curve] == [pytest.approx(e.dev_accuracy) for e in expected]
    weights = torch.load(TrialPaths(tmp_path / "0000").weights, weights_only=True)
    compared = expected[best].weights
    assert weights.keys() == compared.keys()
    for name, value in compared.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(weights[name], value, rtol=within, atol=10 * within)
        else:
            assert weights[name] == value


@pytest.mark.parametrize("entry", ALL)
def test_why_it_is_not_fused_is_said(entry: Entry, root: Path, tmp_path: Path) -> None:
    animal = Animal(entry, root, "auto")
    task = animal.task()
    (job,) = jobs(tmp_path, [animal.params])
    told = task.ways.told(task.member(job))
    assert entry.says(told), told


@pytest.mark.deep
def test_the_verdict_does_not_depend_on_a_seed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms over 16 examples: its rounding grows, by far for some seeds, and less for others."""
    (entry,) = (entry for entry in ZOO if entry.name == "ChoosesFeatures")
    animal = Animal(entry, root, "auto")
    animal.params["norm_examples"] = 16
    found = set()
    for seed in range(4):
        (job,) = jobs(tmp_path, [animal.params])
        for seeds in (structures.PROOF_SEEDS, (2 * seed + 2, 2 * seed + 3)):
            monkeypatch.setattr(structures, "PROOF_SEEDS", seeds)
            task = animal.task()
            told = task.ways.told(task.member(replace(job, seed=seed)))
            found.add(re.sub("it trains .+ otherwise", "it trains … otherwise", told))
    assert found == {f"one trial at a time: {entry.reason}"}


@pytest.mark.parametrize("entry", ALL)
@BOTH
def test_pauses_do_not_change_it(entry: Entry, fuse: str, root: Path, tmp_path: Path) -> None:
    animal = Animal(entry, root, fuse)
    whole = figures(first_curve(animal.train(tmp_path / "whole")))
    found: dict[float, tuple[float, ...]] = {}
    for to_epoch in range(1, EPOCHS + 1):
        events = animal.train(tmp_path / "paused", to_epoch=to_epoch)
        assert isinstance(events[-1], TrialPaused if to_epoch < EPOCHS else TrialFinished)
        for result in figures(first_curve(events)):
            assert found.setdefault(result[0], result) == result
    assert list(found.values()) == whole


@pytest.mark.parametrize("entry", ALL)
@BOTH
def test_an_interrupt_in_mid_epoch_does_not_change_it(
    entry: Entry, fuse: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    animal = Animal(entry, root, fuse)
    whole = figures(first_curve(animal.train(tmp_path / "whole")))
    monkeypatch.setattr("tuner.train.loop.slices.SLICE_SECONDS", 0.0)  # a step at a time
    cohort = Cohort(animal.task(), jobs(tmp_path / "broken", [animal.params], to_epoch=EPOCHS), worker="test")
    for number, _ in enumerate(cohort.epochs(), start=1):
        if number == STEPS + 3:
            cohort.interrupt()
    monkeypatch.undo()
    events = animal.train(tmp_path / "broken")
    (started,) = (event for event in events if isinstance(event, TrialStarted))
    assert (started.from_epoch, started.from_step) == (1, 3)
    assert figures(first_curve(events)) == whole


@pytest.mark.deep
@pytest.mark.parametrize("entry", ALL)
def test_it_leaves_as_it_was_scored(entry: Entry, root: Path, tmp_path: Path) -> None:
    """Its weights in another process's module, and its export, give the dev predictions that were ranked."""
    animal = Animal(entry, root, "off")
    animal.train(tmp_path)
    paths = TrialPaths(tmp_path / "0000")
    ranked = np.load(paths.predictions)
    task = animal.task()
    (job,) = jobs(tmp_path, [animal.params])
    outputs = task.dev_outputs(task.member(job), read_trained(paths.weights))
    np.testing.assert_allclose(task.predictions(outputs), ranked, atol=1e-6)
    folder = tmp_path / "predictor"
    trained = TrainedTrial(trial=0, params=animal.params, weights=paths.weights, seed=SEED)
    cause = export_folder(animal.spec, [trained], animal.data.info, folder)
    assert (cause is not None) == entry.leaves_as_code, cause
    predict: Any = load_object("predict.py:predict", root=folder)
    dev = read_parts(animal.spec.data, root=root).dev
    found = predict(dev.numbers)
    if not entry.draws:
        np.testing.assert_allclose(found, ranked, atol=1e-5)
        np.testing.assert_allclose(predict(dev.numbers[:1]), ranked[:1], atol=1e-5)
