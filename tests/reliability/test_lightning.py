"""A LightningModule's trials that are killed in the middle go on, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.rig import Rig

MODULES = Path(__file__).parents[1] / "train" / "lightning_modules.py"


@pytest.mark.deep
def test_a_killed_run_goes_on_to_the_results_of_an_unbroken_one(quick_rigs: Callable[[str], Rig]) -> None:
    parts: dict[str, Any] = {
        "model": {"kind": f"{MODULES}:factory", "form": "steps"},
        "space": {"learning_rate": {"low": 1e-3, "high": 0.1}, "width": {"low": 8, "high": 32, "tier": 2}},
        "training": {"epochs": 4, "batch_size": 128},
        "search": {"trials": 6, "strategy": "random", "pruner": "asha"},
    }
    unbroken, broken = quick_rigs("unbroken"), quick_rigs("broken")
    for rig in (unbroken, broken):
        rig.sweep(**parts)
    unbroken.resume()
    for fault in ("checkpoint_written:3", "checkpoint_replaced:2", "weights_written:1"):
        assert broken.start(fault=fault).wait() == -9
        broken.audit()
    broken.resume()
    broken.audit(like=unbroken)
