"""The executor on a Ray cluster, held to the contract of all executors: three nodes, made on this machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contracts.executor_contract import curve, drain, ends, figures, starts
from tests.execute.clusters import add_node, three_nodes
from tests.execute.processes import descendants, parent_of
from tests.execute.sweeps import make_job, small_sweep
from tests.execute.test_contract import RealContract
from tuner.errors import MissingExtraError, UsageError
from tuner.execute import cluster as joining
from tuner.execute import host as hosting
from tuner.execute.beside import begin_baselines
from tuner.execute.devices import WorkerPlace
from tuner.execute.executor import Executor
from tuner.execute.host import Host
from tuner.execute.inline import InlineExecutor
from tuner.execute.on_ray import RayExecutor
from tuner.execute.open import Where, open_executor
from tuner.execute.remote import RemoteBaselines
from tuner.execute.scarcity import KernelKills
from tuner.paths import StudyPaths
from tuner.records import FailureReason, TrialInterrupted
from tuner.spec.model import DataSpec


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with three_nodes() as cluster:
        yield cluster


@pytest.mark.deep
@pytest.mark.cluster
class TestRay(RealContract):
    @pytest.fixture(autouse=True)
    def _on(self, cluster: Any) -> None:
        self.address = cluster.address
        self.workers = 2

    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = RayExecutor(small_sweep(), StudyPaths(self.folder), address=self.address, workers=self.workers)
        self.workers = 1  # of whatever is opened beside it, since each imports torch anew
        yield executor
        executor.close()

    def test_trains_the_same_curves_as_the_inline_executor(self, executor: Executor) -> None:
        jobs = [self.job(trial) for trial in range(4)]
        executor.submit(jobs)
        found = drain(executor, jobs)
        with self.elsewhere():
            inline = InlineExecutor(small_sweep(), StudyPaths(self.folder))
            inline.submit(jobs)
            expected = drain(inline, jobs)
        assert [figures(curve(found, t)) for t in range(4)] == [figures(curve(expected, t)) for t in range(4)]


@pytest.mark.deep
@pytest.mark.cluster
def test_a_node_that_joins_gets_work_and_what_a_lost_one_trained_waits_for_another_place(
    cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "small"
    spec = small_sweep(epochs=10**6, fuse="off")  # none of them ends
    executor = RayExecutor(spec, StudyPaths(folder), address=cluster.address)
    nobody = make_job(folder, -1)
    try:
        drain(executor, [nobody], until=lambda: sum(worker.ready for worker in executor.workers) == 4)
        old = list(executor.workers)
        node = add_node(cluster)
        drain(executor, [nobody], until=lambda: sum(worker.ready for worker in executor.workers) == 6)
        new = [worker for worker in executor.workers if worker not in old]
        jobs = [make_job(folder, trial, to_epoch=10**6) for trial in range(6)]
        executor.submit(jobs)
        events = drain(executor, jobs, until=lambda: all(worker.seconds for worker in executor.workers))
        held = {trial for worker in new for trial in worker.jobs}
        cluster.remove_node(node)
        drain(executor, jobs, until=lambda: not any(worker in executor.workers for worker in new))
        executor.interrupt()  # the others leave their places, and those of the lost node are told of as well
        events += drain(executor, jobs)
    finally:
        executor.close()
    assert len(held) == 2
    assert {start.trial for start in starts(events)} == set(range(6))
    assert all(isinstance(end, TrialInterrupted) for end in ends(events).values())
    assert caplog.text.count("was lost with 1 trials in training (its node is gone") == 2


@pytest.mark.deep
@pytest.mark.cluster
def test_baselines_are_trained_beside_the_workers_and_told_of_when_they_are_lost_with_their_machine(
    cluster: Any, tmp_path: Path
) -> None:
    spec = small_sweep()
    paths = StudyPaths(tmp_path / "small")
    executor = RayExecutor(spec, paths, address=cluster.address, workers=1)
    begin = partial(begin_baselines, executor, spec, paths, known=executor.facts.data)
    try:
        first = begin(names=("guess", "linear"))
        assert isinstance(first, RemoteBaselines)
        trained = {}
        while not first.ended:
            trained |= dict(first.received(60.0))
        assert [trained[name].get("failed") for name in ("guess", "linear")] == [None, None]
        assert paths.baseline("linear").exists()
        assert not first.was_lost
        second = begin(names=("guess", "linear"))
        os.kill(_host(), signal.SIGKILL)
        while not second.ended:
            second.received(60.0)
        assert second.was_lost
    finally:
        executor.close()


def _host() -> int:
    """The process of the only host."""
    there = (int(place.parent.name) for place in Path("/proc").glob("[0-9]*/cmdline") if _says(place, b"ray::Host"))
    [found] = [pid for pid in there if pid in descendants(os.getpid())]
    return found


def _says(place: Path, name: bytes) -> bool:
    with suppress(OSError):
        return place.read_bytes().startswith(name)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("apart", ["", "run"], ids=["folder seen", "folder not seen"])
def test_workers_of_one_machine_map_one_copy_of_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: str
) -> None:
    monkeypatch.setattr("tuner.execute.host._forget_main", lambda: None)
    rows = "".join(f"{row % 7},{row % 11 / 7:.15f},{row % 2}\n" for row in range(400_000))
    (tmp_path / "t.csv").write_text(f"a,b,class\n{rows}")
    data = DataSpec(source="t.csv", target="class")
    spec = small_sweep().model_copy(update={"data": data, "root": str(tmp_path)})
    hosts = [Host(spec, StudyPaths(tmp_path / "small"), number=n, place=WorkerPlace("cpu", 1, None)) for n in range(2)]
    try:
        for host in hosts:
            host.start(apart)
        for host in hosts:
            while not any(message[0] == "ready" for message in host.hear()):
                pass
        mapped = [
            frozenset(line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/.data/" in line)
            for maps in (Path(f"/proc/{pid}/maps").read_text() for pid in descendants(os.getpid()))
            if "/.data/" in maps
        ]
    finally:
        for host in hosts:
            host.kill()
            host.leave()
    assert len(mapped) >= 2
    assert len(set(mapped)) == 1


@pytest.mark.slow
def test_a_host_tells_of_its_own_machine_when_its_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.execute.host._forget_main", lambda: None)
    spec, paths = small_sweep(epochs=10**6), StudyPaths(tmp_path / "small")
    host = Host(spec, paths, number=0, place=WorkerPlace("cpu", 1, None))
    host.start()
    heard = host.hear()
    host.tell("train", [make_job(paths.folder, 0, to_epoch=10**6)])
    while not any(message[0] == "events" for message in heard):
        heard = host.hear()
    monkeypatch.setattr(KernelKills, "came", lambda self: True)
    host.kill()
    while not any(message[0] == "died" for message in heard):
        heard = host.hear()
    _, reason, _, from_outside, was_killed, _, scarcity = heard[-1]
    assert (reason, from_outside, was_killed) == (FailureReason.KILLED, True, True)
    assert scarcity.by_kernel is True
    assert scarcity.limit is not None


@pytest.mark.slow
def test_a_host_that_is_being_ended_has_no_time_to_call_it_its_trials_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.execute.host._forget_main", lambda: None)
    waited: list[float] = []
    monkeypatch.setattr("tuner.execute.host.time.sleep", waited.append)
    spec, paths = small_sweep(epochs=10**6), StudyPaths(tmp_path / "small")
    host = Host(spec, paths, number=0, place=WorkerPlace("cpu", 1, None))
    host.start()
    heard = host.hear()
    assert heard[0][0] == "ready"
    assert host._process is not None
    server = parent_of(host._process.pid)
    os.kill(server, signal.SIGKILL)
    while not any(message[0] == "died" for message in heard):
        heard = host.hear()
    assert "nobody knows how" in heard[-1][2]
    assert waited == [hosting._FAREWELL_SECONDS]


def test_without_ray_the_line_that_installs_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tuner\[ray\]"'):
        open_executor(small_sweep(), StudyPaths(tmp_path / "small"), Where(engine="ray"))
    assert not list(tmp_path.iterdir())


def test_an_address_where_nothing_answers_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "require", lambda *_, **__: SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(UsageError, match=r"nothing answers at 127\.0\.0\.1:1, where a Ray cluster was looked for"):
        joining.join("127.0.0.1:1")


def test_the_address_that_a_killed_cluster_left_behind_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(joining, "_STARTED_HERE", tmp_path / "ray_current_cluster")
    assert joining._running_here() is None
    (tmp_path / "ray_current_cluster").write_text("127.0.0.1:1")
    assert joining._running_here() == "local"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray_current_cluster").write_text(address)
        assert joining._running_here() == "auto"


def test_an_address_without_the_engine_that_it_is_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--engine ray"):
        open_executor(small_sweep(), StudyPaths(tmp_path / "small"), Where(address="127.0.0.1:6379"))
