"""A sweep's learning-rate range test, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import TunerError
from tuner.execute.apart import run_apart
from tuner.execute.devices import WorkerPlace
from tuner.records import TrialJob
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec


def lr_range(
    spec: SweepSpec, place: WorkerPlace, *, low: float, high: float, steps: int
) -> tuple[tuple[float, float], ...]:
    """(learning rate, loss) after each step of the default configuration: see `train.before.lr_range`.

    Raises:
        DataError: the data cannot be used.
        UserCodeError: the user's code cannot be imported or called.
        TunerError: the process died, or the sweep has training code of its own.
    """
    return run_apart(_test, place, spec, place, low, high, steps)


def _test(spec: SweepSpec, place: WorkerPlace, low: float, high: float, steps: int) -> tuple[tuple[float, float], ...]:
    from tuner.execute.training import open_task
    from tuner.train.before.lr_range import range_test
    from tuner.train.own.task import OwnTask

    task = open_task(spec, place)
    if isinstance(task, OwnTask):
        raise TunerError("a range test sets the learning rate of each step; training code of your own sets its own")
    job = TrialJob(
        trial=0, params=build_space(spec).default(), seed=spec.search.seed, to_epoch=1, folder=str(Path.cwd())
    )
    return tuple(range_test(task, job, low=low, high=high, steps=steps))
