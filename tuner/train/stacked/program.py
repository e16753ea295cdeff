"""The stacked program: K trials of one network description, one optimiser and one batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tuner.data.dataset import Split
from tuner.models.keyed import dropout_keys, dropout_threshold
from tuner.models.layers import (
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Network,
    rounded_width,
    transposed_for_module,
)
from tuner.models.module import initial_values
from tuner.train.optimizers import ROW_OPTIMIZERS
from tuner.train.program import EpochPlan, Member, RowState
from tuner.train.rows import NO_CLASS, RowLayout
from tuner.train.settings import Settings
from tuner.train.stacked.layers import (
    DropoutInputs,
    Gradients,
    Weights,
    emit_activation,
    emit_batch_norm,
    emit_convolution,
    emit_dense,
    emit_dropout,
    emit_max_pool,
    emit_widening,
)
from tuner.train.stacked.loss import emit_loss_gradient
from tuner.train.stacked.tape import Tape

EVALUATION_ROWS = 256
"""Examples evaluated at once. Fixed, so that a trial's figures do not depend on the width of its cohort."""


class StackedProgram:
    """See `train.program.Program`. State lives in tensors of shape (K, ...); steps are replayed tapes."""

    path = "stacked"
    state_format = "stacked"

    def __init__(
        self,
        members: Sequence[Member],
        train: Split,
        *,
        loss: str,
        num_outputs: int,
        device: torch.device,
        initialise: bool = True,
    ) -> None:
        """Stack trials.

        Args:
            members: The trials; their networks have one shape when rounded.
            train: Training examples, on the device.
            loss: `cross_entropy` or `mse`.
            num_outputs: Classes or regression targets.
            device: Where to train.
            initialise: Draw initial weights; otherwise rows are zero until `load_state`.
        """
        self.members = tuple(members)
        self._networks = [m.network for m in members if m.network is not None]
        self.network = self._networks[0].rounded()
        assert all(network.rounded() == self.network for network in self._networks)
        self.train = train
        self.loss = loss
        self.num_outputs = num_outputs
        self.device = device
        self.layout = RowLayout(self.network.parameters())
        settings = [m.settings for m in members]
        self.batch_size = settings[0].batch_size
        self.optimizer = ROW_OPTIMIZERS[settings[0].optimizer](settings, num_decayed=self.layout.num_decayed)
        num_trials = len(members)
        self.p_KP = torch.zeros(num_trials, self.layout.length, device=device)
        self.g_KP = torch.zeros_like(self.p_KP)
        self.best_KP = torch.zeros_like(self.p_KP)
        self.moments = {name: torch.zeros_like(self.p_KP) for name in self.optimizer.moments}
        self.statistics = self._running_statistics(num_trials)
        self.best_statistics = {name: t.clone() for name, t in self.statistics.items()}
        if initialise:
            added = NO_CLASS if loss == "cross_entropy" else 0.0
            for row, (m, network) in enumerate(zip(members, self._networks, strict=True)):
                values = initial_values(network, seed=m.seed, init=m.settings.init)
                self.p_KP[row] = self.layout.pack(values, added_outputs=added)
        self._seeds = [m.seed for m in members]
        self._dropout = self._dropout_inputs(settings)
        self.inputs = _rounded_inputs(train.inputs, self.network)
        self.targets = _targets_table(train.targets, num_outputs, loss)
        self._steps: dict[int, _Step] = {}
        self._evaluations: dict[int, tuple[Tape, Tensor, Tensor]] = {}
        self._outputs: dict[int, Tensor] = {}
        self._scalar_names: tuple[str, ...] = ()
        self._scalar_table = torch.empty(0)
        self._key_table = torch.empty(0)
        self._plan: EpochPlan | None = None

    # Training

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._prepare(plan)
        num_examples = plan.order_KN.shape[1]
        for number in range(first, last):
            start = number * self.batch_size
            step = self._step(min(self.batch_size, num_examples - start))
            step.load(plan.order_KN[:, start : start + step.batch_size], self._scalar_table[number])
            if self._dropout:
                self._dropout_keys.copy_(self._key_table[number])
            step.run()

    def _prepare(self, plan: EpochPlan) -> None:
        """Bring an epoch's scalars and dropout keys to the device."""
        table = self.optimizer.scalars(plan.learning_rate_SK, plan.step_SK)
        self._scalar_names = tuple(table)
        stacked = np.stack(list(table.values()), axis=1)  # (steps, scalars, K)
        self._scalar_table = torch.from_numpy(stacked.astype(np.float32)).to(self.device)
        if self._dropout:
            found = dropout_keys(self._seeds, plan.step_SK, self.network.num_dropouts)
            self._key_table = torch.from_numpy(found).to(self.device)
        self._plan = plan

    def _step(self, batch_size: int) -> _Step:
        if batch_size not in self._steps:
            self._steps[batch_size] = _Step(self, batch_size, self._scalar_names)
        return self._steps[batch_size]

    def _dropout_inputs(self, settings: Sequence[Settings]) -> list[DropoutInputs]:
        """One for each dropout layer; none at all when no trial drops anything."""
        if not any(s.dropout for s in settings):
            return []
        threshold = torch.tensor([dropout_threshold(s.dropout) for s in settings], dtype=torch.int32).to(self.device)
        scale = torch.tensor([1.0 / (1.0 - s.dropout) for s in settings]).to(self.device)
        shape = (self.network.num_dropouts, len(settings))
        self._dropout_keys = torch.ones(shape, dtype=torch.int32, device=self.device)
        return [DropoutInputs(key_K, threshold, scale) for key_K in self._dropout_keys]

    def _running_statistics(self, num_trials: int) -> dict[str, Tensor]:
        """Running mean and variance of each batch norm by state-dict name, shape (K, F)."""
        found: dict[str, Tensor] = {}
        for index, layer in enumerate(self.network.layers):
            if isinstance(layer, BatchNorm):
                found[f"{index}.running_mean"] = torch.zeros(num_trials, layer.features, device=self.device)
                found[f"{index}.running_var"] = torch.ones(num_trials, layer.features, device=self.device)
        return found

    def weights(self, index: int) -> Weights:
        """A layer's parameters and gradients."""
        weight, bias = (p for p in self.layout.parameters if p.layer == index)
        view = self.layout.view
        return Weights(view(self.p_KP, weight), view(self.p_KP, bias), view(self.g_KP, weight), view(self.g_KP, bias))

    def emit(self, tape: Tape, grads: Gradients, x: Tensor) -> Tensor:
        """Record the network on a tape, from an input buffer to the outputs."""
        dropouts = iter(self._dropout)
        first = True
        below: object = None
        for index, layer in enumerate(self.network.layers):
            match layer:
                case Dense(inputs, _):
                    if x.shape[2] != inputs:
                        x = emit_widening(tape, grads, x, inputs)
                    x = emit_dense(tape, grads, x, self.weights(index), first=first)
                    first = False
                case Convolution():
                    x = emit_convolution(tape, grads, x, self.weights(index), first=first)
                    first = False
                case BatchNorm():
                    mean, var = (self.statistics[f"{index}.running_{s}"] for s in ("mean", "var"))
                    x = emit_batch_norm(tape, grads, x, self.weights(index), mean, var)
                case Activation(name):
                    x = emit_activation(tape, grads, x, name, self._unit_mask(index))
                case Dropout() if self._dropout:
                    in_place = below in (Activation("relu"), Activation("leaky_relu"))
                    x = emit_dropout(tape, grads, x, next(dropouts), in_place=in_place)
                case MaxPool(size):
                    x = emit_max_pool(tape, grads, x, size)
                case Flatten():
                    x = x.flatten(2) if x.dim() > 3 else x
                case _:
                    pass
            below = layer
        return x

    def _unit_mask(self, index: int) -> Tensor:
        """1 for the units that each trial's own network has below a layer, 0 for those that rounding added.

        Shape (K, 1, F) behind a dense layer; 1 behind a convolution, whose channels are not rounded.
        """
        below = next(i for i in range(index, -1, -1) if isinstance(self.network.layers[i], Dense | Convolution))
        if not isinstance(self.network.layers[below], Dense):
            return torch.ones((), device=self.device)
        own = [layer.outputs for n in self._networks if isinstance(layer := n.layers[below], Dense)]
        width = rounded_width(max(own))
        units_F, own_K = torch.arange(width), torch.tensor(own)
        return (units_F < own_K[:, None, None]).float().to(self.device)

    # Evaluation

    def outputs(self, inputs: Tensor) -> Tensor:
        num_examples = inputs.shape[0]
        if num_examples not in self._outputs:
            self._outputs[num_examples] = torch.empty(
                len(self.members), num_examples, self.num_outputs, device=self.device
            )
        found = self._outputs[num_examples]
        for start in range(0, num_examples, EVALUATION_ROWS):
            chunk = inputs[start : start + EVALUATION_ROWS]
            tape, x, z = self._evaluation(chunk)
            flat = chunk if x.dim() > 2 else chunk.flatten(1)
            x[:, : flat.shape[1]].copy_(flat)
            tape.run_forward()
            found[:, start : start + len(chunk)] = z[:, :, : self.num_outputs]
        return found

    def _evaluation(self, chunk: Tensor) -> tuple[Tape, Tensor, Tensor]:
        if len(chunk) not in self._evaluations:
            num_trials = len(self.members)
            tape = Tape(num_trials=num_trials, batch_size=len(chunk), device=self.device, training=False)
            x = torch.zeros(len(chunk), *self.inputs.shape[1:], device=self.device)
            z = self.emit(tape, Gradients(tape), x.expand(num_trials, *x.shape))
            self._evaluations[len(chunk)] = (tape, x, z)
        return self._evaluations[len(chunk)]

    # Rows

    def _rows(self) -> dict[str, Tensor]:
        """Every tensor of the state by name, shape (K, ...)."""
        best = {f"best.{name}": t for name, t in self.best_statistics.items()}
        return {"parameters": self.p_KP, "best": self.best_KP, **self.moments, **self.statistics, **best}

    def state(self, row: int) -> RowState:
        return {name: tensor[row].cpu().clone() for name, tensor in self._rows().items()}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._rows().items():
            tensor[row] = state[name].to(self.device)

    def save_best(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, device=self.device)
        self.best_KP[index] = self.p_KP[index]
        for name, tensor in self.statistics.items():
            self.best_statistics[name][index] = tensor[index]

    def best_weights(self, row: int) -> RowState:
        network = self._networks[row]
        found: RowState = {}
        for parameter, value in self.layout.unpack(self.best_KP[row].cpu(), network.parameters()).items():
            layer = network.layers[parameter.layer]
            plain = transposed_for_module(layer, value) if parameter.name == "weight" else value
            found[f"{parameter.layer}.{parameter.name}"] = plain.contiguous().clone()
        for name, tensor in self.best_statistics.items():
            layer = network.layers[int(name.partition(".")[0])]
            assert isinstance(layer, BatchNorm)
            found[name] = tensor[row, : layer.features].cpu().clone()
            found[f"{name.partition('.')[0]}.num_batches_tracked"] = torch.tensor(0)
        return found

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> StackedProgram:
        program = StackedProgram(
            [*(self.members[row] for row in keep), *joining], self.train,
            loss=self.loss, num_outputs=self.num_outputs, device=self.device, initialise=bool(joining),
        )  # fmt: skip
        index = torch.tensor(list(keep), dtype=torch.int64, device=self.device)
        for name, tensor in program._rows().items():
            tensor[: len(keep)] = self._rows()[name].index_select(0, index)
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        return {
            f"{p.layer}.{p.name}": torch.linalg.vector_norm(self.layout.view(self.g_KP, p).flatten(1), dim=1)
            for p in self.layout.parameters
            if p.decayed
        }


