"""Augmented examples to look at: each kind of augmentation by itself, and together what a sweep has switched on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tuner.errors import TunerError
from tuner.records import TrialJob
from tuner.spec.defaults import build_space
from tuner.train.batch.batches import BatchChanges
from tuner.train.program import EpochPlan, class_shares
from tuner.train.settings import Augmentation
from tuner.train.task import Task

NUM_EXAMPLES = 8
_USUAL_STRENGTH = 0.5
"""Where augmentation is neither fixed nor searched."""
_KINDS = tuple(f.name for f in fields(Augmentation) if f.name != "strength")

Images = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetRow:
    """Some training examples, changed in one way."""

    name: str
    images: Images
    """Of shape (examples, channels, height, width), as the network is given them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContactSheet:
    """The first training examples as they are, and below as they are augmented."""

    strength: float
    rows: tuple[SheetRow, ...]


def contact_sheet(task: Task, job: TrialJob) -> ContactSheet:
    """The sheet of a sweep's data, at its fixed strength, or the greatest that it searches.

    Raises:
        TunerError: the examples are no images.
    """
    shape = task.info.input_shape
    if len(shape) != 3:
        raise TunerError(f"there is no contact sheet of examples of shape {'x'.join(map(str, shape))}: no images")
    asked = task.member(job).settings.augmentation
    searched = next((d for d in build_space(task.spec) if d.name == "augment"), None)
    values = [float(c) for c in searched.choices] or [searched.high] if searched else [asked.strength]
    strength = max(values) or _USUAL_STRENGTH
    on = [kind for kind in _KINDS if getattr(asked, kind)]
    ways = {f"{kind}{'' if kind in on else ' (off)'}": [kind] for kind in _KINDS} | {f"all {len(on)} that are on": on}
    changed = [SheetRow(name=name, images=_augmented(task, job, kinds, strength)) for name, kinds in ways.items()]
    as_they_are = _augmented(task, job, (), 0.0)
    return ContactSheet(strength=strength, rows=(SheetRow(name="as they are", images=as_they_are), *changed))


def _augmented(task: Task, job: TrialJob, kinds: Collection[str], strength: float) -> Images:
    """The first examples as the first step of a trial with this augmentation alone would see them."""
    member, problem = task.member(job), task.problem
    augmentation = Augmentation(strength=strength, **{kind: kind in kinds for kind in _KINDS})
    others_off: dict[str, Any] = {"mixup": 0.0, "label_smoothing": 0.0, "input_dropout": 0.0, "class_weights": ()}
    alone = replace(member.settings, augmentation=augmentation, **others_off)
    changes = BatchChanges([replace(member, settings=alone)], problem)
    num_train = len(problem.train)
    first = torch.arange(min(NUM_EXAMPLES, num_train), device=task.device)
    inputs, targets = problem.train.inputs[first].clone(), problem.train.targets[first].clone()
    if changes.active:
        order_KN = torch.arange(num_train, device=task.device).unsqueeze(0)
        plan = EpochPlan(order_KN=order_KN, learning_rate_SK=np.ones((1, 1)), step_SK=np.zeros((1, 1), dtype=np.int64))
        drawn = {name: table[0].to(task.device) for name, table in changes.begin(plan).items()}
        shares = class_shares(targets, problem.num_outputs) if changes.soft_labels else targets
        changes.apply(inputs, shares, first.unsqueeze(0), drawn)
    return inputs.cpu().numpy()
