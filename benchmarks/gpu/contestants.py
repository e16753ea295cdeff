"""Who trains in the phases on throughput: a cohort of tuner's, and the loops that people write by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from baselines import GraphedTrial, Make, network, run_typical, train_lean

from gpu.setting import DEVICE, configurations, jobs, wall_ms
from tuner.data.dataset import TrainingData
from tuner.records import EpochsFinished, TrialFailed
from tuner.train.loop.cohort import Cohort
from tuner.train.task import Task


class Trained:
    """A cohort that goes on, an epoch of all trials at a time: steps, plan, evaluation and what else an epoch needs."""

    def __init__(self, task: Task, width: int) -> None:
        self.width = width
        torch.cuda.reset_peak_memory_stats(DEVICE)
        self._events = Cohort(task, jobs(width, to_epoch=task.spec.training.epochs), worker="gpu").epochs()
        self.first_epoch_ms = wall_ms(self._advance)
        """With the program, its captures and all that is done once."""

    def _advance(self) -> None:
        finished = 0
        while not finished:
            events = next(self._events)
            failed = [event for event in events if isinstance(event, TrialFailed)]
            assert not failed, f"a trial ended: {failed[0].message}"
            finished = sum(isinstance(event, EpochsFinished) for event in events)
        assert finished == self.width

    def epoch(self) -> float:
        """Milliseconds of an epoch, for one of the trials."""
        return wall_ms(self._advance) / self.width

    @property
    def peak_gib(self) -> float:
        return round(torch.cuda.max_memory_allocated(DEVICE) / 2**30, 3)


def by_hand(
    data: TrainingData, shape: Mapping[str, Any], *, count: int, epochs: int, make: Make = network
) -> dict[str, Callable[[], float]]:
    """The baselines by name: each trains some trials, and says the milliseconds for one epoch of one of them.

    Args:
        data: On the CPU.
        shape: `hidden_layers`, `hidden_units` and `batch_size` of all trials.
        count: Trials of a run, of the lean loop; the typical loop trains one.
        epochs: Of each of them; the typical loop does one.
        make: The network of the lean loop.
    """
    trials = [{**trial, **shape} for trial in configurations(count)]
    there = TrainingData(data.train.to(DEVICE), data.dev.to(DEVICE), data.info)  # type: ignore[arg-type]
    graphed: list[GraphedTrial] = []

    def lean() -> float:
        return wall_ms(lambda: [train_lean(t, there, epochs=epochs, make=make) for t in trials]) / count / epochs

    def alone() -> float:
        if not graphed:
            graphed.append(GraphedTrial(trials[0], there))
            graphed[0].epoch()
        return wall_ms(lambda: [graphed[0].epoch() for _ in range(count * epochs)]) / count / epochs

    def typical() -> float:
        return 1e3 * run_typical(trials[:1], data, epochs=1, device=DEVICE)

    return {"lean": lean, "graphed": alone, "typical": typical}
