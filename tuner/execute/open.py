"""Where the name of an engine becomes an executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tuner.errors import UsageError
from tuner.execute.devices import WorkerPlace, prepare_environment, worker_places
from tuner.execute.executor import Executor
from tuner.imports import load_plugin
from tuner.paths import StudyPaths
from tuner.plugins import plugins
from tuner.spec.model import SweepSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Where:
    """Where trials are trained."""

    engine: str = "local"
    address: str | None = None
    """Of a cluster."""
    devices: tuple[str, ...] = ()
    workers: int | None = None


def _places(spec: SweepSpec, where: Where) -> list[WorkerPlace]:
    return worker_places(where.devices, workers=where.workers, own_code=spec.loop is not None, resources=spec.resources)


def _inline(spec: SweepSpec, paths: StudyPaths, where: Where) -> Executor:
    place = _places(spec, replace(where, workers=1))[0]
    prepare_environment(place)
    from tuner.execute.inline import InlineExecutor

    return InlineExecutor(spec, paths, device=place.device, threads=place.threads, more=place.more)


def _local(spec: SweepSpec, paths: StudyPaths, where: Where) -> Executor:
    from tuner.execute.local import LocalExecutor

    return LocalExecutor(spec, paths, _places(spec, where))


def _ray(spec: SweepSpec, paths: StudyPaths, where: Where) -> Executor:
    from tuner.execute.on_ray import RayExecutor

    return RayExecutor(spec, paths, address=where.address, devices=where.devices, workers=where.workers)


ENGINES: dict[str, Callable[[SweepSpec, StudyPaths, Where], Executor]] = {
    "local": _local,
    "inline": _inline,
    "ray": _ray,
}
"""Each executor by its name on the command line."""


def open_executor(
    spec: SweepSpec, paths: StudyPaths, where: Where, *, meanwhile: Callable[[], object] = lambda: None
) -> Executor:
    """Start an executor for a sweep.

    Args:
        spec: The sweep.
        paths: Where its files go.
        where: Where trials are trained.
        meanwhile: What is to be done in any case, while worker processes load their libraries.

    Raises:
        UsageError: no such device, no such cluster, or no such engine.
        UserCodeError: the engine is a plug-in, which cannot be imported.
    """
    if where.engine not in (*ENGINES, *plugins("executors")):
        raise UsageError(f"there is no engine {where.engine}; there are {', '.join((*ENGINES, *plugins('executors')))}")
    if where.address is not None and where.engine != "ray":
        raise UsageError(f"--address {where.address} is of a Ray cluster: it goes with --engine ray")
    open_it: Any = ENGINES.get(where.engine) or load_plugin(plugins("executors")[where.engine])
    if where.engine == "local":
        from tuner.execute.fork_server import fork_server

        prepare_environment(_places(spec, where)[0])
        fork_server(spec)  # its workers are waited for when they are forked, those of others are not
    if where.engine != "ray":
        meanwhile()
    executor: Executor = open_it(spec, paths, where)
    if where.engine == "ray":
        try:
            meanwhile()
        except BaseException:
            executor.close()
            raise
    return executor
