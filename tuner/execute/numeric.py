"""The numeric environment of a process that trains; to be set before torch is imported."""

from __future__ import annotations

import os

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def set_numeric_environment(threads: int) -> None:
    """Set, before torch is imported, what makes results independent of alignment and of thread pools."""
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    os.environ.setdefault("MKL_CBWR", "AUTO")  # a product's rounding does not depend on where its matrices lie
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def limit_threads(threads: int) -> None:
    """Let programs have so many threads by default: what the user has set in the environment stays."""
    if not any(name in os.environ for name in _THREADS):
        os.environ["OMP_NUM_THREADS"] = str(threads)


def threads_wanted() -> int | None:
    """How many threads the user has asked for in the environment, if so."""
    first = next((os.environ[name] for name in _THREADS if name in os.environ), "").partition(",")[0].strip()
    return max(1, int(first)) if first.isdigit() else None
