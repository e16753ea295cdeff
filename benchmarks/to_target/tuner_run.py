"""`tuner run SWEEP` with one more listener, which tells when the target is reached and then ends the run."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tuner.records import TrialRecord
from tuner.spec.reader import read_sweep
from tuner.sweep.run import RunOptions, run_sweep
from tuner.sweep.watcher import Watcher


class AtTarget(Watcher):
    def __init__(self, target: float) -> None:
        self.target = target
        self.reached = False

    def progressed(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            if record.best is not None and record.best.dev_metric >= self.target and not self.reached:
                self.reached = True
                found = {"reached": time.time(), "trial": record.number, "epoch": record.best.epoch}
                print(json.dumps(found), flush=True)
                os.kill(os.getpid(), signal.SIGINT)


def main(job: dict) -> None:  # type: ignore[type-arg]
    file = read_sweep(Path(job["sweep"]))
    run_sweep(file.spec, RunOptions(results=Path(job["folder"]), seconds=job["budget"]), AtTarget(job["target"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
