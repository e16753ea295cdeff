"""The lessons of sweeps/course, which `examples/course.py` runs: the sweeps of each, its claim, and its figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lessons import figures, findings
from lessons.findings import Finding


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A lesson of the course; its functions take a study for each of its sweeps."""

    title: str
    sweeps: Sequence[str]
    """Files of sweeps/course; the first has the lesson's name."""
    measure: str
    """What the gain of its finding is."""
    find: Callable[..., Finding]
    draw: Callable[..., None]


_ALL = (
    Lesson(
        title="Learning rate on a log scale",
        sweeps=("learning_rate", "learning_rate_linear"),
        measure="best dev accuracy, log less linear",
        find=findings.learning_rate,
        draw=figures.learning_rate,
    ),
    Lesson(
        title="Momentum on log(1 - beta)",
        sweeps=("momentum",),
        measure="what a step of 0.0005 moves the dev loss at 0.999, less that at 0.9",
        find=findings.momentum,
        draw=figures.momentum,
    ),
    Lesson(
        title="Coarse to fine",
        sweeps=("coarse_to_fine", "coarse_only"),
        measure="best dev loss, coarse only less coarse to fine",
        find=findings.coarse_to_fine,
        draw=figures.coarse_to_fine,
    ),
    Lesson(
        title="L2 against early stopping",
        sweeps=("l2", "early_stopping"),
        measure="dev accuracy, L2 less early stopping",
        find=findings.l2,
        draw=figures.l2,
    ),
    Lesson(
        title="Dropout last",
        sweeps=("dropout", "dropout_bias"),
        measure="dev accuracy, the lesser of: gain with variance, loss with bias",
        find=findings.dropout,
        draw=figures.dropout,
    ),
    Lesson(
        title="He against zeros",
        sweeps=("init",),
        measure="best dev accuracy, He less zeros",
        find=findings.init,
        draw=figures.init,
    ),
    Lesson(
        title="Batch norm",
        sweeps=("batch_norm",),
        measure="learning rates within 5 points of the best, with it less without",
        find=findings.batch_norm,
        draw=figures.batch_norm,
    ),
    Lesson(
        title="Learning-rate decay",
        sweeps=("lr_decay",),
        measure="dev RMSE after the last epoch, constant less decayed",
        find=findings.lr_decay,
        draw=figures.lr_decay,
    ),
    Lesson(
        title="Train-dev mismatch",
        sweeps=("mismatch", "mismatch_train_dev", "mismatch_synthesis"),
        measure="share of errors, mismatch less variance",
        find=findings.mismatch,
        draw=figures.mismatch,
    ),
)
LESSONS: Mapping[str, Lesson] = {lesson.sweeps[0]: lesson for lesson in _ALL}
