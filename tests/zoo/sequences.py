"""Small networks in the styles of those that are published for sequences; a picture is eight steps of eight numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu, scaled_dot_product_attention, silu
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

from tuner.records import DataInfo

Params = Mapping[str, Any]


class CausalBlock(nn.Module):
    """Two dilated convolutions that see nothing of the future, with normalised weights."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.reach = 2 * dilation
        self.one = weight_norm(nn.Conv1d(inputs, outputs, 3, dilation=dilation))
        self.two = weight_norm(nn.Conv1d(outputs, outputs, 3, dilation=dilation))
        self.past = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found = relu(self.one(pad(x, (self.reach, 0))))
        return relu(relu(self.two(pad(found, (self.reach, 0)))) + self.past(x))


class Causal(nn.Module):
    """Blocks of growing dilation; the last step answers."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.blocks = nn.Sequential(CausalBlock(8, 10, 1), CausalBlock(10, 10, 2))
        self.last = nn.Linear(10, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(x.squeeze(1).transpose(1, 2))[..., -1])


class Forecasts(nn.Module):
    """Blocks that each explain a part of what is left of the inputs, by polynomials or waves, and add to the answer."""

    trend: Tensor
    waves: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size = math.prod(data.input_shape)
        time = torch.linspace(0, 1, size)
        self.register_buffer("trend", torch.stack([time**power for power in range(4)]))
        self.register_buffer("waves", torch.stack([torch.cos(math.tau * k * time) for k in range(1, 5)]))
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(size, 16), nn.ReLU()) for _ in range(2))
        self.backward_parts = nn.ModuleList(nn.Linear(16, 4, bias=False) for _ in range(2))
        self.forward_parts = nn.ModuleList(nn.Linear(16, data.num_outputs, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        rest = x.flatten(1)
        found = []
        for number, basis in enumerate((self.trend, self.waves)):
            hidden = self.layers[number](rest)
            rest = rest - self.backward_parts[number](hidden) @ basis
            found.append(self.forward_parts[number](hidden))
        return torch.stack(found).sum(0)


class Patches(nn.Module):
    """Patches of a series that is normalised by itself, through the library's encoder layer."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.places = nn.Parameter(torch.randn(15, 12) * 0.02)
        layer = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.0, batch_first=True, norm_first=True)
        self.encode = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.last = nn.Linear(12 * 15, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        series = x.flatten(1)
        mean, std = series.mean(1, keepdim=True).detach(), series.std(1, keepdim=True).detach()
        patches = ((series - mean) / (std + 1e-5)).unfold(1, 8, 4)
        return self.last(self.encode(self.embed(patches) + self.places).flatten(1))


class PackedSequences(nn.Module):
    """A recurrent network on sequences of their own lengths: a picture ends with its last row that is not blank."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.steps = nn.GRU(8, 10, batch_first=True, bidirectional=True)
        self.last = nn.Linear(20, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1)
        drawn = (rows > rows.amin()).any(dim=-1)
        lengths = (drawn * torch.arange(1, 9)).amax(dim=-1).clamp(min=1)
        packed = pack_padded_sequence(rows, lengths, batch_first=True, enforce_sorted=False)
        _, states = self.steps(packed)
        return self.last(torch.cat([states[0], states[1]], dim=-1))


class SpatialGates(nn.Module):
    """Layers without attention, in which the steps gate one another."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.norm, self.inner = nn.LayerNorm(12), nn.LayerNorm(12)
        self.widen, self.narrow = nn.Linear(12, 24), nn.Linear(12, 12)
        self.mix = nn.Linear(8, 8)
        nn.init.zeros_(self.mix.weight)
        nn.init.ones_(self.mix.bias)
        self.last = nn.Linear(12, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1))
        kept, gate = nn.functional.gelu(self.widen(self.norm(x))).chunk(2, dim=-1)
        gate = self.mix(self.inner(gate).transpose(1, 2)).transpose(1, 2)
        return self.last((x + self.narrow(kept * gate)).mean(1))


