"""A small sweep for the executors' tests, and jobs of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.contracts.executor_contract import EPOCHS, drain
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


def drain_stalled(executor: LocalExecutor, jobs: Sequence[TrialJob], *, culprit: int) -> list[TrialEvent]:
    """All events until each job has ended, of an executor whose one worker hangs as often as it trains the culprit.

    The limit of 2 s holds for that alone: everything else may take its time, however busy the machine is.
    """
    calm = executor.spec
    short = calm.model_copy(update={"limits": calm.limits.model_copy(update={"stall_seconds": 2.0})})

    def choose_limit() -> bool:
        worker = executor.workers[0]
        executor.spec = short if worker.ready and culprit in worker.jobs else calm
        return False

    events = drain(executor, jobs, until=choose_limit)
    executor.spec = calm
    return events
