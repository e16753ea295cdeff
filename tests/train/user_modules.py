"""Modules such as users bring them, some with habits that a cohort must not trip over."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn

from tuner.data.dataset import DataInfo


def two_layers(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(prod(data.input_shape), 24),
        nn.Tanh(),
        nn.Dropout(float(params["dropout"])),  # type: ignore[arg-type]
        nn.Linear(24, data.num_outputs),
    )


def normed(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


class Chooser(nn.Module):
    """Looks at its values: `torch.func` cannot stack it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1))
        return y * 2.0 if y.mean().item() > 0 else y


def chooser(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Chooser()


class Scaled(nn.Module):
    """Keeps a hyperparameter as a plain number, of which `torch.func` sees nothing."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) * self.scale


class Sized(nn.Module):
    """Draws random numbers where it is wide."""

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width))
        self.layers.extend([nn.Linear(width, width) for _ in range(num_layers)])
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.layers(x).relu()
        outputs: Tensor = self.head(hidden + torch.rand_like(hidden) if self.width > 40 else hidden)
        return outputs


def sized(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Sized(int(params["width"]), int(params["num_layers"]))  # type: ignore[call-overload]


def scaled(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Scaled(1.0 + 10.0 * float(params["dropout"]))  # type: ignore[arg-type]


class Noisy(nn.Module):
    """Draws random numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.layer(x + 0.1 * torch.randn_like(x) if self.training else x)


def noisy(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Noisy()


def identity_without_dropout(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    rate = float(params["dropout"])  # type: ignore[arg-type]
    return nn.Sequential(nn.Flatten(), nn.Dropout(rate) if rate > 0 else nn.Identity(), nn.Linear(64, 10))


def frozen(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    module[1].requires_grad_(False)
    return module


class Tied(nn.Module):
    """One parameter under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(64, 64)
        self.again = nn.Linear(64, 64)
        self.again.weight = self.narrow.weight
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.again(torch.tanh(self.narrow(x.flatten(1))))))


def tied(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Tied()


class Residual(nn.Module):
    """Layer norm, and one dropout layer that is called twice."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.first, self.second, self.out = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = x + self.dropout(torch.relu(self.first(self.norm(x))))
        x = x + self.dropout(torch.nn.functional.gelu(self.second(self.norm(x))))
        return self.out(x)


def residual(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Residual(float(params["dropout"]))  # type: ignore[arg-type]


def transformer(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=float(params["dropout"]), batch_first=True)  # type: ignore[arg-type]
    return nn.Sequential(nn.Flatten(1, 2), layer, nn.Flatten(), nn.Linear(64, data.num_outputs))


def local_class(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(64, data.num_outputs)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1))

    return Net()


class Tempered(nn.Module):
    """Has a parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.temperature = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) * self.temperature


def tempered(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Tempered()


class Flat(nn.Module):
    """One prediction per example, without an axis for it."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).squeeze(-1)


def flat(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Flat(prod(data.input_shape))


class Counting(nn.Module):
    """Does something else from its second call on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y: Tensor = self.layer(x.flatten(1))
        return y if self.calls == 1 else 2 * y


def counting(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Counting()


class Warming(nn.Module):
    """Counts its steps, where it is asked to."""

    def __init__(self, *, warm: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.warm = warm
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.flatten(1))
        if not self.warm:
            return y
        self.steps += self.training
        return y * min(1.0, self.steps / 5)


def warming(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Warming(warm=bool(params.get("warm", False)))


class Reset(nn.Module):
    """Does something else in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.scale = 1.0

    def train(self, mode: bool = True) -> Reset:
        self.scale *= 0.9 if mode else 1.0
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) * self.scale


def reset(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Reset()


PASSES = 0


class CountingOutside(nn.Module):
    """Counts in a global."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        global PASSES
        PASSES += 1
        return self.layer(x.flatten(1))


def counting_outside(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return CountingOutside()


class CountingOnItsClass(nn.Module):
    """Counts for all of its kind."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        type(self).passes += 1
        return self.layer(x.flatten(1))


def counting_on_its_class(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return CountingOnItsClass()


class Switched(nn.Module):
    """Asks another module of the program what to do, where nobody would look for it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        doubled = getattr(sys.modules[__name__], "SWITCH", [False])[0]
        return self.layer(x.flatten(1)) * (2.0 if doubled else 1.0)


SWITCH = [False]


def switched(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return Switched()


class KeepingAFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.squash = squash

    def forward(self, x: Tensor) -> Tensor:
        return self.squash(self.layer(x.flatten(1)))


def squash(x: Tensor) -> Tensor:
    return x / 2.0


def keeping_a_function(params: Mapping[str, object], data: DataInfo) -> nn.Module:
    return KeepingAFunction()
