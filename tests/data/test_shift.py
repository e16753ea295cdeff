from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.helpers import load
from tuner.data.shift import Part, contrast

pytestmark = pytest.mark.slow


def part(rng: np.random.Generator, size: int, *, shift: float = 0.0, spread: float = 1.0) -> Part:
    inputs = rng.normal(size=(size, 12))
    inputs[:, 3] = inputs[:, 3] * spread + shift
    return Part(inputs=inputs, targets=rng.integers(2, size=size))


def patients(rng: np.random.Generator, number: int) -> Part:
    """Ten visits of each of so many patients, who differ far more between than within them."""
    groups = np.repeat(np.arange(number), 10)
    inputs = rng.normal(size=(number, 12))[groups] + 0.2 * rng.normal(size=(len(groups), 12))
    return Part(inputs=inputs, targets=np.zeros(len(groups)), groups=groups)


@pytest.mark.deep
@pytest.mark.parametrize("kind", ["examples", "groups"])
def test_parts_of_one_distribution_are_rarely_told_apart(kind: str) -> None:
    alarms = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pair = (part(rng, 300), part(rng, 150)) if kind == "examples" else (patients(rng, 30), patients(rng, 12))
        found = contrast(*pair)
        assert found is not None
        alarms += found.material
    assert alarms == 0


@pytest.mark.parametrize(("shift", "spread"), [(1.0, 1.0), (0.0, 3.0)], ids=["moved", "spread"])
def test_a_shift_is_noticed_and_the_telling_feature_named(shift: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    found = contrast(part(rng, 800), part(rng, 300, shift=shift, spread=spread))
    assert found is not None
    assert found.material
    assert found.low < found.auroc < found.high
    assert found.telling[0] == 3


def test_a_shift_of_the_targets_alone_is_noticed() -> None:
    rng = np.random.default_rng(0)
    train, dev = part(rng, 500), part(rng, 300)
    found = contrast(train, Part(inputs=dev.inputs, targets=np.ones(300)))
    assert found is not None
    assert found.telling[0] == 12


def test_a_handful_of_examples_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    assert contrast(part(rng, 300), part(rng, 8, shift=9.0)) is None


def test_the_notes_say_so_where_dev_examples_are_given_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, mean in (("train", 20.0), ("same", 20.0), ("warm", 23.0)):
        frame = pd.DataFrame({"temperature": rng.normal(mean, 2.0, 200), "humidity": rng.normal(size=200)})
        frame["yield"] = frame["humidity"] + rng.normal(size=200)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    same = load(tmp_path, source="train.csv", dev="same.csv", target="yield").info
    assert same.train_dev_auroc is None
    warm = load(tmp_path, source="train.csv", dev="warm.csv", target="yield").info
    assert warm.train_dev_auroc is not None
    (note,) = [n for n in warm.notes if "different distributions" in n]
    assert note.startswith("a classifier tells dev from train examples with AUROC 0.")
    assert "most by temperature, " in note


def test_a_random_split_is_not_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.data.train_dev.contrast_of", lambda *_, **__: pytest.fail("drawn at random"))
    pd.DataFrame({"x": range(100), "y": range(100)}).to_csv(tmp_path / "data.csv", index=False)
    load(tmp_path, source="data.csv", task="regression")
