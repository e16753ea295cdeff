"""Runs on a Ray cluster whose nodes are lost and join, as real processes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.execute.clusters import add_node, blind_node, lose, three_nodes
from tests.execute.processes import descendants, eventually
from tests.reliability.rig import Rig, states
from tests.reliability.test_kills import KILLS_PER_STUDY, SOAK
from tests.reliability.test_signals import CODE, SLOW
from tuner.records import TrialState

pytestmark = [pytest.mark.deep, pytest.mark.cluster]

LONG = {
    **SLOW,
    "search": {"trials": 16, "strategy": "random"},
}
"""More trials than workers take at once, each of which takes ten seconds, unless `Rig.hurry` is called."""
SHORT = {
    **SLOW,
    "training": {"epochs": 6, "batch_size": 256},
    "search": {"trials": 30, "strategy": "random"},
    "model": {"kind": f"{CODE}:build", "slow": 0.05},
}
PATIENCE_SECONDS = 300.0
"""For workers to come to be: each imports torch anew."""
MOST_SECONDS = 6.0
"""Between the first epoch that a run has told of and the next kill, at most."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with three_nodes() as cluster:
        yield cluster


def hosts(cluster: Any) -> list[int]:
    """The processes that start workers on the nodes."""
    raylets = [info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes.get("raylet", ())]
    return [pid for raylet in raylets for pid in descendants(raylet) if _title(pid).startswith("ray::Host")]


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def trains(rig: Rig, *, beyond: int) -> bool:
    """Whether a worker trains whose number is higher than this."""
    names = [str(record.facts.get("worker", "")) for record in rig.records() if record.state is TrialState.RUNNING]
    return any(int(name.split()[1]) > beyond for name in names if name)


def test_a_node_is_lost_and_another_joins_and_nothing_is_trained_twice(cluster: Any, rig: Rig) -> None:
    rig.sweep(**LONG)
    run = rig.start("--address", cluster.address, engine="ray")
    rig.wait_until(lambda: len(rig.checkpoints()) >= 4, seconds=PATIENCE_SECONDS)
    cluster.remove_node(list(cluster.worker_nodes)[-1], allow_graceful=False)
    rig.wait_until("was lost with")
    add_node(cluster)
    rig.wait_until(lambda: trains(rig, beyond=3), seconds=PATIENCE_SECONDS)
    rig.hurry()
    assert run.wait() == 0, run.err[-3000:]
    rig.audit(complete=True)
    assert all(record.attempts <= 2 for record in rig.records())
    assert "tried again" not in run.err  # the loss of a machine is no failure of a trial's
    assert eventually(lambda: not hosts(cluster))


def test_a_killed_coordinator_leaves_no_actor_and_either_engine_goes_on(cluster: Any, rig: Rig) -> None:
    rig.sweep(**LONG)
    rig.start("--address", cluster.address, "--workers", "2", engine="ray")
    rig.wait_until(lambda: len(rig.checkpoints()) >= 2, seconds=PATIENCE_SECONDS)
    started = [pid for host in hosts(cluster) for pid in (host, *descendants(host))]
    assert len(started) >= 4
    rig.kill("coordinator")
    assert rig.last.wait() == -signal.SIGKILL
    assert eventually(lambda: not any(_title(pid) for pid in started))
    rig.audit()
    rig.hurry()
    rig.resume("--time", "1s", "--workers", "1", engine="local")
    rig.resume("--address", cluster.address, "--workers", "2", engine="ray")
    rig.audit(complete=True)
    assert not (rig.paths.folder / f".token.{rig.runs[0].pid}.tmp").exists()
    code, _, err = rig.command("best", "sweep.yaml", "--verify")
    assert code == 0, err


def test_the_loss_of_the_head_ends_the_run_with_the_command_to_go_on(rig: Rig) -> None:
    rig.sweep(**LONG)
    with three_nodes() as cluster:
        again = f"tuner run sweep.yaml --engine ray --address {cluster.address} --workers 2"
        run = rig.start("--address", cluster.address, "--workers", "2", engine="ray")
        rig.wait_until(lambda: len(rig.checkpoints()) >= 2, seconds=PATIENCE_SECONDS)
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        assert run.wait() == 8
    assert "the head of the Ray cluster" in run.err
    assert f"everything is kept. To go on: {again}\n" in run.err
    rig.audit()
    assert TrialState.RUNNING not in states(rig)
    assert "has not answered" in rig.command("status", "study")[1]
    rig.hurry()
    rig.resume("--workers", "2", engine="local")
    rig.audit(complete=True)


MODEL = """
import time
from pathlib import Path

from torch import nn

from helper import width


class Slow(nn.Module):
    def forward(self, inputs):
        if not Path("HURRY").exists():
            time.sleep(0.05)
        return inputs


def build(params, data):
    return nn.Sequential(Slow(), nn.Flatten(), nn.Linear(64, width), nn.Linear(width, data.num_outputs))
"""
"""Slow as long as a file is not there, which all nodes see."""


