"""A worker on a GPU sees that GPU alone, whatever the user has made visible and by whatever names."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from tuner.errors import UsageError
from tuner.execute.apart import run_apart
from tuner.execute.devices import WorkerPlace, see_alone, worker_places

VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


@pytest.mark.parametrize(
    ("visible", "device", "own"),
    [
        (None, "cuda", "0"),
        (None, "cuda:3", "3"),
        ("2,5", "cuda:1", "5"),
        (" 6 , 7 ", "cuda:0", "6"),
        ("GPU-8932f937,GPU-d4e5f6", "cuda:1", "GPU-d4e5f6"),
        ("MIG-1a2b,MIG-3c4d", "cuda:1", "MIG-3c4d"),
    ],
)
def test_a_worker_is_shown_its_own_gpu_which_is_the_first_there(
    clean: pytest.MonkeyPatch, visible: str | None, device: str, own: str
) -> None:
    if visible is not None:
        clean.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert see_alone(device) == ("cuda:0",)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == own


def test_amds_own_variable_is_obeyed_where_it_is_set(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("HIP_VISIBLE_DEVICES", "1,3")
    assert see_alone("cuda:1") == ("cuda:0",)
    assert (os.environ["HIP_VISIBLE_DEVICES"], os.environ.get("CUDA_VISIBLE_DEVICES")) == ("3", None)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_nothing_is_hidden_from_a_worker_on_another_device(clean: pytest.MonkeyPatch, device: str) -> None:
    assert see_alone(device) == (device,)
    assert not set(VARIABLES) & set(os.environ)


def surroundings(place: WorkerPlace) -> tuple[tuple[str, ...], str | None, bool]:
    """In a process of its own: what its device is called, what is visible, and whether CUDA had started before."""
    started = torch.cuda.is_initialized()
    return see_alone(place.device, *place.more), os.environ.get("CUDA_VISIBLE_DEVICES"), started


@pytest.mark.deep
@pytest.mark.slow
def test_another_process_is_shown_its_own_too_and_this_one_keeps_all(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    place = WorkerPlace("cuda:2", 1, None)
    assert run_apart(surroundings, place, place) == (("cuda:0",), "6", False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5,6"


def test_each_gpu_has_a_worker_and_each_mig_slice_though_cuda_shows_one(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(torch.cuda, "is_available", lambda: True)
    clean.setattr(torch.cuda, "device_count", lambda: 1)
    clean.setattr("tuner.execute.devices._may_have_accelerator", lambda: True)
    assert [place.device for place in worker_places([])] == ["cuda:0"]
    clean.setenv("CUDA_VISIBLE_DEVICES", "MIG-1a2b,MIG-3c4d,MIG-5e6f")
    assert [place.device for place in worker_places([])] == ["cuda:0", "cuda:1", "cuda:2"]
    with pytest.raises(UsageError, match="cuda:3 is not there: torch sees 3 CUDA devices"):
        worker_places(["cuda:3"])


def test_devices_of_several_kinds_are_refused(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(torch.cuda, "is_available", lambda: True)
    clean.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"cpu,cuda names devices of 2 kinds.*name those of one: cpu or cuda"):
        worker_places(["cpu", "cuda"])


def test_workers_on_one_gpu_share_it(clean: pytest.MonkeyPatch) -> None:
    clean.setattr(torch.cuda, "is_available", lambda: True)
    clean.setattr(torch.cuda, "device_count", lambda: 2)
    assert [place.sharers for place in worker_places(["cuda"], workers=4)] == [4] * 4
    assert [place.sharers for place in worker_places(["cuda:0", "cuda:1"], workers=3)] == [2, 1, 2]
    assert [place.sharers for place in worker_places(["cpu"], workers=2)] == [1, 1]


@pytest.mark.deep
def test_what_workers_are_forked_from_has_asked_nothing_of_cuda() -> None:
    """A process that has started CUDA, or counted its GPUs, cannot be forked into one that sees another GPU."""
    watch = """
import sys, torch.cuda
def asked(*_, **__):
    sys.exit("asked")
for name in ("_lazy_init", "is_available", "device_count", "get_device_properties", "current_device"):
    setattr(torch.cuda, name, asked)
{}
print("left alone")
"""
    preloaded = "import tuner.execute.fork_server, tuner.execute.worker, pandas, sklearn.datasets, torch._dynamo"
    found = {}
    for code in (preloaded, "torch.cuda.current_device()"):
        ended = subprocess.run([sys.executable, "-c", watch.format(code)], capture_output=True, text=True, check=False)
        found[code] = ended.stdout + ended.stderr
    assert list(found.values()) == ["left alone\n", "asked\n"]
