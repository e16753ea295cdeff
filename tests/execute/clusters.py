"""Ray clusters of several nodes on one machine, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.execute.processes import descendants

NODE = {"num_cpus": 2, "object_store_memory": 80_000_000}
"""What a node has, whatever the machine has."""
_ATTEMPTS = 5
_HEAD = NODE | {"num_cpus": 0, "include_dashboard": False}


@contextmanager
def blind_node(address: str, *, to: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A node of the cluster for which a folder is empty, as on a machine without a shared file system."""
    join = f"{sys.executable} -m ray.scripts.scripts start --address={address} --num-cpus=2 --block"
    shell = f'mount -t tmpfs tmpfs "{to}" && exec {join} --object-store-memory={NODE["object_store_memory"]}'
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("only root can take a folder from a process's sight")
    node = subprocess.Popen(["unshare", "--mount", "sh", "-c", shell], cwd="/", stdout=subprocess.DEVNULL)
    try:
        yield node
    finally:
        lose(node)


def lose(node: subprocess.Popen[bytes]) -> None:
    """End a node as a power cut does."""
    for pid in (node.pid, *descendants(node.pid)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


@contextmanager
def three_nodes(*, others: int = 2) -> Iterator[Any]:
    """A head that trains nothing, and two nodes, or so many; this process has not joined them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tuner[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # else what the machine does beside them comes first
    from ray.cluster_utils import Cluster

    cluster: Any = _started(partial(Cluster, initialize_head=True, head_node_args=_HEAD))
    try:
        for _ in range(others):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """Another node of a cluster on this machine."""
    return _started(partial(cluster.add_node, **NODE))


def _started(start: Callable[[], Any]) -> Any:
    """Start a node once more where Ray gives up: its processes have 30 s to come up, a busy machine takes longer."""
    for _ in range(_ATTEMPTS):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()
