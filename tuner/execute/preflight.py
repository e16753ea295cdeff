"""A sweep's dress rehearsal in a process of its own: load the data, build the default network, check it, plan.

Users' code is imported only there.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tuner.errors import TunerError, is_out_of_memory
from tuner.execute.apart import KilledError, run_apart
from tuner.execute.devices import WorkerPlace
from tuner.execute.facts import TaskFacts
from tuner.execute.foreseen import plan, to_time
from tuner.execute.fork_server import preloaded
from tuner.execute.planner import Planner
from tuner.execute.scarcity import first_line, killed_in_training, no_memory_to_train
from tuner.records import ParamValue, TrialJob
from tuner.spec.defaults import build_space
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec

if TYPE_CHECKING:
    from tuner.train.before.contact_sheet import ContactSheet
    from tuner.train.own.task import OwnTask
    from tuner.train.task import Task

_PLANNED_SEED = 0
_PACING_SECONDS = 8.0
"""After so long no further configuration is timed."""


@dataclass(frozen=True, slots=True)
class _CheckResult:
    """One check's verdict, as plain values."""

    name: str
    passed: bool
    finding: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """What the rehearsal found."""

    facts: TaskFacts
    default: Mapping[str, ParamValue]
    """The default configuration."""
    num_parameters: int
    """Of the default network; 0 for own training code."""
    baseline: float
    """The dev metric of a guess that ignores the inputs: the commonest class, or the mean. NaN for own training
    code."""
    checks: tuple[_CheckResult, ...]
    way: str = ""
    """How the default configuration is trained, in words."""
    start_seconds: float = 0.0
    """Until its process was ready to load the data."""
    load_seconds: float = 0.0
    worker_bytes: int = 0
    """What the data and some epochs added to the memory of a process, as its own, at their peak."""
    mapped_bytes: int = 0
    """Of the prepared data that workers map together."""
    shared_bytes: int = 0
    """What the process had taken before, which workers share."""
    waited_share: float = 0.0
    """Of its time, that the process waited for a core which others had."""
    epoch_seconds: Mapping[str, float] = field(default_factory=dict)
    """Of the default configuration, for each trial of a cohort as wide as usual: on an accelerator, and on a core."""
    sheet: ContactSheet | None = None
    """Augmented examples to look at, where they were asked for."""


def preflight(
    spec: SweepSpec,
    place: WorkerPlace,
    *,
    gradients: bool | None,
    sheet: bool = False,
    prepared_in: Path | None = None,
) -> Preflight:
    """Rehearse a sweep in a new process; with a contact sheet of augmented examples, if asked for.

    Prepared data are left in the folder of what studies share, if one is given, for the sweep to find.

    Raises:
        DataError: the data cannot be used.
        UserCodeError: the user's code cannot be imported or called.
        TunerError: the process died; the message says how.
    """
    try:
        return run_apart(_rehearse, place, spec, place, gradients, time.monotonic(), sheet, prepared_in)
    except KilledError as killed:
        said = killed_in_training(spec, num_workers=1, said=killed.said, scarcity=killed.scarcity, loads=True)
        raise TunerError(said) from killed


def _rehearse(
    spec: SweepSpec, place: WorkerPlace, gradients: bool | None, began: float, sheet: bool, prepared_in: Path | None
) -> Preflight:
    import torch

    from tuner.data.prepared import mapped_bytes
    from tuner.execute.memory import forget_peak, in_use, of_files, peak_bytes, waited_seconds
    from tuner.execute.training import facts_of, open_task
    from tuner.train.before.checks import baseline, run_checks
    from tuner.train.before.contact_sheet import contact_sheet
    from tuner.train.before.contract import check_contract
    from tuner.train.own.task import OwnTask

    ready, cpu = time.monotonic(), torch.device("cpu")
    for name in preloaded(spec):
        import_module(name)
    before, files_before = in_use(cpu), of_files()
    task = open_task(spec, place, prepared_in=prepared_in)
    start, load = max(0.0, ready - began), time.monotonic() - ready
    default = build_space(spec).default()
    if isinstance(task, OwnTask):
        found = _rehearse_own(task, default)
        taken = found.worker_bytes + max(0, peak_bytes() - before - (of_files() - files_before))
        return replace(found, start_seconds=start, load_seconds=load, shared_bytes=before, worker_bytes=taken)
    if spec.model.kind not in MODELS:
        check_contract(task)
    job = TrialJob(trial=0, params=default, seed=_PLANNED_SEED, to_epoch=1, folder=str(Path.cwd()))
    forget_peak()  # of loading, which one worker does for all
    try:
        checks = run_checks(task, job, gradients=gradients)
        facts = facts_of(task)
        if all(check.passed for check in checks):
            facts = _paced(spec, task, job, facts)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise TunerError(no_memory_to_train(spec, said=first_line(error))) from error
    own = peak_bytes() - before - (of_files() - files_before)
    shared = mapped_bytes(spec, task.data) if prepared_in is not None else 0
    return Preflight(
        facts=facts,
        default=default,
        num_parameters=task.num_parameters(task.member(job)),
        baseline=baseline(task),
        checks=tuple(_CheckResult(c.name, c.passed, c.finding, c.advice) for c in checks),
        way=task.ways.told(task.member(job)),
        epoch_seconds=_epoch_seconds(spec, task, job),
        start_seconds=start,
        load_seconds=load,
        worker_bytes=max(0, own),
        mapped_bytes=shared,
        shared_bytes=before,
        waited_share=min(1.0, waited_seconds() / (time.monotonic() - began)) if task.device == cpu else 0.0,
        sheet=contact_sheet(task, job) if sheet else None,
    )


