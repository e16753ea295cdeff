"""How a Ray cluster is joined, or made of this machine where there is none."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tuner.errors import UsageError
from tuner.execute.scarcity import first_line
from tuner.imports import require

_ANSWER_SECONDS = 5.0
"""For a machine of the cluster to take a connection."""
_STARTED_HERE = Path("/tmp/ray/ray_current_cluster")
"""Where `ray start` writes its address, and leaves it when it is killed."""


def join(address: str | None) -> tuple[Any, bool]:
    """The library, joined to the cluster at an address, and whether it had not been before.

    Without an address it is the cluster that runs here, else one of this machine alone.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: there is no cluster at the address.
    """
    handler = signal.getsignal(signal.SIGTERM)
    # A cluster of our own tells nobody of its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # and trains as `local` does, not behind all else
    ray: Any = require("ray", extra="ray")
    if address is not None and address.startswith("ray://"):
        raise UsageError(
            f"{address} is for clients outside of a cluster, and what a run needs of Ray is inside; run tuner on a "
            "machine of the cluster, with the address that `ray start --head` has printed, or none"
        )
    if ray.is_initialized():
        return ray, False
    address = address or os.environ.get("RAY_ADDRESS") or _running_here()
    if address not in (None, "auto", "local") and not answers(address):
        raise UsageError(
            f"nothing answers at {address}, where a Ray cluster was looked for; `ray start --head` says its address, "
            "and without --address and RAY_ADDRESS it is the one that runs here, else one of this machine alone"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster could be joined{f' at {address}' if address else ''} ({first_line(error)}); start one "
            "with `ray start --head`, or leave --address and RAY_ADDRESS out for one on this machine alone. One that "
            "asks for a token wants RAY_AUTH_MODE=token, and the ~/.ray/auth_token of its first machine, here too"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end a run without its checkpoints
    return ray, True


def _running_here() -> str | None:
    """What Ray calls the cluster that was started on this machine last, or a new one if that does not run.

    By its address it would be joined without the token that it may want.
    """
    with suppress(OSError):
        return "auto" if answers(_STARTED_HERE.read_text(encoding="utf-8").strip()) else "local"
    return None


def answers(address: str, *, seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether something listens there: Ray itself asks for minutes."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), seconds):
            return True
    except (OSError, ValueError):
        return False
