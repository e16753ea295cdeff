"""The numeric environment of a process that trains; to be set before torch is imported."""

from __future__ import annotations

import os


def set_numeric_environment(threads: int) -> None:
    """Set, before torch is imported, what makes results independent of alignment and of thread pools."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("MKL_CBWR", "AUTO")  # a product's rounding does not depend on where its matrices lie
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
