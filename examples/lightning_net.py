"""A LightningModule as it is trained anywhere; tuner hands it hyperparameters by name. See sweeps/lightning.yaml."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class DigitsNet(pl.LightningModule):
    """One hidden layer for small images, trained by AdamW under a one-cycle schedule."""

    def __init__(
        self, *, input_shape: tuple[int, ...], num_outputs: int, learning_rate: float, weight_decay: float, units: int
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(torch.Size(input_shape).numel(), units),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(units, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape (batch, num_outputs)."""
        logits: Tensor = self.layers(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of a batch of inputs and targets."""
        inputs, targets = batch
        loss = cross_entropy(self(inputs), targets)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW, with a rate that rises and falls over all steps of the training."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.hparams["learning_rate"], weight_decay=self.hparams["weight_decay"]
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.hparams["learning_rate"], total_steps=steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