class _Step:
    """One training step for one batch size: static inputs and a tape to replay."""

    def __init__(self, program: StackedProgram, batch_size: int, scalar_names: Sequence[str]) -> None:
        self.batch_size = batch_size
        self._program = program
        num_trials, device = len(program.members), program.device
        tape = Tape(num_trials=num_trials, batch_size=batch_size, device=device, training=True)
        self._x = tape.buffer(num_trials * batch_size, *program.inputs.shape[1:])
        self._y = tape.buffer(num_trials * batch_size, program.targets.shape[1])
        grads = Gradients(tape)
        z = program.emit(tape, grads, self._x.unflatten(0, (num_trials, batch_size)))
        y_KBO = self._y.unflatten(0, (num_trials, batch_size))
        emit_loss_gradient(tape, grads, z, y_KBO, loss=program.loss, num_targets=program.num_outputs)
        self._operations = (*tape.forward, *reversed(tape.backward))
        self._scalars_RK = torch.empty(len(scalar_names), num_trials, device=device)
        self._scalars = {name: row.unsqueeze(1) for name, row in zip(scalar_names, self._scalars_RK, strict=True)}

    def load(self, indices_KB: Tensor, scalars_RK: Tensor) -> None:
        """Fetch the batch of each trial and the step's scalars."""
        flat = indices_KB.reshape(-1)
        torch.index_select(self._program.inputs, 0, flat, out=self._x)
        torch.index_select(self._program.targets, 0, flat, out=self._y)
        self._scalars_RK.copy_(scalars_RK)

    def run(self) -> None:
        for operation in self._operations:
            operation()
        program = self._program
        program.optimizer.step(program.p_KP, program.g_KP, program.moments, self._scalars)


def _rounded_inputs(inputs: Tensor, network: Network) -> Tensor:
    """The examples as the first layer takes them: flat ones with zeros up to the rounded width, images as they are."""
    first = next(layer for layer in network.layers if isinstance(layer, Dense | Convolution))
    if isinstance(first, Convolution):
        return inputs.contiguous()
    flat = inputs.flatten(1)
    return torch.nn.functional.pad(flat, (0, first.inputs - flat.shape[1]))


def _targets_table(targets: Tensor, num_outputs: int, loss: str) -> Tensor:
    """Targets as float rows of the rounded width: one-hot for cross entropy."""
    width = rounded_width(num_outputs)
    if loss == "cross_entropy":
        return torch.nn.functional.one_hot(targets, width).float()
    return torch.nn.functional.pad(targets.float().view(len(targets), num_outputs), (0, width - num_outputs))
