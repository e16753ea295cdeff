from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.simulate import SimulatedStudy, simulate
from tuner.paths import StudyPaths


@pytest.fixture(autouse=True)
def plots_are_what_is_tested(drawings: None) -> None: ...


@pytest.fixture(scope="session")
def mixed() -> SimulatedStudy:
    """Forty trials, a quarter pruned, a tenth failed, three finalists on three seeds."""
    return simulate(trials=40, seed=1, pruned=0.25, failed=0.1, finalists=3)


@pytest.fixture
def mixed_paths(mixed: SimulatedStudy, tmp_path: Path) -> StudyPaths:
    paths = StudyPaths(tmp_path / "simulated")
    mixed.write_files(paths)
    return paths
