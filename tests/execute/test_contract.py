"""The executors, held to their contract."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contracts.executor_contract import EPOCHS, ExecutorContract, curve, drain, figures
from tests.execute.sweeps import local_executor, make_job, small_sweep
from tuner.execute.executor import Executor
from tuner.execute.inline import InlineExecutor
from tuner.execute.scripted import ScriptedExecutor
from tuner.paths import StudyPaths
from tuner.records import EpochResult, Params, TrialJob

DIVERGES = 1e6
"""A learning rate with which the loss is soon no number."""


class RealContract(ExecutorContract):
    """What trains for real keeps its checkpoints in files."""

    folder: Path

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "small"

    def job(self, trial: int, *, to_epoch: int = EPOCHS, fails: bool = False) -> TrialJob:
        changes: dict[str, float] = {"learning_rate": DIVERGES} if fails else {}
        return make_job(self.folder, trial, to_epoch=to_epoch, **changes)

    @contextmanager
    def elsewhere(self) -> Iterator[Executor]:
        aside = self.folder.with_name("aside")
        if self.folder.exists():
            self.folder.rename(aside)
        with self.open() as executor:
            yield executor
        shutil.rmtree(self.folder, ignore_errors=True)
        if aside.exists():
            aside.rename(self.folder)


@pytest.mark.slow
class TestInline(RealContract):
    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = InlineExecutor(small_sweep(), StudyPaths(self.folder))
        yield executor
        executor.close()


@pytest.mark.slow
class TestLocal(RealContract):
    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = local_executor(small_sweep(), self.folder)
        yield executor
        executor.close()

    @pytest.mark.slow
    def test_trains_the_same_curves_as_the_inline_executor(self, executor: Executor) -> None:
        jobs = [self.job(trial) for trial in range(4)]
        executor.submit(jobs)
        found = drain(executor, jobs)
        with self.elsewhere():
            inline = InlineExecutor(small_sweep(), StudyPaths(self.folder))
            inline.submit(jobs)
            expected = drain(inline, jobs)
        assert [figures(curve(found, t)) for t in range(4)] == [figures(curve(expected, t)) for t in range(4)]


class TestScripted(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _with_checkpoints(self) -> None:
        self.checkpoints: dict[int, tuple[EpochResult, ...]] = {}

    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = ScriptedExecutor(_accuracy, epochs=EPOCHS, width=3)
        executor.checkpoints = self.checkpoints
        yield executor
        executor.close()

    @contextmanager
    def elsewhere(self) -> Iterator[Executor]:
        yield ScriptedExecutor(_accuracy, epochs=EPOCHS)

    def job(self, trial: int, *, to_epoch: int = EPOCHS, fails: bool = False) -> TrialJob:
        params = {"learning_rate": DIVERGES if fails else 0.01 * (trial + 1)}
        return TrialJob(trial=trial, params=params, seed=trial, to_epoch=to_epoch, folder="")


def _accuracy(params: Params, epoch: int) -> float:
    rate = float(params["learning_rate"])
    return float("nan") if rate >= DIVERGES else rate * epoch
