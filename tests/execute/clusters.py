"""Ray clusters of several nodes on one machine, for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NODE = {"num_cpus": 2, "object_store_memory": 80_000_000}
"""What a node has, whatever the machine has."""
_HEAD = NODE | {"num_cpus": 0, "include_dashboard": False}


@contextmanager
def three_nodes() -> Iterator[Any]:
    """A head that trains nothing, and two nodes; this process has not joined them."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'tuner[ray]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # else what the machine does beside them comes first
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=_HEAD)
    try:
        for _ in range(2):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()