class Mixer(nn.Module):
    """Layers over the steps and over the channels in turn."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in range(3))
        self.over_steps = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.over_channels = nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 12))
        self.last = nn.Linear(12, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1))
        x = x + self.over_steps(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        x = x + self.over_channels(self.norms[1](x))
        return self.last(self.norms[2](x).mean(1))


class RootMeanSquare(nn.Module):
    """A norm by length alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class Rotary(nn.Module):
    """A block with turned queries and keys, whose angles are kept by length, and a gated layer."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.norms = nn.ModuleList(RootMeanSquare(16) for _ in range(3))
        self.project, self.merge = nn.Linear(16, 48, bias=False), nn.Linear(16, 16, bias=False)
        self.gate, self.up, self.down = nn.Linear(16, 24), nn.Linear(16, 24), nn.Linear(24, 16)
        self.last = nn.Linear(16, data.num_outputs)
        self.known: dict[int, tuple[Tensor, Tensor]] = {}

    def turned(self, x: Tensor) -> Tensor:
        length, width = x.shape[-2], x.shape[-1]
        if length not in self.known:
            rates = 100.0 ** -(torch.arange(0, width, 2) / width)
            angles = torch.arange(length)[:, None] * rates.repeat_interleave(2)
            self.known[length] = angles.cos(), angles.sin()
        cos, sin = self.known[length]
        other = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
        return x * cos + other * sin

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1))
        parts = self.project(self.norms[0](x)).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        found = scaled_dot_product_attention(self.turned(parts[0]), self.turned(parts[1]), parts[2], is_causal=True)
        x = x + self.merge(found.transpose(1, 2).flatten(2))
        inner = self.norms[1](x)
        x = x + self.down(silu(self.gate(inner)) * self.up(inner))
        return self.last(self.norms[2](x)[:, -1])


class Flow(nn.Module):
    """A differential equation, solved by steps of Runge and Kutta."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(data.input_shape), 12)
        self.field = nn.Sequential(nn.Linear(13, 16), nn.Tanh(), nn.Linear(16, 12))
        self.last = nn.Linear(12, data.num_outputs)

    def slope(self, time: float, x: Tensor) -> Tensor:
        return self.field(torch.cat([x, torch.full_like(x[:, :1], time)], dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        x, step = self.first(x.flatten(1)), 0.25
        for number in range(4):
            time = number * step
            a = self.slope(time, x)
            b = self.slope(time + step / 2, x + step / 2 * a)
            c = self.slope(time + step / 2, x + step / 2 * b)
            d = self.slope(time + step, x + step * c)
            x = x + step / 6 * (a + 2 * b + 2 * c + d)
        return self.last(x)


class Spike(torch.autograd.Function):
    """A step forwards, and the slope of a smooth one backwards."""

    @staticmethod
    def forward(ctx: Any, charge: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(charge)
        return (charge > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (charge,) = ctx.saved_tensors
        return gradient / (1 + 5 * charge.abs()).square()


class Leaky(nn.Module):
    """Neurons that leak, fire, and keep their charge from step to step until they are reset."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.tensor(0.9))
        self.charge: Tensor | None = None

    def reset(self) -> None:
        self.charge = None

    def forward(self, current: Tensor) -> Tensor:
        before = torch.zeros_like(current) if self.charge is None else self.charge
        charge = self.decay.clamp(0, 1) * before + current
        fired = Spike.apply(charge - 0.5)
        self.charge = charge - 0.5 * fired.detach()
        return fired


class Spiking(nn.Module):
    """A row at a time into neurons that fire; the spikes of the last layer are counted."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first, self.hidden = nn.Linear(8, 24), Leaky()
        self.last, self.out = nn.Linear(24, data.num_outputs), Leaky()

    def forward(self, x: Tensor) -> Tensor:
        self.hidden.reset()
        self.out.reset()
        fired = [self.out(self.last(self.hidden(self.first(row)))) for row in x.squeeze(1).unbind(1)]
        assert self.out.charge is not None
        return torch.stack(fired).sum(0) + self.out.charge


class LongMemory(nn.Module):
    """A linear recurrence with complex rates, kept as real numbers."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.log_decay = nn.Parameter(torch.rand(12) * -1.0)
        self.turn = nn.Parameter(torch.rand(12) * 2)
        self.weights = nn.Parameter(torch.randn(12, 2) * 0.5)
        self.last = nn.Linear(12, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        rates = torch.complex(-self.log_decay.exp(), self.turn)
        kernel = (torch.view_as_complex(self.weights) * torch.exp(rates * torch.arange(8)[:, None])).real.flip(0)
        return self.last(nn.functional.gelu((self.embed(x.squeeze(1)) * kernel).sum(1)))
