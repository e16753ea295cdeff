"""What is not imported on the way to the first trained step: each of these takes a good part of a second.

What the default search needs of SciPy loads while the workers load torch; a search by random draws needs none.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("torch", "scipy.stats", "sklearn", "matplotlib", "pandas", "alembic", "torch._dynamo")

COORDINATOR = """
import tuner.cli.run, tuner.python.run, tuner.python.progress, tuner.track.beside, tuner.execute.local
from tuner.store.engines import create_sqlite_study
from tuner.store.optuna_store import open_store
from tuner.search.registry import maker_of
from tuner.spec.model import SearchSpec
maker_of(SearchSpec(strategy="{strategy}"), root=".")
from pathlib import Path
from tuner.records import Direction
create_sqlite_study(Path("study.db"), "s", direction=Direction.MAXIMIZE, metric="accuracy")
"""
WORKER = """
import tuner.execute.worker
from tuner.data.sources import read_contents
from tuner.spec.model import DataSpec
from pathlib import Path
read_contents("sklearn/digits", DataSpec(source="sklearn/digits"), root=Path("."))
"""


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        (COORDINATOR.format(strategy="priority"), ("scipy.stats",)),
        (COORDINATOR.format(strategy="random"), ()),
        (WORKER, ("torch",)),
    ],
    ids=["coordinator", "coordinator of random draws", "worker"],
)
def test_only_what_trains_is_imported(
    tmp_path_factory: pytest.TempPathFactory, code: str, needed: tuple[str, ...]
) -> None:
    show = f"{code}\nimport sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    folder = tmp_path_factory.mktemp("start")
    found = subprocess.run([sys.executable, "-c", show], cwd=folder, capture_output=True, text=True, check=True)
    assert tuple(found.stdout.split()) == needed
