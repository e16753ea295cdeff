"""The executor on a Ray cluster: a host for each device or core of it, on whatever nodes there are.

Ray places the hosts, says when one is lost and what the cluster has; it trains and decides nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.errors import ClusterLostError, TunerError, UsageError
from tuner.execute.cluster import answers, join
from tuner.execute.devices import WorkerPlace
from tuner.execute.host import Host, Surroundings, versions
from tuner.execute.luggage import code_beside
from tuner.execute.pool import WorkerPool
from tuner.execute.remote import Apart, Bell, RemoteBaselines, RemoteProcess
from tuner.execute.shared_folder import Token
from tuner.execute.watched import Worker
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.spec.model import ResourcesSpec, SweepSpec

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""So often it is looked at what the cluster has."""
_PATIENCE_SECONDS = 10.0
"""After so long without a worker it is said what is waited for."""
_LOST_SECONDS = 10.0
"""After so long without an answer the cluster's head is lost. Ray itself ends this process after 60."""
_LEAVE_SECONDS = 5.0
"""For hosts to remove what they have written on their machines."""
_RESOURCES = {"cpu": "CPU", "cuda": "GPU"}
"""What Ray calls one device of a kind."""
_IN_RAY = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""What an actor asks for, and what a node has of it."""


@dataclass(slots=True)
class _Recruit:
    """A host that Ray has been asked for, and that has not said where it is."""

    number: int
    host: Any
    surroundings: Any
    """The reference to them."""


class RayExecutor(WorkerPool):
    """Workers wherever the cluster has room: as many as it has devices or cores, now and as nodes come and go."""

    def __init__(
        self,
        spec: SweepSpec,
        paths: StudyPaths,
        *,
        address: str | None = None,
        devices: Sequence[str] = (),
        workers: int | None = None,
    ) -> None:
        """Ask for the hosts; their workers load the data while the caller goes on."""
        self._ray, self._joined = join(address)  # before there is anything to take back
        self._asked = spec.resources or ResourcesSpec()
        self._kind = self._choose_kind(tuple(devices))
        if workers is None and not self._capacity():
            raise self._no_place()
        self._token = Token(paths)
        super().__init__(spec, paths)
        self._recruits: list[_Recruit] = []
        self._hosts: dict[int, Any] = {}
        """Of each worker, by its number."""
        self._bell = Bell()
        self._wanted = workers
        self._given_up = 0
        """Places where workers were killed while they loaded."""
        self._numbers = 0
        self._apart_ones: set[int] = set()
        """Those that do not see the study's folder."""
        self._code: Any = None
        """The reference to the sweep file's folder, once a node has been found that does not see it."""
        self._head = str(self._ray.get_runtime_context().gcs_address)
        self._answered = time.monotonic()
        """When the head of the cluster answered last."""
        self._looked = self._began = time.monotonic() - _LOOK_SECONDS
        self._patient = True
        self._actor = self._ray.remote(concurrency_groups={"up": 1, "down": 1, "beside": 1})(Host)
        self._look_for_more()

    def close(self) -> None:
        super().close()
        if self._failure is None and self._apart_ones & self._hosts.keys():
            left = [self._hosts[number].leave.remote() for number in self._apart_ones & self._hosts.keys()]
            self._ray.wait(left, num_returns=len(left), timeout=_LEAVE_SECONDS)
        for host in (*self._hosts.values(), *(recruit.host for recruit in self._recruits)):
            self._ray.kill(host)
        self._hosts, self._recruits = {}, []
        self._token.remove()
        if self._joined:
            self._joined = False
            self._ray.shutdown()

    def train_baselines(self, names: Sequence[str], known: Mapping[str, Json]) -> RemoteBaselines | None:
        """See `execute.beside.TrainsBeside`: where a worker has all libraries, and sees the study's folder."""
        seeing = (number for number in self._hosts if number not in self._apart_ones)
        if (number := next(seeing, None)) is None:
            return None
        return RemoteBaselines(self._ray, self._hosts[number], names=names, known=known)

    # Workers

    def _wait(self, timeout_seconds: float) -> list[Worker]:
        rung = self._bell.wait(timeout_seconds)
        return [worker for worker in self.workers if id(worker.process) in rung]

    def _another(self, lost: Worker) -> Worker | None:
        assert isinstance(lost.process, RemoteProcess)
        host = self._hosts[lost.number]
        if lost.process.went_with_its_machine:
            self._give_up(lost)
            if not lost.jobs:  # else what becomes of them is said
                log.warning("%s is lost: %s", lost.shown, lost.process.cause)
            return None
        process = RemoteProcess(self._ray, host, self._bell, apart=lost.process.apart)
        return Worker(lost.number, lost.place, process, lost.node)

    def _go_on_without(self, worker: Worker) -> None:
        self._given_up += 1
        self._give_up(worker)
        super()._go_on_without(worker)

    def _give_up(self, worker: Worker) -> None:
        self._ray.kill(self._hosts.pop(worker.number))

    def _look_for_more(self) -> None:
        self._take_in()
        now = time.monotonic()
        if self._interrupted or self._failure is not None or now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if not self._has_head(now):
            return
        wanted = max(0, (self._wanted or self._capacity()) - self._given_up)
        while len(self.workers) + len(self._recruits) < wanted:
            self._recruits.append(self._recruit())
        while self._recruits and len(self.workers) + len(self._recruits) > wanted:
            self._ray.kill(self._recruits.pop().host)
        if self.workers:
            self._began, self._patient = now, True
        elif self._patient and now - self._began > _PATIENCE_SECONDS:
            self._patient = False
            name = _RESOURCES[self._kind]
            # What a host of ours has while it starts is not free, either.
            is_free = self._ray.available_resources().get(name, 0) >= 1
            what = "a host to start" if is_free else f"a free {name}, or for the host that has it to start"
            log.warning("no worker yet on the Ray cluster: waiting for %s", what)

    def _has_head(self, now: float) -> bool:
        """Whether the head of the cluster is there, without which Ray answers no question."""
        if answers(self._head, seconds=_LOOK_SECONDS):
            self._answered = now
            return True
        if now - self._answered > _LOST_SECONDS:
            self._failure = ClusterLostError(
                f"the head of the Ray cluster, {self._head}, has not answered for {_LOST_SECONDS:g} s: it is lost, and "
                "the cluster with it"
            )
        return False

    def _capacity(self) -> int:
        """How many workers the nodes have place for that are there now, whoever uses them."""
        needs = {_IN_RAY[name]: number for name, number in self._needs().items() if number}
        return sum(
            min(int(has.get(name, 0) / number + 1e-9) for name, number in needs.items()) for has in self._nodes()
        )

    def _nodes(self) -> list[dict[str, float]]:
        """What each node has that is there."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _needs(self) -> dict[str, float]:
        """What a host has of its node, in the words of Ray."""
        gpus = (self._asked.gpus or 1) if self._kind == "cuda" else 0
        return {"num_cpus": self._asked.cpus or 1, "num_gpus": gpus}

    def _no_place(self) -> TunerError:
        """The error of a cluster no node of which has place for a worker."""
        for key, name in (("gpus", "GPU"), ("cpus", "CPU")):
            most = max((node.get(name, 0) for node in self._nodes()), default=0)
            if (getattr(self._asked, key) or 0) > most:
                return self._asked.refusal(
                    key, f"must be at most {most:g}: no node of the Ray cluster has more {name}s"
                )
        return UsageError(
            f"the Ray cluster has no {_RESOURCES[self._kind]} to train on; add a node to it with "
            "`ray start --address=...`"
        )

    def _choose_kind(self, devices: Sequence[str]) -> str:
        if self._asked.gpus is not None and devices in ((), ("cuda",)):
            return "cuda"
        if not devices:
            return "cuda" if self._ray.cluster_resources().get("GPU", 0) >= 1 else "cpu"
        if devices == ("cpu",) and self._asked.gpus is not None:
            raise self._asked.refusal("gpus", "has no meaning with --devices cpu; leave one of the two out")
        if len(devices) == 1 and devices[0] in _RESOURCES:
            return devices[0]
        raise UsageError(
            f"--devices {','.join(devices)}: with --engine ray the cluster gives each worker its device; "
            "say cpu or cuda, or leave it out"
        )

    def _recruit(self) -> _Recruit:
        number = self._numbers
        self._numbers += 1
        host = self._actor.options(**self._needs()).remote(self.spec, self.paths, number=number, place=self._place())
        surroundings = host.look.remote(str(self._token.path), self._token.said)
        surroundings.future().add_done_callback(lambda _: self._bell.ring())
        return _Recruit(number, host, surroundings)

    def _place(self) -> WorkerPlace:
        own_code, threads = self.spec.loop is not None, self._asked.cpus or 1
        if self._kind == "cpu":
            return WorkerPlace("cpu", threads, None, own_code)
        # Those that Ray lets the host see.
        more = tuple(f"cuda:{index}" for index in range(1, self._asked.num_gpus))
        return WorkerPlace("cuda:0", threads, None, own_code, self._asked.num_sharers, more)

    def _take_in(self) -> None:
        """Start a worker in each host that has come to be."""
        if not self._recruits:
            return
        waiting = [recruit.surroundings for recruit in self._recruits]
        come, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        for recruit in [recruit for recruit in self._recruits if recruit.surroundings in come]:
            self._recruits.remove(recruit)
            try:
                found: Surroundings = self._ray.get(recruit.surroundings)
                self._check(found)
                apart = self._apart(found)
            except self._ray.exceptions.ActorDiedError as error:
                if "ModuleNotFoundError" in str(error) or "ImportError" in str(error):
                    self._failure = self._failure or TunerError(_not_installed(str(error)))
                continue  # it was lost with its node, and another is asked for when there is place
            except TunerError as error:
                self._failure = self._failure or error
                self._ray.kill(recruit.host)
                continue
            self._hosts[recruit.number] = recruit.host
            if apart is not None:
                self._apart_ones.add(recruit.number)
            process = RemoteProcess(self._ray, recruit.host, self._bell, apart=apart)
            self.workers.append(Worker(recruit.number, self._place(), process, found.node))

    def _check(self, found: Surroundings) -> None:
        """Make sure that a host can do what is asked of it.

        Raises:
            TunerError: it cannot.
        """
        ours = versions()
        if other := [
            f"{name} {found.versions.get(name)} (here {is_})"
            for name, is_ in ours.items()
            if found.versions.get(name) != is_
        ]:
            raise TunerError(
                f"node {found.node} has other versions than this machine: {', '.join(other)}; results would differ, so "
                "install the same on all nodes"
            )

    def _apart(self, found: Surroundings) -> Apart | None:
        """What a host is given that does not see the study's folder, and works in one of its own.

        Raises:
            DataError: there is too much beside the sweep file to be sent.
        """
        if found.sees_study and found.sees_code:
            return None
        if not found.sees_code and self._code is None:
            self._code = self._ray.put(code_beside(Path(self.spec.root), but=self.paths.folder.parent))
        return Apart(self.paths, self._token.said, None if found.sees_code else self._code)


def _not_installed(said: str) -> str:
    line = next((line for line in reversed(said.splitlines()) if "Error: " in line), said)
    return f'a node of the Ray cluster cannot run tuner ({line.strip()}); run there: pip install "tuner[ray]"'