def _paced(spec: SweepSpec, task: Task, job: TrialJob, facts: TaskFacts) -> TaskFacts:
    """The facts with how long epochs take of some configurations, in cohorts as wide as usual.

    One of each fusion key, and none after some seconds.
    """
    from tuner.train.before.pace import cohort_pace

    planned = plan(spec, facts, num_workers=1)
    width = max(1, round(planned.trials / planned.cohorts))
    planner = Planner(spec, facts, num_workers=1)
    measured = estimated = 0.0
    begins: list[float] = []
    timed: set[Hashable] = set()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tuner-check-") as folder:
        for place, params in enumerate(to_time(spec, planner, default=job.params)):
            alike = replace(job, params=params, to_epoch=spec.training.epochs)
            most = min(width, planner.max_width(planner.describe(alike)))
            jobs = [replace(alike, trial=n, seed=n, folder=f"{folder}/{place}/{n}") for n in range(most)]
            described = [planner.describe(replace(each, to_epoch=1)) for each in jobs]
            if described[0].key in timed or (timed and time.monotonic() - began > _PACING_SECONDS):
                continue
            if (pace := cohort_pace(task, jobs)) is not None:
                timed.add(described[0].key)
                measured += pace.epoch_seconds
                estimated += planner.seconds(described)
                begins.append(pace.begin_seconds)
    if not estimated:
        return facts
    found = {"measured": measured / estimated, "begin_seconds": median(begins)}
    return replace(facts, calibration={**facts.calibration, **found})


def _epoch_seconds(spec: SweepSpec, task: Task, job: TrialJob) -> dict[str, float]:
    """How long an epoch takes on an accelerator, and on one core of the CPU, which may be the quicker one."""
    from tuner.execute.training import facts_of, open_task
    from tuner.train.before.pace import trial_epoch_seconds
    from tuner.train.task import Task

    if task.device.type == "cpu" or task.streams:
        return {}
    found = {}
    training = spec.training.model_copy(update={"precision": "float32"})  # others have no effect on a CPU
    on_cpu = open_task(spec.model_copy(update={"training": training}), WorkerPlace("cpu", 1, None), alone=False)
    for one in (task, on_cpu):
        assert isinstance(one, Task)
        planned = plan(spec, facts_of(one), num_workers=1)
        together = [replace(job, trial=n, seed=n) for n in range(max(1, round(planned.trials / planned.cohorts)))]
        seconds = trial_epoch_seconds(one, together)
        if seconds is None:
            return {}
        found[one.device_name] = seconds
    return found


def _rehearse_own(task: OwnTask, default: Mapping[str, ParamValue]) -> Preflight:
    """The same for own training code, which tuner sees only from outside."""
    from tuner.execute.training import facts_of
    from tuner.train.before.rehearsal import rehearse

    with tempfile.TemporaryDirectory(prefix="tuner-check-") as folder:
        job = TrialJob(trial=0, params=default, seed=_PLANNED_SEED, to_epoch=1, folder=folder)
        found = rehearse(task, job)
    facts = facts_of(task)
    if found.epoch_seconds is not None:
        paced = {"epoch_seconds": found.epoch_seconds, "begin_seconds": found.begin_seconds}
        facts = replace(facts, calibration=paced)
    return Preflight(
        facts=facts,
        default=default,
        num_parameters=0,
        baseline=math.nan,
        checks=tuple(_CheckResult(c.name, c.passed, c.finding, c.advice) for c in found.checks),
        worker_bytes=found.program_bytes,
    )
