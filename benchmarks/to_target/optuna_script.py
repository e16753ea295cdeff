"""The usual Optuna script: TPE, median pruner, `nn.Sequential` and `DataLoader`s, as in Optuna's PyTorch example."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import optuna
import torch
from baselines import train_typical
from to_target.arrays import load
from to_target.best import Best


def main(job: dict) -> None:  # type: ignore[type-arg]
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    data = load(Path(job["arrays"]))
    best = Best(job["target"])

    def objective(trial: optuna.Trial) -> float:
        configuration = {
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
            "momentum": trial.suggest_float("momentum", 0.5, 0.99),
            "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
            "hidden_units": trial.suggest_int("hidden_units", 16, 256, log=True),
            "hidden_layers": trial.suggest_int("hidden_layers", 1, 4),
            "dropout": trial.suggest_float("dropout", 0.0, 0.6),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        }

        def report(accuracy: float, epoch: int) -> None:
            if best.saw(accuracy, time.time()):
                study.stop()
                raise optuna.TrialPruned
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        return train_typical(configuration, data, epochs=job["epochs"], report=report)

    study = optuna.create_study(
        study_name="to_target",
        storage=f"sqlite:///{job['folder']}/study.db",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=job["seed"]),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, n_trials=job["trials"], timeout=job["budget"])


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main(json.loads(sys.argv[1]))
