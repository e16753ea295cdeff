"""Where the name of an engine becomes an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuner.execute.devices import prepare_environment, worker_places
from tuner.execute.executor import Executor
from tuner.paths import StudyPaths
from tuner.spec.model import SweepSpec


def _inline(spec: SweepSpec, paths: StudyPaths, devices: Sequence[str], workers: int | None) -> Executor:
    place = worker_places(devices, workers=1, own_code=spec.loop is not None)[0]
    prepare_environment(place)
    from tuner.execute.inline import InlineExecutor

    return InlineExecutor(spec, paths, device=place.device, threads=place.threads)


def _local(spec: SweepSpec, paths: StudyPaths, devices: Sequence[str], workers: int | None) -> Executor:
    from tuner.execute.local import LocalExecutor

    return LocalExecutor(spec, paths, worker_places(devices, workers=workers, own_code=spec.loop is not None))


def begin_to_load(engine: str, spec: SweepSpec, *, devices: Sequence[str] = (), workers: int | None = None) -> None:
    """Have the libraries of worker processes loaded while the caller does something else; open the executor then.

    Raises:
        UsageError: no such device.
    """
    if engine != "local":
        return
    from tuner.execute.fork_server import fork_server

    prepare_environment(worker_places(devices, workers=workers, own_code=spec.loop is not None)[0])
    fork_server(spec)


ENGINES: dict[str, Callable[[SweepSpec, StudyPaths, Sequence[str], int | None], Executor]] = {
    "local": _local,
    "inline": _inline,
}
"""Each executor by its name on the command line."""


def open_executor(
    engine: str, spec: SweepSpec, paths: StudyPaths, *, devices: Sequence[str] = (), workers: int | None = None
) -> Executor:
    """Start an executor for a sweep.

    Raises:
        UsageError: no such device.
    """
    return ENGINES[engine](spec, paths, devices, workers)
