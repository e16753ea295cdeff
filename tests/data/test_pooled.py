"""What the winner is trained on once more: the train and the dev examples, and no test example."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuner.data.load import load_training_data, measure_training_part
from tuner.data.parts import read_parts
from tuner.errors import StudyMismatchError
from tuner.spec.model import SweepSpec


def sweep(folder: Path, **data: Any) -> SweepSpec:
    frame = pd.DataFrame({"x": np.arange(100.0) + 0.5, "kind": ["up", "down"] * 50})
    frame.to_csv(folder / "d.csv", index=False)
    asked = {"source": "d.csv", "split": {"train": 0.6, "dev": 0.2, "test": 0.2}, **data}
    return SweepSpec(study="s", root=str(folder), data=asked)


@pytest.mark.parametrize("data", [{}, {"folds": 4}, {"stream": True}], ids=["split", "folds", "stream"])
def test_dev_examples_are_trained_on_and_test_examples_are_not(data: dict[str, Any], tmp_path: Path) -> None:
    spec = sweep(tmp_path, **data)
    known = asdict(load_training_data(spec).info)
    pooled = load_training_data(spec, known=known, pooled=True)
    assert pooled.info.pooled
    assert (pooled.info.num_train, pooled.info.folds, pooled.folds) == (80, 0, ())
    train, measured = measure_training_part(spec, known=asdict(pooled.info))
    values = set(np.asarray(train.numbers[:]).ravel())
    sealed = read_parts(spec.data, root=tmp_path).test
    assert sealed is not None
    tested = set(np.asarray(sealed.inputs_alone().numbers[:]).ravel())
    assert len(values) == 80
    assert not values & tested
    assert measured.mean.item() == pytest.approx(np.mean(list(values)))


def test_pooled_data_are_held_to_those_of_the_study_and_to_themselves(tmp_path: Path) -> None:
    spec = sweep(tmp_path)
    known = asdict(load_training_data(spec).info)
    pooled = asdict(load_training_data(spec, known=known, pooled=True).info)
    assert pooled["sha256"] != known["sha256"]
    frame = pd.read_csv(tmp_path / "d.csv")
    frame.assign(x=frame["x"] + 1).to_csv(tmp_path / "d.csv", index=False)
    for facts, asked in ((known, True), (pooled, False)):
        with pytest.raises(StudyMismatchError, match="the train and dev examples are not those"):
            load_training_data(spec, known=facts, pooled=asked)
