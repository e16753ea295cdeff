"""LightningModules such as users bring them, for examples of digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tuner.records import DataInfo

Params = Mapping[str, Any]


class Net(pl.LightningModule):
    """A small network with dropout, and each documented form of `configure_optimizers` by its name."""

    def __init__(
        self, *, learning_rate: float = 0.05, width: int = 16, num_outputs: int = 10, form: str = "one"
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(width, num_outputs),
        )  # fmt: skip
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        loss = cross_entropy(self(inputs), targets)
        assert inputs.device == self.device
        self.seen.append((self.trainer.current_epoch, self.trainer.global_step))
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        inputs, targets = batch
        self.log("val_loss", cross_entropy(self(inputs), targets), prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.learning_rate, momentum=0.9)
        lr = torch.optim.lr_scheduler
        match self.hparams.form:
            case "one":
                return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
            case "list":
                return [optimizer]
            case "two lists":
                return [optimizer], [lr.StepLR(optimizer, 1, gamma=0.5)]
            case "dict":
                return {"optimizer": optimizer, "lr_scheduler": lr.ExponentialLR(optimizer, 0.5)}
            case "steps":
                steps = self.trainer.estimated_stepping_batches
                scheduler = lr.OneCycleLR(optimizer, self.hparams.learning_rate, total_steps=int(steps))
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
            case "every two":
                scheduler = lr.StepLR(optimizer, 1, gamma=0.5)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "frequency": 2}}
            case "plateau":
                scheduler = lr.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.5)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
            case "none":
                return None
            case other:
                raise ValueError(other)


def factory(params: Params, data: DataInfo) -> nn.Module:
    return Net(
        learning_rate=params["learning_rate"], width=int(params.get("width", 16)), num_outputs=data.num_outputs,
        form=str(params.get("form", "one")),
    )  # fmt: skip


class Impatient(Net):
    """Asks for an end after the first epoch without an improvement by a hundred."""

    def configure_callbacks(self) -> list[pl.Callback]:
        return [pl.callbacks.EarlyStopping("val_loss", patience=0, min_delta=100.0)]
