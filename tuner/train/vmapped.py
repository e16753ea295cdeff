"""Users' own modules stacked through `torch.func`: one forward and backward for all trials of a cohort.

Parameters and optimiser state are rows, as in the stacked program, and the same row optimisers update them. The
forward runs under `vmap`, or row by row where a module does not allow that or a cohort is too narrow to gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tuner.data.dataset import Split
from tuner.models.dropout import keyed_dropouts
from tuner.models.keyed import dropout_keys, key
from tuner.models.layers import Parameter
from tuner.train.losses import mean_loss
from tuner.train.optimizers import ROW_OPTIMIZERS
from tuner.train.program import EpochPlan, Member, RowState, evaluation_chunks
from tuner.train.rows import RowLayout

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MIN_WIDTH_CPU = 8
"""On CPU `vmap` costs more than it saves below about so many trials."""


class ModuleProgram:
    """See `train.program.Program`. K modules of one class and one set of shapes."""

    state_format = "module rows"

    def __init__(
        self,
        members: Sequence[Member],
        train: Split,
        *,
        loss: str,
        num_outputs: int,
        device: torch.device,
        fusable: bool,
        half: bool = False,
    ) -> None:
        """Stack users' modules.

        Args:
            members: The trials.
            train: Training examples, on the device.
            loss: `cross_entropy` or `mse`.
            num_outputs: Classes or regression targets.
            device: Where to train.
            fusable: The forward of all rows may run under `vmap`; it does where the cohort is wide enough to gain.
            half: Run the forward under autocast to bfloat16.
        """
        self.half = half
        narrowest = MIN_WIDTH_CPU if device.type == "cpu" else 2
        fused = fusable and len(members) >= narrowest
        self.path = "vmap" if fused else "plain"
        self.fusable = fusable
        self.fused = fused
        self.members = tuple(members)
        self.train = train
        self.loss = loss
        self.num_outputs = num_outputs
        self.device = device
        modules = [m.make_module().to(device) for m in members]
        self.base = modules[0]
        self.layout = RowLayout(_parameters(self.base))
        num_trials = len(members)
        settings = [m.settings for m in members]
        self.batch_size = settings[0].batch_size
        self.optimizer = ROW_OPTIMIZERS[settings[0].optimizer](settings, num_decayed=self.layout.num_decayed)
        self.p_KP = torch.zeros(num_trials, self.layout.length, device=device)
        self.g_KP = torch.zeros_like(self.p_KP)
        self.moments = {name: torch.zeros_like(self.p_KP) for name in self.optimizer.moments}
        for row, module in enumerate(modules):
            for parameter, value in zip(self.layout.parameters, module.parameters(), strict=True):
                self.layout.view(self.p_KP, parameter)[row] = value.detach()
        self.frozen = _frozen_mask(self.base, self.layout, device)
        names = [name for name, _ in self.base.named_parameters()]
        self._parameters = self._leaves(names, slice(None))
        """(K, ...) each; their gradients accumulate in the gradient rows."""
        self._row_parameters = [] if fused else [self._leaves(names, slice(k, k + 1)) for k in range(num_trials)]
        self._buffers = _stack_buffers(modules)
        self._persistent = [name for name in self.base.state_dict() if name in self._buffers]
        self._keys = [
            f"{name}.key" if name else "key" for name, m in self.base.named_modules() if m in keyed_dropouts(self.base)
        ]
        self._best = {name: t.detach().clone() for name, t in self._tensors().items()}
        self._plan: EpochPlan | None = None

    def _leaves(self, names: Sequence[str], rows: slice) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, parameter in zip(names, self.layout.parameters, strict=True):
            value = self.layout.view(self.p_KP[rows], parameter)
            grad = self.layout.view(self.g_KP[rows], parameter)
            if rows != slice(None):
                value, grad = value[0], grad[0]
            found[name] = value.detach().requires_grad_()
            found[name].grad = grad
        return found

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._prepare(plan)
        self.base.train()
        num_examples = plan.order_KN.shape[1]
        for number in range(first, last):
            start, end = number * self.batch_size, min((number + 1) * self.batch_size, num_examples)
            for layer, name in enumerate(self._keys):
                self._buffers[name].copy_(self._key_table[number, layer])
            self._step(plan.order_KN[:, start:end], number)
            scalars = {name: self._scalar_table[number, i].unsqueeze(1) for i, name in enumerate(self._scalar_names)}
            if self.frozen is not None:
                self.g_KP.mul_(self.frozen)
            self.optimizer.step(self.p_KP, self.g_KP, self.moments, scalars)

    def _prepare(self, plan: EpochPlan) -> None:
        table = self.optimizer.scalars(plan.learning_rate_SK, plan.step_SK)
        self._scalar_names = tuple(table)
        stacked = np.stack(list(table.values()), axis=1)
        self._scalar_table = torch.from_numpy(stacked.astype(np.float32)).to(self.device)
        if self._keys:
            found = dropout_keys([m.seed for m in self.members], plan.step_SK, len(self._keys))
            self._key_table = torch.from_numpy(found).to(self.device)
        self._plan = plan

    def _step(self, indices_KB: Tensor, number: int) -> None:
        """Gradients of one step, into the gradient rows."""
        self.g_KP.zero_()
        if self.fused:
            inputs, targets = self.train.inputs[indices_KB], self.train.targets[indices_KB]

            def loss_of(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
                return mean_loss(functional_call(self.base, (parameters, buffers), (x,)).float(), y, loss=self.loss)

            with self._autocast():
                losses_K = vmap(loss_of)(self._parameters, self._buffers, inputs, targets)
            losses_K.sum().backward()
            return
        assert self._plan is not None
        for row, member in enumerate(self.members):
            # Random numbers that a module draws by itself are keyed by the step too.
            torch.manual_seed(key(member.seed, "module", int(self._plan.step_SK[number, row])))
            with self._autocast():
                outputs = functional_call(self.base, self._row(row), (self.train.inputs[indices_KB[row]],))
            mean_loss(outputs.float(), self.train.targets[indices_KB[row]], loss=self.loss).backward()  # type: ignore[no-untyped-call]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def _row(self, row: int) -> dict[str, Tensor]:
        return {**self._row_parameters[row], **{name: t[row] for name, t in self._buffers.items()}}

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        self.base.eval()
        found = []
        for chunk in evaluation_chunks(inputs):
            if self.fused:
                outputs = vmap(lambda p, b, x=chunk: functional_call(self.base, (p, b), (x,)))(
                    self._parameters, self._buffers
                )
            else:
                outputs = torch.stack(
                    [functional_call(self.base, self._row(row), (chunk,)) for row in range(len(self.members))]
                )
            found.append(outputs.view(len(self.members), len(chunk), self.num_outputs))
        return torch.cat(found, dim=1)

    def _tensors(self) -> dict[str, Tensor]:
        """The state dict of all trials, shape (K, ...)."""
        return {**self._parameters, **{name: self._buffers[name] for name in self._persistent}}

    def state(self, row: int) -> RowState:
        moments = {f"moment.{name}": t[row] for name, t in self.moments.items()}
        best = {f"best.{name}": t[row] for name, t in self._best.items()}
        present = {f"module.{name}": t[row] for name, t in self._tensors().items()}
        return {name: t.detach().cpu().clone() for name, t in {**present, **best, **moments}.items()}

    @torch.no_grad()
    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            tensor[row] = state[f"module.{name}"].to(self.device)
            self._best[name][row] = state[f"best.{name}"].to(self.device)
        for name, tensor in self.moments.items():
            tensor[row] = state[f"moment.{name}"].to(self.device)

    @torch.no_grad()
    def save_best(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, device=self.device)
        for name, tensor in self._tensors().items():
            self._best[name][index] = tensor[index]

    def best_weights(self, row: int) -> RowState:
        return {name: t[row].detach().cpu().clone() for name, t in self._best.items()}

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> ModuleProgram:
        members = [*(self.members[row] for row in keep), *joining]
        program = ModuleProgram(
            members,
            self.train,
            loss=self.loss,
            num_outputs=self.num_outputs,
            device=self.device,
            half=self.half,
            fusable=self.fusable,
        )
        for new, old in enumerate(keep):
            program.load_state(new, self.state(old))
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        names = [name for name, _ in self.base.named_parameters()]
        return {
            name: torch.linalg.vector_norm(self.layout.view(self.g_KP, p).flatten(1), dim=1)
            for name, p in zip(names, self.layout.parameters, strict=True)
            if p.decayed
        }

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


def _parameters(module: nn.Module) -> list[Parameter]:
    """A module's parameters in the rows' terms; L2 and L1 apply to those of two and more dimensions."""
    return [
        Parameter(index, name, tuple(p.shape), p.dim() > 1, 0, 0)
        for index, (name, p) in enumerate(module.named_parameters())
    ]


def _frozen_mask(module: nn.Module, layout: RowLayout, device: torch.device) -> Tensor | None:
    """Zero where a parameter does not require a gradient, as a row; None if all do."""
    if all(p.requires_grad for p in module.parameters()):
        return None
    mask = torch.ones(1, layout.length, device=device)
    for parameter, value in zip(layout.parameters, module.parameters(), strict=True):
        if not value.requires_grad:
            layout.view(mask, parameter).zero_()
    return mask


def _stack_buffers(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    columns = [dict(module.named_buffers()) for module in modules]
    return {name: torch.stack([column[name] for column in columns]) for name in columns[0]}


def unfusable_reason(members: Sequence[Member], train: Split, *, loss: str, num_outputs: int) -> str | None:
    """Why two trials of a user's module cannot be trained as one, or None if they can.

    Builds two modules, takes one step fused and one row by row, and compares: the gradients must agree to 1e-4
    of their size.
    """
    pair = [members[0], members[-1]]
    first, second = (m.make_module() for m in pair)
    if repr(first) != repr(second):
        return "modules of the same shape key differ in structure"
    if train.inputs.device.type == "cpu" and any(isinstance(m, _CONVOLUTIONS) for m in first.modules()):
        return "stacked convolutions are slower than single ones on a CPU"
    settings = members[0].settings
    batch = torch.arange(min(settings.batch_size, len(train))).repeat(2, 1)
    plan = EpochPlan(
        order_KN=batch.to(train.inputs.device),
        learning_rate_SK=np.full((1, 2), settings.learning_rate),
        step_SK=np.zeros((1, 2), dtype=np.int64),
    )
    grads = []
    try:
        for fused in (True, False):
            program = ModuleProgram(
                pair, train, loss=loss, num_outputs=num_outputs, device=train.inputs.device, fusable=False
            )
            program.fused = fused
            program.base.train()
            program._prepare(plan)
            program._step(plan.order_KN, 0)
            grads.append(program.g_KP)
            program.outputs(train.inputs[:2])
    except Exception as error:  # whatever a user's module raises under vmap is a reason not to use it
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    scale = grads[1].abs().max().clamp_min(1e-12)
    difference = float(((grads[0] - grads[1]).abs().max() / scale).item())
    if not difference < 1e-4:
        return f"the fused step differs from the plain one by {difference:.1e} of the gradient"
    return None