def test_where_the_folder_is_not_seen_code_and_checkpoints_travel_and_another_node_goes_on(rig: Rig) -> None:
    hurry = rig.folder.with_name("hurry")
    (rig.folder / "model.py").write_text(MODEL.replace("HURRY", str(hurry)))
    (rig.folder / "helper.py").write_text("width = 16\n")
    rig.sweep(
        model="model.py:build",
        space={"learning_rate": {"low": 1e-3, "high": 0.1}},
        training={"epochs": 200, "batch_size": 256},
        search={"trials": 4, "strategy": "random"},
    )
    with three_nodes(others=0) as cluster:
        with blind_node(cluster.address, to=rig.folder) as node:
            run = rig.start("--address", cluster.address, "--workers", "2", engine="ray")
            rig.wait_until(lambda: len(rig.checkpoints()) >= 2, seconds=PATIENCE_SECONDS)
            lose(node)
            rig.wait_until("was lost with")
        reached = rig.checkpoints()
        hurry.touch()
        with blind_node(cluster.address, to=rig.folder):
            assert run.wait(seconds=PATIENCE_SECONDS) == 0, run.err[-3000:]
    assert all(epoch > 0 for epoch, _ in reached.values())
    rig.audit(complete=True)
    assert all(record.attempts <= 2 for record in rig.records())
    for number in range(4):
        assert len(rig.paths.trial(number).curve.read_text().splitlines()) == 201
    code, _, err = rig.command("best", "sweep.yaml", "--verify")
    assert code == 0, err


TRAINER = """
import time
from pathlib import Path


def train(trial):
    mark = trial.checkpoint_dir / "epoch"
    done = int(mark.read_text()) if mark.exists() else 0
    with Path("BEGAN").open("a") as began:
        began.write(f"{trial.params['learning_rate']} {done}\\n")
    for epoch in range(done + 1, trial.epochs + 1):
        if not Path("HURRY").exists():
            time.sleep(0.2)
        trial.report(epoch, score=epoch / trial.epochs * (0.5 + trial.params["learning_rate"]))
        if epoch % 10 == 0:
            mark.write_text(str(epoch))
        if trial.should_stop():
            return
"""


def test_where_the_folder_is_not_seen_what_own_code_keeps_travels_while_it_trains(rig: Rig) -> None:
    hurry, began = rig.folder.with_name("hurry"), rig.folder.with_name("began")
    (rig.folder / "train.py").write_text(TRAINER.replace("HURRY", str(hurry)).replace("BEGAN", str(began)))
    (rig.folder / "sweep.yaml").write_text(
        "study: study\ntrainer: train.py:train\nobjective: {metric: score, direction: maximize}\n"
        "space: {learning_rate: {low: 0.001, high: 0.1, log: true}}\n"
        "training: {epochs: 500, early_stopping: null}\n"
        "search: {trials: 2, strategy: random, pruner: none}\nfinalists: null\n"
    )
    with three_nodes(others=0) as cluster:
        with blind_node(cluster.address, to=rig.folder) as node:
            run = rig.start("--address", cluster.address, "--workers", "2", engine="ray")
            marks = [rig.paths.trial(number).own_checkpoint / "epoch" for number in range(2)]
            rig.wait_until(lambda: all(mark.exists() for mark in marks), seconds=PATIENCE_SECONDS)
            lose(node)
            rig.wait_until("was lost with")
        kept = [int(mark.read_text()) for mark in marks]
        hurry.touch()
        with blind_node(cluster.address, to=rig.folder):
            assert run.wait(seconds=PATIENCE_SECONDS) == 0, run.err[-3000:]
    assert all(epoch >= 10 for epoch in kept)
    starts = sorted(int(line.split()[1]) for line in began.read_text().splitlines())
    assert starts == sorted([0, 0, *kept])  # nothing began anew
    rig.audit(complete=True)
    for number in range(2):
        assert len(rig.paths.trial(number).curve.read_text().splitlines()) == 501


@pytest.mark.parametrize("seed", range(max(1, SOAK // 4 // KILLS_PER_STUDY)))
def test_nodes_workers_and_coordinators_are_killed_at_random(cluster: Any, rig: Rig, seed: int) -> None:
    rng = random.Random(3000 + seed)
    rig.sweep(**SHORT)
    left = KILLS_PER_STUDY
    while left:
        if not rig.runs or not rig.last.alive:
            rig.start("--address", cluster.address, engine="ray")
        if not _trains_again(rig):
            break
        time.sleep(rng.uniform(0.0, MOST_SECONDS))
        _kill(cluster, rig, rng.choice(["node", "actor", "coordinator"]), rng)
        left -= 1
    assert rig.last.wait(seconds=PATIENCE_SECONDS) in (0, -signal.SIGKILL), rig.last.err[-3000:]
    last = rig.start("--address", cluster.address, engine="ray")
    assert last.wait(seconds=PATIENCE_SECONDS) == 0, last.err[-3000:]
    rig.audit(complete=True)
    assert set(states(rig)) == {TrialState.COMPLETE}
    code, _, err = rig.command("best", "sweep.yaml", "--verify")
    assert code == 0, err
    assert eventually(lambda: not hosts(cluster))


def _trains_again(rig: Rig) -> bool:
    """Wait until the last run trains something; whether there was anything left."""
    before = sum(record.attempts for record in rig.records())
    assert eventually(
        lambda: not rig.last.alive or sum(r.attempts for r in rig.records()) > before, seconds=PATIENCE_SECONDS
    )
    return rig.last.alive


def _kill(cluster: Any, rig: Rig, what: str, rng: random.Random) -> None:
    match what:
        case "node":
            cluster.remove_node(rng.choice(list(cluster.worker_nodes)), allow_graceful=False)
            add_node(cluster)
        case "actor":
            if found := hosts(cluster):
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(found), signal.SIGKILL)
        case "coordinator":
            with suppress(ProcessLookupError):
                rig.kill("coordinator")
            rig.last.wait()
            rig.audit()
