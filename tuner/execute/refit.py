"""The winner's training on train and dev together, in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tuner.errors import TunerError
from tuner.execute.apart import run_apart
from tuner.execute.devices import WorkerPlace
from tuner.paths import TrialPaths
from tuner.records import DataInfo, Json, Params, Phase, TrialFailed, TrialJob
from tuner.spec.blocks.training import EarlyStoppingSpec
from tuner.spec.model import SweepSpec

_NEVER = 2**31
"""Epochs without improvement after which a training that nothing judges would end."""


def refit(
    spec: SweepSpec, place: WorkerPlace, folder: Path, params: Params, *, seed: int, epochs: int,
    phases: tuple[Phase, ...], known: Mapping[str, Json],
) -> DataInfo:  # fmt: skip
    """Train a configuration on train and dev, up to an epoch, and leave its last weights in a folder.

    The schedule of the learning rate is laid out as it was, and broken off there. A training that was killed goes on.

    Args:
        spec: The sweep.
        place: Where to train.
        folder: For the weights.
        params: Of the trial.
        seed: Of the trial.
        epochs: How many.
        phases: Of the trial.
        known: The facts of the data that the study was trained on.

    Returns:
        The facts of the data that were trained on.

    Raises:
        DataError: the data cannot be used.
        StudyMismatchError: they are not those that are known.
        TunerError: the training failed.
    """
    return run_apart(_refit, place, spec, place, folder, dict(params), seed, epochs, phases, known)


def _refit(
    spec: SweepSpec, place: WorkerPlace, folder: Path, params: Params, seed: int, epochs: int,
    phases: tuple[Phase, ...], known: Mapping[str, Json],
) -> DataInfo:  # fmt: skip
    from tuner.execute.training import open_task
    from tuner.train.loop.cohort import Cohort
    from tuner.train.task import Task

    # No example is left to judge epochs by: the last one counts.
    rule = EarlyStoppingSpec(patience=_NEVER, restore_best=False)
    training = spec.training.model_copy(update={"early_stopping": rule})
    limits = spec.limits.model_copy(update={"trial_seconds": None})
    spec = spec.model_copy(update={"training": training, "limits": limits})
    task = open_task(spec, place, known=known, pooled=True)
    assert isinstance(task, Task)
    job = TrialJob(
        trial=0,
        params=params,
        seed=seed,
        to_epoch=epochs,
        folder=str(folder),
        name="refit",
        is_whole=True,
        phases=phases,
    )
    for events in Cohort(task, [job], worker="refit").epochs():
        for event in events:
            if isinstance(event, TrialFailed):
                raise TunerError(f"the training on train and dev failed ({event.reason}): {event.message}")
    paths = TrialPaths(folder)
    for what in (paths.checkpoint, paths.previous_checkpoint, paths.predictions, paths.samples, paths.curve):
        what.unlink(missing_ok=True)  # figures of examples that it was trained on say nothing
    return task.info
