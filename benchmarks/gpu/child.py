"""One phase, in a process of its own, which writes its figures to a file line by line.

python -m gpu.child PHASE FILE SECONDS [--rehearse]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

from tuner.execute.numeric import set_numeric_environment

set_numeric_environment(1)

PHASES: Mapping[str, str] = {
    "facts": "gpu.facts",
    "truth": "gpu.truth",
    "costs": "gpu.costs",
    "throughput": "gpu.throughput",
    "widths": "gpu.widths",
    "sweeps": "gpu.sweeps",
    "out_of_memory": "gpu.out_of_memory",
}
"""The module that holds the function of each phase's name."""


def main(phase: str, file: str, seconds: str, *options: str) -> None:
    import torch

    from gpu.setting import DEVICE, Figures, Setting
    from tuner.train.device.gpus import make_current

    torch.set_num_threads(1)
    make_current(torch.device(DEVICE))
    setting = Setting(rehearsal="--rehearse" in options, seconds=float(seconds))
    run: Callable[[Setting], Iterator[Figures]] = getattr(import_module(PHASES[phase]), phase)
    with Path(file).open("a") as lines:
        for figures in run(setting):
            lines.write(json.dumps(figures) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
