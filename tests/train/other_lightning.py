"""A LightningModule of the package's older name, which another Trainer trains."""

from __future__ import annotations

from typing import Any

import pytorch_lightning
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Linear(pytorch_lightning.LightningModule):
    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
