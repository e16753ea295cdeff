"""`tuner run SWEEP` with one more listener, which tells when the target is reached and then ends the run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from to_target.best import Best

from tuner.records import EpochResult, TrialRecord
from tuner.spec.reader import read_sweep
from tuner.sweep.options import RunOptions
from tuner.sweep.run import run_sweep
from tuner.sweep.watcher import Watcher


class AtTarget(Watcher):
    def __init__(self, target: float) -> None:
        self.best = Best(target)

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        if record.best is None or self.best.reached:
            return
        if self.best.saw(record.best.dev_metric, time.time()):
            os.kill(os.getpid(), signal.SIGINT)


def main(job: dict) -> None:  # type: ignore[type-arg]
    file = read_sweep(Path(job["sweep"]))
    run_sweep(
        file.spec, RunOptions(results=Path(job["folder"]), seconds=job["budget"]), AtTarget(job["target"])
    ).finish()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
