"""Networks for sequences: convolutional, recurrent, and a transformer encoder.

Each takes examples of shape (length, channels), and images as the sequence of their rows. They are modules, not
descriptions: `torch.func` stacks those that it can, as it does users' modules. The rates of their
dropout layers are set where they are built.

Shapes: B examples of a batch, L steps of a sequence, C channels, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tuner.errors import DataError
from tuner.models.layers.activations import ACTIVATIONS
from tuner.records import ParamValue


def conv1d(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """Blocks of [convolution over time, norm, activation, max pool], then the mean over time.

    Args:
        settings: `channels` of the first block (doubled by each further one), `conv_layers`, `kernel_size` (odd),
            `activation`, `norm`.
        input_shape: (length, channels), or that of an image.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no sequences.
    """
    length, channels_in = sequence_shape(input_shape, model="conv1d")
    kernel = int(settings["kernel_size"])
    layers: list[nn.Module] = [Rows(channels_first=True)]
    for block in range(int(settings["conv_layers"])):
        channels = int(settings["channels"]) * 2**block
        layers.append(nn.Conv1d(channels_in, channels, kernel, padding=kernel // 2))
        match settings["norm"]:
            case "batch":
                layers.append(nn.BatchNorm1d(channels))
            case "layer":
                layers.append(nn.GroupNorm(1, channels))
        layers.append(ACTIVATIONS[str(settings["activation"])].module())
        if length >= 2:
            layers.append(nn.MaxPool1d(2))
            length //= 2
        channels_in = channels
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(), nn.Linear(channels_in, num_outputs)
    )  # fmt: skip


def recurrent(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """GRU (arXiv 1406.1078) or LSTM layers, whose last state goes to a dense output.

    Args:
        settings: `cell` (`gru` or `lstm`), `hidden_units`, `hidden_layers`, `bidirectional`.
        input_shape: (length, channels), or that of an image.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no sequences, or there are no layers.
    """
    _, channels = sequence_shape(input_shape, model="recurrent")
    if int(settings["hidden_layers"]) < 1:
        raise DataError("model recurrent needs hidden_layers of at least 1, got 0; model linear has none")
    return Recurrent(
        nn.GRU if settings["cell"] == "gru" else nn.LSTM,
        channels=channels,
        width=int(settings["hidden_units"]),
        num_layers=int(settings["hidden_layers"]),
        bidirectional=bool(settings["bidirectional"]),
        num_outputs=num_outputs,
    )


def transformer(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    """A transformer encoder (arXiv 1706.03762) with norms before each part (arXiv 2002.04745), then the mean over time.

    Args:
        settings: `heads` and `units_per_head`, whose product is the width; `hidden_layers`, `activation`.
        input_shape: (length, channels), or that of an image.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no sequences.
    """
    length, channels = sequence_shape(input_shape, model="transformer")
    heads = int(settings["heads"])
    width = heads * int(settings["units_per_head"])
    activation = str(settings["activation"])
    blocks = [_EncoderBlock(width, heads=heads, activation=activation) for _ in range(int(settings["hidden_layers"]))]
    return nn.Sequential(
        Rows(), nn.Linear(channels, width), Positions(length, width), *blocks,
        nn.LayerNorm(width), _MeanOverTime(), nn.Dropout(), nn.Linear(width, num_outputs),
    )  # fmt: skip


def sequence_shape(input_shape: tuple[int, ...], *, model: str) -> tuple[int, int]:
    """(length, channels) of examples; an image's rows, of all its channels side by side, are its steps."""
    match input_shape:
        case (length, channels):
            return length, channels
        case (channels, height, width):
            return height, channels * width
    raise DataError(
        f"model {model} needs sequences of shape (length, channels), got examples of shape {input_shape}; "
        "use model mlp, or give arrays of shape (examples, length, channels)"
    )


class Rows(nn.Module):
    """Sequences as they are, images as their rows: (B, L, C), or (B, C, L) for convolutions."""

    def __init__(self, *, channels_first: bool = False) -> None:
        super().__init__()
        self.channels_first = channels_first

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            x = x.transpose(1, 2).flatten(2)
        return x.transpose(1, 2) if self.channels_first else x


class Recurrent(nn.Module):
    """Recurrent layers with dropout behind each; the last steps of both directions go to the output."""

    def __init__(
        self,
        cell: type[nn.GRU | nn.LSTM],
        *,
        channels: int,
        width: int,
        num_layers: int,
        bidirectional: bool,
        num_outputs: int,
    ) -> None:
        super().__init__()
        self.rows = Rows()
        ways = 2 if bidirectional else 1
        inputs = (channels, *(width * ways for _ in range(num_layers - 1)))
        self.layers = nn.ModuleList(cell(i, width, batch_first=True, bidirectional=bidirectional) for i in inputs)
        self.dropouts = nn.ModuleList(nn.Dropout() for _ in inputs)
        self.output = nn.Linear(width * ways, num_outputs)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        x = self.rows(x)
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            states, _ = layer(x)
            x = dropout(states)
        forward, backward = x[:, -1, : self.width], x[:, 0, self.width :]
        outputs: Tensor = self.output(torch.cat([forward, backward], dim=1))
        return outputs


class Positions(nn.Module):
    """Adds a learnt vector to each step."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(length, width) * 0.02)

    def forward(self, x_BLW: Tensor) -> Tensor:
        return x_BLW + self.weight


class _MeanOverTime(nn.Module):
    """(B, L, W) to (B, W)."""

    def forward(self, x_BLW: Tensor) -> Tensor:
        return x_BLW.mean(1)


class _EncoderBlock(nn.Module):
    """Self-attention and a feed-forward part of four times the width, each behind a norm and beside a skip."""

    def __init__(self, width: int, *, heads: int, activation: str) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = ACTIVATIONS[activation].module()
        self.attention_dropout, self.dropout = nn.Dropout(), nn.Dropout()

    def forward(self, x_BLW: Tensor) -> Tensor:
        x = x_BLW + self.attention_dropout(self.attended(self._attend(self.attention_norm(x_BLW))))
        found: Tensor = x + self.dropout(self.narrow(self.activation(self.widen(self.norm(x)))))
        return found

    def _attend(self, x_BLW: Tensor) -> Tensor:
        batch, length, width = x_BLW.shape
        per_head = width // self.heads
        parts = self.queries_keys_values(x_BLW).view(batch, length, 3, self.heads, per_head)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, L, units per head)
        weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) * per_head**-0.5, dim=-1)
        return torch.matmul(weights, v).transpose(1, 2).reshape(batch, length, width)
