"""What `throughput.py` and `time_to_target.py` compare with: the loops that people write by hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:  # Ray's environment has no tuner
    from tuner.data.dataset import TrainingData

Configuration = Mapping[str, Any]


def network(configuration: Configuration, data: TrainingData) -> nn.Sequential:
    """The MLP of a configuration, as in Optuna's PyTorch example."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = data.train.inputs[0].numel()
    for _ in range(configuration["hidden_layers"]):
        width = configuration["hidden_units"]
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(configuration["dropout"])]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, data.info.num_outputs))


def optimizer_of(model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=configuration["learning_rate"],
        momentum=configuration["momentum"],
        weight_decay=configuration["weight_decay"],
    )


def train_typical(configuration: Configuration, data: TrainingData, *, epochs: int, report: Any) -> float:
    """One trial as in Optuna's PyTorch example: `nn.Sequential` and `DataLoader`s; the last dev accuracy."""
    model = network(configuration, data)
    optimizer = optimizer_of(model, configuration)
    batch_size = configuration["batch_size"]
    train = DataLoader(TensorDataset(data.train.inputs, data.train.targets), batch_size=batch_size, shuffle=True)
    dev = DataLoader(TensorDataset(data.dev.inputs, data.dev.targets), batch_size=batch_size)
    accuracy = 0.0
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in dev:
                correct += int((model(x).argmax(dim=1) == y).sum())
        accuracy = correct / len(data.dev)
        report(accuracy, epoch)
    return accuracy


def train_lean(configuration: Configuration, data: TrainingData, *, epochs: int) -> float:
    """One trial without a `DataLoader`: resident tensors, one permutation for each epoch."""
    model = network(configuration, data)
    optimizer = optimizer_of(model, configuration)
    batch_size = configuration["batch_size"]
    x_train, y_train = data.train.inputs, data.train.targets
    accuracy = 0.0
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(x_train), device=x_train.device)
        for batch in order.split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x_train[batch]), y_train[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits: Tensor = model(data.dev.inputs).argmax(dim=1) == data.dev.targets
            accuracy = float(hits.float().mean())
    return accuracy


def run_typical(configurations: Sequence[Configuration], data: TrainingData, *, epochs: int) -> float:
    """All trials through `study.optimize`, one process; wall seconds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    began = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("unused", 0.0, 1.0)
        return train_typical(configurations[trial.number], data, epochs=epochs, report=trial.report)

    study.optimize(objective, n_trials=len(configurations), n_jobs=1)
    return time.perf_counter() - began


_data: TrainingData | None = None


def prepare_lean(data: TrainingData) -> None:
    """Set a lean worker process up: one thread, data resident, lazily imported parts of torch loaded."""
    global _data
    torch.set_num_threads(1)
    _data = data
    warm = {"hidden_layers": 1, "hidden_units": 8, "dropout": 0.1, "learning_rate": 0.01, "momentum": 0.9}
    train_lean({**warm, "weight_decay": 0.0, "batch_size": 64}, data, epochs=1)


def lean_task(task: tuple[Configuration, int]) -> float:
    assert _data is not None
    return train_lean(task[0], _data, epochs=task[1])
