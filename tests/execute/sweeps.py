"""A small sweep for the executors' tests, and jobs of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.contracts.executor_contract import EPOCHS, drain, ends
from tuner.execute.devices import WorkerPlace
from tuner.execute.local import LocalExecutor
from tuner.paths import StudyPaths
from tuner.records import ParamValue, TrialEvent, TrialJob
from tuner.spec.model import DataSpec, LimitsSpec, ModelSpec, SweepSpec, TrainingSpec


def small_sweep(
    *,
    model: str = "mlp",
    source: str = "sklearn/digits",
    epochs: int = EPOCHS,
    limits: dict[str, Any] | None = None,
    fuse: str = "auto",
    init_from: str | None = None,
    **settings: Any,
) -> SweepSpec:
    """MLPs on the digits, or what `trial_code` offers."""
    return SweepSpec(
        study="small",
        data=DataSpec(source=source),
        model=ModelSpec(kind=model, init_from=init_from, settings={"hidden_units": 16, "hidden_layers": 1} | settings),
        training=TrainingSpec(epochs=epochs, batch_size=256, fuse=fuse),  # type: ignore[arg-type]
        limits=LimitsSpec(**(limits or {})),
        root=str(Path(__file__).parent),
    )


def user_sweep(**changes: Any) -> SweepSpec:
    """Models of `trial_code.build`."""
    return small_sweep(model="trial_code.py:build", **changes)


def make_job(folder: Path, trial: int, *, to_epoch: int = EPOCHS, **params: ParamValue) -> TrialJob:
    return TrialJob(
        trial=trial,
        params={"learning_rate": 0.01 * (trial + 1), **params},
        seed=1000 + trial,
        to_epoch=to_epoch,
        folder=str(StudyPaths(folder).trial(trial).folder),
    )


def local_executor(spec: SweepSpec, folder: Path, *, workers: int = 2) -> LocalExecutor:
    return LocalExecutor(spec, StudyPaths(folder), [WorkerPlace("cpu", 1, None)] * workers)


def drain_stalled(executor: LocalExecutor, jobs: Sequence[TrialJob], *, stall_seconds: float) -> list[TrialEvent]:
    """All events until each job has ended, of an executor whose one worker hangs and is ended for it.

    The limit holds for that worker alone: the next one may take its time to start, however busy the machine is.
    """
    calm, worker = executor.spec, executor.workers[0].process.pid
    limits = calm.limits.model_copy(update={"stall_seconds": stall_seconds})
    executor.spec = calm.model_copy(update={"limits": limits})
    events = drain(executor, jobs, until=lambda: worker not in [w.process.pid for w in executor.workers])
    executor.spec = calm
    left = [job for job in jobs if job.trial not in ends(events)]
    return [*events, *(drain(executor, left) if left else [])]
