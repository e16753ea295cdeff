"""LightningModules that cannot be trained, or that read little of what they are given."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Scalar:
    """What no checkpoint may hold."""


class Linear(pl.LightningModule):
    """A linear network that can be trained."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Manual(Linear):
    """Steps two optimisers by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in self.layers[1:]]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        for optimizer in self.optimizers():
            optimizer.step()


class StepByItself(Linear):
    training_step = pl.LightningModule.training_step


class NoOptimizer(Linear):
    def configure_optimizers(self) -> Any:
        return None


class TwoOptimizers(Linear):
    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in self.layers[1:]]


class FiveOutputs(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :5]


class NoForward(Linear):
    forward = pl.LightningModule.forward


class NoScalar(Linear):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self(batch[0])


class RaisesInValidation(Linear):
    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        raise KeyError("no such metric\nand a second line")


class KeepsAnObject(Linear):
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["kept"] = Scalar()


class NeedsMore(Linear):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__(width)


class Learnless(Linear):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return (super().training_step(batch, batch_idx) * 0.0).sum()


def hands_on(params: dict[str, Any], data: object) -> nn.Module:
    """Reads what it is given only when it makes its optimiser."""

    class Late(Linear):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=params["learning_rate"])

    return Late()
