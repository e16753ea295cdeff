"""Training functions such as users bring, and worse: what `fault` names happens at the second epoch."""

from __future__ import annotations

import sys
import time

import torch

from tuner import TrialHandle


def train(trial: TrialHandle) -> None:
    rate, fault = float(trial.params["learning_rate"]), trial.params["fault"]
    mark = trial.checkpoint_dir / "epoch"
    first = int(mark.read_text()) + 1 if mark.exists() else 1
    for epoch in range(first, trial.epochs + 1):
        value = epoch * rate
        if epoch == 2:
            match fault:
                case "raise":
                    raise ValueError("this trial is broken")
                case "exit":
                    sys.exit(3)
                case "nan":
                    value = float("nan")
                case "stops":
                    return
                case "twice":
                    trial.report(epoch, score=0.5)
                case "no metric":
                    trial.report(epoch, loss=1.0)
                case "hang":
                    time.sleep(600)
        if fault == "measures first" and epoch == 1:
            trial.report(0, score=99.0)
            (trial.checkpoint_dir / "told").write_text(f"{trial.to_epoch} of {trial.epochs}")
        while fault == "slow" and first == 1 and epoch == 2 and not trial.should_stop():
            time.sleep(0.01)
        if fault == "saves first":  # and looks at nothing
            mark.write_text(str(epoch))
        trial.report(epoch, score=value, train_score=value, loss=1 / epoch, train_loss=2 / epoch, learning_rate=rate)
        if fault not in ("saves first", "saves never"):
            mark.write_text(str(epoch))
            if trial.should_stop():
                return


def silent(trial: TrialHandle) -> None:
    """Reports nothing."""


def of_two(trial: TrialHandle, more: int) -> None:
    """Wants more than it is given."""


def with_data(trial: TrialHandle) -> None:
    assert trial.data is not None
    trial.report(1, score=len(trial.data.train) + len(trial.data.dev) / 1000)


def on_a_gpu(trial: TrialHandle) -> None:
    """Says on which GPU it makes a tensor if it does not say on which."""
    trial.report(1, score=float(torch.zeros(1, device="cuda").device.index))


nothing = None
