"""What `throughput.py`, `time_to_target.py` and `on_gpu.py` compare with: the loops that people write by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:  # Ray's environment has no tuner
    from tuner.data.dataset import TrainingData

Configuration = Mapping[str, Any]
Make = Callable[[Configuration, "TrainingData"], nn.Module]


def network(configuration: Configuration, data: TrainingData) -> nn.Sequential:
    """The MLP of a configuration, as in Optuna's PyTorch example; behind convolutions if it names `channels`."""
    layers: list[nn.Module] = []
    channels_in, height, width = (*data.train.inputs.shape[1:], 1, 1)[:3]
    channels = configuration.get("channels", 0)
    for _ in range(configuration.get("conv_layers", 0)):
        layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels_in, channels, height, width = channels, 2 * channels, height // 2, width // 2
    layers.append(nn.Flatten())
    inputs = channels_in * height * width
    for _ in range(configuration["hidden_layers"]):
        units = configuration["hidden_units"]
        norms = [nn.BatchNorm1d(units)] if configuration.get("norm") == "batch" else []
        activation = nn.Tanh() if configuration.get("activation") == "tanh" else nn.ReLU()
        layers += [nn.Linear(inputs, units), *norms, activation, nn.Dropout(configuration["dropout"])]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, data.info.num_outputs))


def optimizer_of(model: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        model.parameters(),
        lr=configuration["learning_rate"],
        momentum=configuration["momentum"],
        weight_decay=configuration["weight_decay"],
    )


def train_typical(
    configuration: Configuration, data: TrainingData, *, epochs: int, report: Any, device: str = "cpu"
) -> float:
    """One trial as in Optuna's PyTorch example: `nn.Sequential` and `DataLoader`s; the last dev accuracy.

    Each batch is moved to the device, as the example does.
    """
    model = network(configuration, data).to(device)
    optimizer = optimizer_of(model, configuration)
    batch_size = configuration["batch_size"]
    train = DataLoader(TensorDataset(data.train.inputs, data.train.targets), batch_size=batch_size, shuffle=True)
    dev = DataLoader(TensorDataset(data.dev.inputs, data.dev.targets), batch_size=batch_size)
    accuracy = 0.0
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in dev:
                x, y = x.to(device), y.to(device)
                correct += int((model(x).argmax(dim=1) == y).sum())
        accuracy = correct / len(data.dev)
        report(accuracy, epoch)
    return accuracy


def train_lean(configuration: Configuration, data: TrainingData, *, epochs: int, make: Make = network) -> float:
    """One trial without a `DataLoader`: tensors on the device of the data, one permutation for each epoch."""
    x_train, y_train = data.train.inputs, data.train.targets
    model = make(configuration, data).to(x_train.device)
    optimizer = optimizer_of(model, configuration)
    accuracy = 0.0
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(x_train), device=x_train.device)
        for batch in order.split(configuration["batch_size"]):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x_train[batch]), y_train[batch]).backward()
            optimizer.step()
        accuracy = _dev_accuracy(model, data)
    return accuracy


@torch.no_grad()
def _dev_accuracy(model: nn.Module, data: TrainingData) -> float:
    model.eval()
    hits: Tensor = model(data.dev.inputs).argmax(dim=1) == data.dev.targets
    return float(hits.float().mean())


class GraphedTrial:
    """The lean loop with its step captured as a CUDA graph, by hand: as fast as one trial alone gets without effort.

    The capture is done before the first epoch. A last batch that is smaller is left out.
    """

    WARM_UP_STEPS = 3

    def __init__(self, configuration: Configuration, data: TrainingData) -> None:
        self.data = data
        self.batch_size = min(configuration["batch_size"], len(data.train))
        device = data.train.inputs.device
        self.model = network(configuration, data).to(device)
        self.optimizer = optimizer_of(self.model, configuration)
        self.x = data.train.inputs[: self.batch_size].clone()
        self.y = data.train.targets[: self.batch_size].clone()
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(self.WARM_UP_STEPS):
                self._step()
        torch.cuda.current_stream(device).wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self._step()

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(self.model(self.x), self.y).backward()
        self.optimizer.step()

    def epoch(self) -> float:
        """Train an epoch; the dev accuracy."""
        self.model.train()
        inputs, targets = self.data.train.inputs, self.data.train.targets
        order = torch.randperm(len(inputs), device=inputs.device)
        for batch in order[: len(order) // self.batch_size * self.batch_size].view(-1, self.batch_size):
            torch.index_select(inputs, 0, batch, out=self.x)
            torch.index_select(targets, 0, batch, out=self.y)
            self.graph.replay()
        return _dev_accuracy(self.model, self.data)


def run_typical(
    configurations: Sequence[Configuration], data: TrainingData, *, epochs: int, device: str = "cpu"
) -> float:
    """All trials through `study.optimize`, one process; wall seconds."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.NopPruner())
    began = time.perf_counter()

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("unused", 0.0, 1.0)
        return train_typical(configurations[trial.number], data, epochs=epochs, report=trial.report, device=device)

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
