"""Phase 7: many trials on a GPU that has room for a few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch

from gpu.setting import DEVICE, Figures, Setting, jobs, made_up, task_of
from tuner.execute.runner import CohortRunner
from tuner.records import TrialFailed, TrialFinished


def out_of_memory(setting: Setting) -> Iterator[Figures]:
    side, count = setting.pick(32, 8), setting.pick(64, 8)
    data = made_up(setting.pick(512, 64), setting.pick(256, 20), (3, side, side))
    settings = {"channels": setting.pick(64, 4), "conv_layers": setting.pick(3, 1)}
    task = task_of(data, model="cnn", settings=settings, batch_size=setting.pick(128, 32), epochs=1)
    fraction = setting.pick(0.1, 2e-5)
    torch.cuda.set_per_process_memory_fraction(fraction, torch.device(DEVICE))
    refused: list[int] = []
    runner = CohortRunner(task, worker="gpu", too_wide=refused.append)
    ended: Counter[str] = Counter()
    for events in runner.train(jobs(count, to_epoch=1)):
        ended.update(type(e).__name__ for e in events if isinstance(e, TrialFinished | TrialFailed))
    yield {
        "what": f"{count} trials of a cnn with {settings['channels']} channels",
        "memory_fraction": fraction,
        "refused_widths": refused,
        "ended": ended,
        "holds": ended["TrialFinished"] == count,
        "peak_gib": round(torch.cuda.max_memory_allocated(DEVICE) / 2**30, 3),
    }
