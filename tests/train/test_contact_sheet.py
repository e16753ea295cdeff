"""The contact sheet shows what the first step of a trial would see, one kind of augmentation after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.cohorts import diabetes, digits, jobs, make_spec, make_task
from tuner.errors import TunerError
from tuner.report.figures.contact_sheet import write_contact_sheet
from tuner.spec.model import DimensionSpec
from tuner.train.batch.augment import draw_rows, transform
from tuner.train.before.contact_sheet import ContactSheet, contact_sheet
from tuner.train.settings import Augmentation
from tuner.train.task import Task


def sheet_of(task: Task, tmp_path: Path) -> ContactSheet:
    return contact_sheet(task, jobs(tmp_path, [{}])[0])


def test_each_row_is_what_training_would_see(tmp_path: Path) -> None:
    task = make_task(augment=0.8, augment_cutout=True, mixup=0.4, label_smoothing=0.1)
    sheet = sheet_of(task, tmp_path)
    rows = {row.name: row.images for row in sheet.rows}
    assert list(rows) == [
        "as they are", "flip (off)", "shift", "rotate", "zoom", "cutout", "noise (off)", "all 4 that are on",
    ]  # fmt: skip
    inputs = task.data.train.inputs
    assert sheet.strength == 0.8
    np.testing.assert_array_equal(rows["as they are"], inputs[:8])
    none = dict.fromkeys(("flip", "shift", "rotate", "zoom", "cutout", "noise"), False)
    for kind in ("flip", "shift", "rotate", "zoom", "cutout"):
        alone = Augmentation(strength=0.8, **none | {kind: True})
        drawn = draw_rows(alone, 1000, 0, len(inputs), 1.0)[:8]
        found = next(images for name, images in rows.items() if name.partition(" ")[0] == kind)
        np.testing.assert_allclose(found, transform(inputs[:8], drawn, alone), atol=1e-6)
    noise = rows["noise (off)"] - rows["as they are"]
    assert 0.8 * 0.3 * 0.9 < noise.std() < 0.8 * 0.3 * 1.1
    assert (rows["all 4 that are on"] != rows["as they are"]).any()


def test_the_strength_is_the_greatest_that_is_searched_or_a_usual_one(tmp_path: Path) -> None:
    def strength(space: dict[str, DimensionSpec]) -> float:
        spec = make_spec().model_copy(update={"space": space})
        return sheet_of(Task(spec, digits(), torch.device("cpu")), tmp_path).strength

    assert strength({"augment": DimensionSpec()}) == 0.6
    assert strength({"augment": DimensionSpec(choices=[0.0, 0.3])}) == 0.3
    assert strength({"learning_rate": DimensionSpec()}) == 0.5


def test_examples_that_are_no_images_have_none(tmp_path: Path) -> None:
    with pytest.raises(TunerError, match="no contact sheet of examples of shape 10: no images"):
        sheet_of(make_task(diabetes()), tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_is_drawn_with_a_strip_of_images_for_each_row(channels: int, tmp_path: Path) -> None:
    dark = np.zeros((4, channels, 6, 6), dtype=np.float32)
    dark[:, :, 2:4, 2:4] = 1.0
    write_contact_sheet(tmp_path / "sheet.png", [("as they are", dark), ("inverse", 1.0 - dark)], strength=0.5)
    drawn = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert drawn.shape[0] > 100 < drawn.shape[1]
    assert (drawn < 10).sum() > 500 < (drawn > 245).sum()
