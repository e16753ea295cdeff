"""What of a machine each worker has, as the sweep file asks for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.contracts.executor_contract import drain, ends
from tests.execute.sweeps import local_executor
from tests.execute.test_commands import command_sweep
from tuner.errors import SweepFileError, UsageError
from tuner.execute import devices
from tuner.execute.devices import WorkerPlace, see_alone, worker_places
from tuner.execute.on_ray import RayExecutor
from tuner.records import TrialFinished, TrialJob
from tuner.spec.model import ResourcesSpec
from tuner.spec.reader import parse_sweep
from tuner.train.device.gpus import only_gpus

GPUS = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores and four GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(devices, "num_cores", lambda: 8)
    monkeypatch.setattr(devices, "threads_wanted", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def asked(text: str) -> ResourcesSpec | None:
    sweep = f"study: s\ncommand: python t.py {{lr}}\nresources: {text}\nobjective: {{metric: val_loss}}\n"
    return parse_sweep(f"{sweep}space: {{lr: {{low: 0.1, high: 1, tier: 1}}}}\n", name="s.yaml", root=Path())[
        0
    ].resources


def shown(places: list[WorkerPlace]) -> list[str]:
    return [place.shown for place in places]


def test_each_worker_has_gpus_that_follow_each_other_and_the_rest_is_idle() -> None:
    assert shown(worker_places(GPUS, own_code=True, resources=asked("{gpus: 2}"))) == ["cuda:0+cuda:1", "cuda:2+cuda:3"]
    places = worker_places(["cuda:3", "cuda:1", "cuda:0"], own_code=True, resources=asked("{gpus: 2}"))
    assert shown(places) == ["cuda:3+cuda:1"]
    assert [place.threads for place in places] == [8]


def test_fractions_put_several_workers_on_each_gpu() -> None:
    places = worker_places(GPUS[:2], resources=asked("{gpus: 0.25}"))
    assert sorted(shown(places)) == ["cuda:0"] * 4 + ["cuda:1"] * 4
    assert {place.sharers for place in places} == {4}
    assert len(worker_places(GPUS[:1], resources=asked("{gpus: 0.3}"))) == 3
    assert [p.sharers for p in worker_places(GPUS[:1], workers=2, resources=asked("{gpus: 0.25}"))] == [2, 2]


def test_cores_are_threads_and_say_how_many_workers_there_are() -> None:
    assert [p.threads for p in worker_places(["cpu"], own_code=True, resources=asked("{cpus: 3}"))] == [3, 3]
    assert len(worker_places(["cpu"], own_code=True, resources=asked("{cpus: 1}"))) == 8
    both = worker_places(GPUS, own_code=True, resources=asked("{gpus: 1, cpus: 4}"))
    assert [(p.device, p.threads) for p in both] == [("cuda:0", 4), ("cuda:1", 4)]


@pytest.mark.parametrize(
    ("text", "chosen", "told"),
    [
        ("{gpus: 5}", GPUS, r"s\.yaml:3:19: resources\.gpus: must be at most 4: there are no more GPUs .*, got 5"),
        ("{gpus: 2}", GPUS[:1], r"s\.yaml:3:19: .*must be at most 1: .*\(cuda:0\), got 2"),
        ("{gpus: 0.5}", ["cpu"], r"s\.yaml:3:19: .*there is no GPU to train on here \(cpu\); leave it out, got 0\.5"),
        ("{cpus: 9}", ["cpu"], r"s\.yaml:3:19: resources\.cpus: must be at most 8: there are no more cores, got 9"),
    ],
)
def test_more_than_the_machine_has_is_refused_with_its_place(text: str, chosen: list[str], told: str) -> None:
    with pytest.raises(SweepFileError, match=told) as caught:
        worker_places(chosen, own_code=True, resources=asked(text))
    assert caught.value.exit_code == 3


def test_more_workers_than_have_place_are_refused() -> None:
    with pytest.raises(UsageError, match="--workers 3 is more than the 2 that there is place for"):
        worker_places(GPUS, workers=3, own_code=True, resources=asked("{gpus: 2}"))


def test_a_worker_sees_its_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": "4,5,6,7"})
    assert see_alone("cuda:2", "cuda:3") == ("cuda:0", "cuda:1")
    assert only_gpus([1, 3], {"CUDA_VISIBLE_DEVICES": "4,5,6,7"}) == {"CUDA_VISIBLE_DEVICES": "5,7"}
    assert only_gpus([0, 1], {}) == {"CUDA_VISIBLE_DEVICES": "0,1"}


# On a Ray cluster


def cluster(*nodes: dict[str, float], spec: Any, devices: tuple[str, ...] = ()) -> RayExecutor:
    """An executor over nodes that have this, which has asked for no worker yet."""
    total: dict[str, float] = {}
    for node in nodes:
        total |= {name: total.get(name, 0) + number for name, number in node.items()}
    executor = RayExecutor.__new__(RayExecutor)
    executor.spec, executor._asked = spec, spec.resources or ResourcesSpec()
    executor._ray = SimpleNamespace(
        nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes] + [{"Alive": False, "Resources": {}}],
        cluster_resources=lambda: total,
    )
    executor._kind = executor._choose_kind(devices)
    return executor


@pytest.fixture
def sweep() -> Callable[[str], Any]:
    return lambda text: command_sweep().model_copy(update={"resources": asked(text)})


def test_an_actor_asks_ray_for_what_its_worker_has(sweep: Callable[[str], Any]) -> None:
    two = {"CPU": 8.0, "GPU": 3.0}
    executor = cluster(two, two, spec=sweep("{gpus: 2, cpus: 4}"))
    assert executor._needs() == {"num_cpus": 4, "num_gpus": 2}
    assert executor._capacity() == 2  # no node has four
    assert executor._place() == WorkerPlace("cuda:0", 4, None, True, 1, ("cuda:1",))
    executor = cluster(two, {"CPU": 1.0, "GPU": 1.0}, spec=sweep("{gpus: 0.25}"))
    assert executor._capacity() == 9  # by GPUs 12 and 4, by cores 8 and 1
    assert executor._place().sharers == 4
    executor = cluster({"CPU": 8.0}, {"CPU": 3.0}, {"CPU": 0.0}, spec=sweep("{cpus: 4}"))
    assert (executor._kind, executor._capacity()) == ("cpu", 2)


def test_what_no_node_has_is_refused_with_its_place(sweep: Callable[[str], Any]) -> None:
    for text, told in (
        (
            "{gpus: 2}",
            r"s\.yaml:3:19: resources\.gpus: must be at most 1: no node of the Ray cluster has more GPUs, got 2",
        ),
        ("{gpus: 1, cpus: 9}", r"s\.yaml:3:28: resources\.cpus: must be at most 8"),
    ):
        executor = cluster({"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0}, spec=sweep(text))
        assert executor._capacity() == 0
        with pytest.raises(SweepFileError, match=told):
            raise executor._no_place()
    with pytest.raises(SweepFileError, match="has no meaning with --devices cpu"):
        cluster({"CPU": 8.0}, spec=sweep("{gpus: 1}"), devices=("cpu",))


# A trial over several processes

DISTRIBUTED = """
import json, os, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank, torch_threads = dist.get_rank(), torch.get_num_threads()
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
for epoch in range(1, int(os.environ["TUNER_TO_EPOCH"]) + 1):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(2 * epoch + rank))
    loss = (model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    total = loss.detach().clone()
    dist.all_reduce(total)
    if rank == 0:
        print(json.dumps({"epoch": epoch, "val_loss": total.item() / dist.get_world_size()}), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.deep
def test_a_trial_of_two_processes_is_one_trial(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(DISTRIBUTED)
    run = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2 train.py {{learning_rate}}"
    sweep = (
        f"study: s\ncommand: {run}\nresources: {{cpus: 2}}\nobjective: {{metric: val_loss}}\ntraining: {{epochs: 3}}\n"
    )
    spec, _ = parse_sweep(f"{sweep}space: {{learning_rate: {{low: 0.001, high: 1}}}}\n", name="s.yaml", root=tmp_path)
    executor = local_executor(spec, tmp_path / "results")
    try:
        job = TrialJob(
            trial=0,
            params={"learning_rate": 0.1},
            seed=1,
            to_epoch=3,
            folder=str(tmp_path / "results" / "trials" / "0000"),
        )
        executor.submit([job])
        end = ends(drain(executor, [job]))[0]
    finally:
        executor.close()
    assert isinstance(end, TrialFinished), end
