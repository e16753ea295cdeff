"""Where workers run: on CPUs that others leave free, spread over sockets, as many as there is time for."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.execute import cores as module
from tuner.execute.cores import (
    available_cores,
    cores_to_pin,
    cpu_quota,
    num_cores,
    read_topology,
    spread,
    taken_cores,
)
from tuner.execute.devices import WORKERS_PER_CORE, WorkerPlace, prepare_environment, worker_places


def made_up(root: Path, *, sockets: int, cores: int, threads: int) -> None:
    """The files of a machine that numbers its CPUs as most do: socket by socket, second threads last."""
    for thread in range(threads):
        for socket in range(sockets):
            for core in range(cores):
                cpu = (thread * sockets + socket) * cores + core
                folder = root / f"cpu{cpu}" / "topology"
                folder.mkdir(parents=True)
                (folder / "physical_package_id").write_text(f"{socket}\n")
                (folder / "core_id").write_text(f"{core}\n")


def test_sockets_are_used_in_turn_and_second_threads_last(tmp_path: Path) -> None:
    made_up(tmp_path, sockets=2, cores=4, threads=2)
    order = spread(range(16), read_topology(range(16), root=tmp_path))
    assert order == [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    some = {1, 2, 3, 9, 5}  # what is left on the machine; 1 and 9 are one core's
    assert spread(some, read_topology(some, root=tmp_path)) == [1, 5, 2, 3, 9]


def test_cpus_of_which_nothing_is_known_are_taken_in_order(tmp_path: Path) -> None:
    assert spread([3, 1, 2], read_topology([3, 1, 2], root=tmp_path)) == [1, 2, 3]


def test_a_cpu_that_another_process_is_pinned_to_is_taken() -> None:
    core = available_cores()[-1]
    with subprocess.Popen(["sleep", "600"]) as pinned, subprocess.Popen(["sleep", "600"]) as free:
        try:
            os.sched_setaffinity(pinned.pid, {core})
            several = len(available_cores()) > 1
            assert taken_cores([pinned.pid]) == {core}
            assert taken_cores([free.pid]) == (set() if several else {core})
            assert core in taken_cores()
        finally:
            pinned.kill()
            free.kill()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight free CPUs on one socket, without a quota."""
    monkeypatch.setattr(module, "available_cores", lambda: list(range(8)))
    monkeypatch.setattr(module, "cpu_quota", lambda: math.inf)
    monkeypatch.setattr(module, "taken_cores", set)
    monkeypatch.setattr(module, "read_topology", lambda cores: {core: (0, core) for core in cores})
    return monkeypatch


def test_workers_keep_off_what_is_taken_and_are_not_pinned_where_too_little_is_left(
    machine: pytest.MonkeyPatch,
) -> None:
    assert cores_to_pin(3) == [0, 1, 2]
    machine.setattr(module, "taken_cores", lambda: {0, 2, 77})
    assert cores_to_pin(3) == [1, 3, 4]
    assert cores_to_pin(6) == [1, 3, 4, 5, 6, 7]
    assert cores_to_pin(7) is None
    assert cores_to_pin(1) is None


def test_a_quota_bounds_the_workers_and_pins_none(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(module, "cpu_quota", lambda: 2.5)
    assert num_cores() == 2
    assert cores_to_pin(2) is None
    assert len(worker_places(["cpu"])) == 2
    machine.setattr(module, "cpu_quota", lambda: 0.2)
    assert num_cores() == 1


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, "0::/a/b", 1.5),
        ({"cpu.max": "400000 100000"}, "0::/not/shown", 4.0),
        ({"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/x\n0::/", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1"}, "4:cpu,cpuacct:/", math.inf),
        ({"cpu.max": "garbage"}, "0::/", math.inf),
        ({}, "5:memory:/m", math.inf),
    ],
)
def test_quotas_of_control_groups(tmp_path: Path, files: dict[str, str], membership: str, quota: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    assert cpu_quota(root=tmp_path, membership=tmp_path / "membership") == quota


def test_far_more_workers_than_cores_are_refused(machine: pytest.MonkeyPatch) -> None:
    most = WORKERS_PER_CORE * 8
    assert len(worker_places(["cpu"], workers=most)) == most
    with pytest.raises(UsageError, match=rf"99999999 workers are too many: there are 8 cores; .* {most} in all"):
        worker_places(["cpu"], workers=99_999_999)


@pytest.mark.parametrize(
    ("workers", "given", "threads", "left"),
    [
        (1, {}, 8, None),  # all cores, as by itself
        (2, {}, 4, "4"),
        (8, {}, 1, "1"),
        (16, {}, 1, "1"),
        (1, {"OMP_NUM_THREADS": "2"}, 2, "2"),
        (8, {"OMP_NUM_THREADS": "3,1"}, 3, "3,1"),
        (2, {"MKL_NUM_THREADS": "5"}, 5, None),
    ],
)
def test_own_code_shares_the_cores_and_what_the_user_has_set_stays(
    machine: pytest.MonkeyPatch, workers: int, given: dict[str, str], threads: int, left: str | None
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        machine.delenv(name, raising=False)
    for name, value in given.items():
        machine.setenv(name, value)
    places = worker_places(["cpu"], workers=workers, own_code=True)
    assert {place.threads for place in places} == {threads}
    assert all((place.core is not None) == (workers == 8 and threads == 1) for place in places)
    prepare_environment(places[0])
    assert os.environ.get("OMP_NUM_THREADS") == left
    assert os.environ.get("MKL_NUM_THREADS") == given.get("MKL_NUM_THREADS")
    machine.delenv("OMP_NUM_THREADS", raising=False)


def test_what_tuner_trains_has_one_thread_whatever_is_set(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("OMP_NUM_THREADS", "6")
    machine.setenv("MKL_NUM_THREADS", "6")
    place = worker_places(["cpu"], workers=1)[0]
    assert place == WorkerPlace("cpu", 1, None)
    prepare_environment(place)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "1")
