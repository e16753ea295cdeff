"""Processes of their own on the pretended machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pretending(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a process that has the pretended GPUs, as have those that it starts."""
    paths = [str(ROOT / "tests" / "pretend_cuda" / "site"), str(ROOT), environment.get("PYTHONPATH", "")]
    return {**environment, "PRETEND_CUDA": "1", "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
