"""The plain loop: `nn.Module`, autograd and `torch.optim`, one trial after the other.

This is the reference that the fused paths are tested against, and what `fuse: off` runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.dropout import keyed_dropouts
from tuner.models.keyed import dropout_keys, seed_module
from tuner.train.averaging import average_of_module
from tuner.train.batches import BatchChanges
from tuner.train.lion import Lion
from tuner.train.losses import mean_loss
from tuner.train.max_norm import limit_norms
from tuner.train.program import EpochPlan, Member, RowState, class_shares, evaluation_chunks
from tuner.train.rates import ModuleRates, epochs_of
from tuner.train.settings import Settings


def make_optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The `torch.optim` optimiser of these settings; weight decay on weights only, not on biases and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = settings.learning_rate
    betas = (settings.beta1, settings.beta2)
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas)
        case "amsgrad":
            return torch.optim.Adam(groups, lr=rate, betas=betas, amsgrad=True)
        case "nadam":
            return torch.optim.NAdam(groups, lr=rate, betas=betas)
        case "lion":
            return Lion(groups, lr=rate, betas=betas)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=settings.beta2, momentum=settings.momentum)
        case _:
            nesterov = settings.nesterov and settings.momentum > 0  # torch refuses what makes no difference
            return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=nesterov)


class PlainProgram:
    """See `train.program.Program`. Each trial has a module and an optimiser of its own."""

    path = "plain"
    state_format = "torch.optim"
    whole_epochs = False

    def __init__(
        self,
        members: Sequence[Member],
        train: Split,
        *,
        loss: str,
        num_outputs: int,
        device: torch.device,
        half: bool = False,
    ) -> None:
        self.members = tuple(members)
        self.train = train
        self.loss = loss
        self.num_outputs = num_outputs
        self.device = device
        self.half = half
        self._modules = [m.make_module().to(device) for m in members]
        self._optimizers = [
            self._new_optimizer(module, m.settings) for module, m in zip(self._modules, members, strict=True)
        ]
        self._changes = [BatchChanges([m], train, num_outputs=num_outputs, loss=loss) for m in members]
        self._averages = [average_of_module(m.settings, t) for m, t in zip(members, self._modules, strict=True)]
        self._rates = [ModuleRates(m.transfer, module) for m, module in zip(members, self._modules, strict=True)]
        self._best = [_weights(module) for module in self._modules]
        self._plan: EpochPlan | None = None
        self._row_plans: list[EpochPlan] = []

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._plan, self._row_plans = plan, [plan.row(row) for row in range(len(self.members))]
        for row, (member, module) in enumerate(zip(self.members, self._modules, strict=True)):
            self._rates[row].begin(epochs_of(plan)[row])
            module.train()
            dropouts = keyed_dropouts(module)
            own = self._row_plans[row]
            keys = dropout_keys([member.seed], own.step_SK[first:last], len(dropouts)) if dropouts else None
            batch_size = member.settings.batch_size
            for number in range(first, last):
                if keys is not None:
                    for layer, dropout in enumerate(dropouts):
                        dropout.start_step(int(keys[number - first, layer, 0]))
                inputs, targets = self._batch(row, own, number, batch_size)
                rate, step = float(plan.learning_rate_SK[number, row]), int(plan.step_SK[number, row])
                self._step(row, inputs, targets, rate=rate, step=step)
                if self._averages[row].active:
                    self._averages[row].update(own, number)

    def _batch(self, row: int, plan: EpochPlan, number: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """A batch of one trial, changed where it asks for it."""
        batch = plan.order_KN[0, number * batch_size : (number + 1) * batch_size]
        inputs, targets = self.train.inputs[batch], self.train.targets[batch]
        changes = self._changes[row]
        if changes.active:
            targets = class_shares(targets, self.num_outputs) if changes.soft_labels else targets
            changes.apply(inputs, targets, plan, number, batch_size=batch_size)
        return inputs, targets

    def _step(self, row: int, inputs: Tensor, targets: Tensor, *, rate: float, step: int) -> None:
        settings, module, optimizer = self.members[row].settings, self._modules[row], self._optimizers[row]
        seed_module(self.members[row].seed, step, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs = module(inputs)
        loss = self._mean_loss(outputs.float(), targets)
        if settings.l1:
            loss = loss + settings.l1 * sum(p.abs().sum() for p in module.parameters() if p.dim() > 1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        self._set_rate(row, rate)
        rates = self._rates[row]
        rates.before()
        optimizer.step()
        if settings.max_norm is not None:
            limit_norms(module, settings.max_norm)
        rates.after()

    def _new_optimizer(self, module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
        return make_optimizer(module, settings)

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mean_loss(outputs, targets, loss=self.loss)

    def _set_rate(self, row: int, rate: float) -> None:
        for group in self._optimizers[row].param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        found = []
        for module, average in zip(self._modules, self._averages, strict=True):
            module.eval()
            with average.in_place():
                chunks = [module(chunk).view(len(chunk), self.num_outputs) for chunk in evaluation_chunks(inputs)]
            found.append(torch.cat(chunks))
        return torch.stack(found)

    def state(self, row: int) -> RowState:
        weights = {f"module.{name}": t for name, t in _weights(self._modules[row]).items()}
        best = {f"best.{name}": t.clone() for name, t in self._best[row].items()}
        moments = {f"optimizer.{name}": t for name, t in self._optimizer_state(row).items()}
        average = {f"average.{name}": t[0].cpu().clone() for name, t in self._averages[row].tensors.items()}
        return weights | best | moments | average

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

        self._modules[row].load_state_dict(part("module."))
        self._best[row] = part("best.")
        for name, average in self._averages[row].tensors.items():
            average[0] = state[f"average.{name}"].to(self.device)
        self._load_optimizer(row, part("optimizer."))

    def _optimizer_state(self, row: int) -> RowState:
        return {
            f"{index}.{name}": torch.as_tensor(value).cpu().clone()
            for index, values in self._optimizers[row].state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }

    def _load_optimizer(self, row: int, state: Mapping[str, Tensor]) -> None:
        values: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            index, _, field = name.partition(".")
            values.setdefault(int(index), {})[field] = tensor
        whole = self._optimizers[row].state_dict()
        self._optimizers[row].load_state_dict({**whole, "state": values})

    def save_best(self, rows: Sequence[int]) -> None:
        for row in rows:
            with self._averages[row].in_place():
                self._best[row] = _weights(self._modules[row])

    def best_weights(self, row: int) -> RowState:
        return dict(self._best[row])

    def _of(self, members: Sequence[Member]) -> PlainProgram:
        """A program of its own kind for other members."""
        return PlainProgram(
            members, self.train, loss=self.loss, num_outputs=self.num_outputs, device=self.device, half=self.half
        )

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> PlainProgram:
        program = self._of(joining)
        program.members = (*(self.members[row] for row in keep), *joining)
        program._modules = [*(self._modules[row] for row in keep), *program._modules]
        program._optimizers = [*(self._optimizers[row] for row in keep), *program._optimizers]
        program._changes = [*(self._changes[row] for row in keep), *program._changes]
        program._averages = [*(self._averages[row] for row in keep), *program._averages]
        program._rates = [*(self._rates[row] for row in keep), *program._rates]
        program._best = [*(self._best[row] for row in keep), *program._best]
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        names = [n for n, p in self._modules[0].named_parameters() if p.dim() > 1 and p.grad is not None]
        found: dict[str, Tensor] = {}
        for name in names:
            grads = [module.get_parameter(name).grad for module in self._modules]
            found[name] = torch.stack([torch.zeros(()) if g is None else g.norm() for g in grads])
        return found

    @torch.no_grad()
    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        if self.members[0].network is None:
            return {}
        shares = [_dead_shares(module.eval(), inputs) for module in self._modules]
        return {f"hidden layer {n + 1}": torch.tensor([share[n] for share in shares]) for n in range(len(shares[0]))}


def _dead_shares(module: nn.Module, inputs: Tensor) -> list[float]:
    """The share of dead units behind each ReLU, in order."""
    found: list[float] = []
    handles = [
        layer.register_forward_hook(
            lambda _m, _i, y: found.append(1.0 - float((y > 0).transpose(0, 1).flatten(1).any(dim=1).float().mean()))
        )
        for layer in module.modules()
        if isinstance(layer, nn.ReLU)
    ]
    module(inputs)
    for handle in handles:
        handle.remove()
    return found


def _weights(module: nn.Module) -> RowState:
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
