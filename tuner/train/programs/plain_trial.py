"""One trial in the plain loop: its module as its own code says, an optimiser, and what a step needs besides."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tuner.data.stored import StreamedInputs
from tuner.models.generators import GeneratorStates, seed_generators
from tuner.models.keyed import dropout_keys
from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.layers.layer import is_weight
from tuner.train.batch.batches import BatchChanges
from tuner.train.measure.losses import mean_loss
from tuner.train.program import EpochPlan, Member, Problem, RowState, class_shares, copied_chunks
from tuner.train.programs.module_state import ModuleState, leaving_no_trace
from tuner.train.programs.torch_optimizers import make_optimizer, rate_shares
from tuner.train.rows.averaging import average_of_module
from tuner.train.rows.max_norm import limit_norms
from tuner.train.rows.penalties import l1_shares
from tuner.train.rows.proximal import pull_module, thresholds
from tuner.train.rows.rates import ModuleRates, epochs_of
from tuner.train.rows.tables import AVERAGE_SHARE, read_by_steps
from tuner.train.rows.weight_noise import KEY, ModuleNoise
from tuner.train.settings import Settings


class PlainTrial:
    """A plain PyTorch loop around a module, in which nothing is replaced.

    `train()` is called before an epoch and `eval()` before an evaluation; a checkpoint holds which of them came last.
    The generators are seeded for the trial before each epoch and each evaluation. A batch is a copy, the module's to
    change.
    """

    state_format = "torch.optim"

    def __init__(self, member: Member, problem: Problem) -> None:
        self.member = member
        self.problem = problem
        self.device = problem.device
        self.module = member.make_module().to(self.device)
        self.optimizer = self._new_optimizer(self.module, member.settings)
        self.average = average_of_module(member.settings, self.module)
        self._changes = BatchChanges([member], problem)
        self._rates = ModuleRates(member.transfer, self.module)
        self._l1_shares = l1_shares(member.settings, self.module)
        self._noise = ModuleNoise(member, self.module)
        self._dropouts = keyed_dropouts(self.module)
        """Of a built-in network; a user's module has none."""
        self._state = ModuleState(self.module)
        self._best = self._state.weights()
        self._trains = False
        """Whether `train()` was called since its last evaluation."""
        self._generators: GeneratorStates | None = None
        """Where they stand in the middle of an epoch, while others may draw."""
        self._plan: EpochPlan | None = None
        self._batches: tuple[Tensor, ...] = ()
        self._rate_S: list[float] = []
        self._pull_S: list[float] = []
        """See `train.rows.proximal.thresholds`."""
        self._more: dict[str, Tensor] = {}
        """See `train.rows.tables.read_by_steps`."""
        self._keys_SL: list[list[int]] = []

    # Training

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        """Do the steps from `first` up to, not including, `last`, of this trial's own plan."""
        self.begin(plan, first)
        for number in range(first, last):
            self._step(number)
        num_steps = len(plan.step_SK)
        self._generators = GeneratorStates.now(self.device) if last < num_steps else None

    def begin(self, plan: EpochPlan, first: int) -> None:
        """Begin an epoch, or go on with it."""
        (epoch,) = epochs_of(plan)
        if first == 0 or self._generators is None:
            seed_generators(self.member.seed, "epoch", epoch, device=self.device)
        else:
            self._generators.restore(self.device)
        if plan is not self._plan:
            self._plan = plan
            self._batches = torch.split(plan.order_KN[0], self.member.settings.batch_size)
            noisy = [self.member] if self._noise.active else []
            more = read_by_steps(plan, self._changes, self.average, noisy=noisy)
            self._more = {name: table.to(self.device) for name, table in more.items()}
            shares_S = rate_shares(self.member.settings, plan.step_SK[:, 0] + 1)
            rate_S = plan.learning_rate_SK[:, 0] * shares_S
            self._rate_S, self._pull_S = rate_S.tolist(), thresholds(self.member.settings, rate_S).tolist()
            if self._dropouts:
                keys = dropout_keys([self.member.seed], plan.step_SK, len(self._dropouts))
                self._keys_SL = keys[:, :, 0].tolist()
            self._rates.begin(epoch)
        if not self._trains or self._rates.transfer is not None:  # norms that thaw hear of it by `train()`
            self._to_train()

    def compute_gradients(self, number: int) -> None:
        """The gradients of one step of the epoch that was begun, with penalties, clipped."""
        settings, module = self.member.settings, self.module
        inputs, targets = self._batch(number)
        for dropout, key in zip(self._dropouts, self._keys_SL[number] if self._dropouts else (), strict=True):
            dropout.start_step(key)
        self._forget_gradients()
        if self._noise.active:
            self._noise.add(self._more[KEY][number])
            self._mean_loss(self._outputs(inputs), targets).backward()  # type: ignore[no-untyped-call]
            self._noise.remove()
            loss = torch.zeros((), device=self.device, requires_grad=True)  # penalties are of the weights without
        else:
            loss = self._mean_loss(self._outputs(inputs), targets)
        if settings.l1 and not settings.selects:
            loss = loss + settings.l1 * self._absolute()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)

    def _step(self, number: int) -> None:
        self.compute_gradients(number)
        self._set_rate(self._rate_S[number])
        self._rates.before()
        self.optimizer.step()
        if self.member.settings.selects:
            pull_module(self.module, self._pull_S[number], self._l1_shares)
        if self.member.settings.max_norm is not None:
            limit_norms(self.module, self.member.settings.max_norm)
        self._rates.after()
        if self.average.active and self.average.is_due(number):
            self.average.update(self._more[AVERAGE_SHARE][number])

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        """A batch, changed where the trial asks for it."""
        batch = self._batches[number]
        inputs, targets = self.problem.train.inputs, self.problem.train.targets
        if isinstance(inputs, StreamedInputs):
            size = self.member.settings.batch_size
            inputs.hold(number * size, size)
            inputs, targets = inputs[batch], targets[batch]
        else:
            inputs, targets = inputs.index_select(0, batch), targets.index_select(0, batch)
        changes = self._changes
        if changes.active:
            targets = class_shares(targets, self.problem.num_outputs) if changes.soft_labels else targets
            changes.apply(inputs, targets, batch.unsqueeze(0), {name: t[number] for name, t in self._more.items()})
        return inputs, targets

    def _outputs(self, inputs: Tensor) -> Tensor:
        outputs: Tensor
        if not self.problem.half:
            outputs = self.module(inputs)
            return outputs.float()
        with torch.autocast(self.device.type, torch.bfloat16):
            outputs = self.module(inputs)
        return outputs.float()

    def _absolute(self) -> Tensor:
        """The sum of the weights' absolute values, each at its share of L1."""
        weights = ((name, p) for name, p in self.module.named_parameters() if is_weight(p.shape))
        if "l1" not in self.member.settings.by_layer:
            return sum((p.abs().sum() for _, p in weights), torch.zeros(()))
        return sum((p.abs().sum() * self._l1_shares[name] for name, p in weights), torch.zeros(()))

    def _new_optimizer(self, module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
        return make_optimizer(module, settings)

    def _mean_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mean_loss(outputs, targets, loss=self.problem.loss)

    def _forget_gradients(self) -> None:
        """What `zero_grad()` does, without its preparations for a profiler."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    # Evaluation

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """In evaluation mode, shape (examples, outputs)."""
        if self.average.active and not self._trains:
            self._to_train()
        self._trains = False
        num_outputs = self.problem.num_outputs
        with self.average.in_place():
            self.module.eval()
            seed_generators(self.member.seed, "evaluation", device=self.device)
            with leaving_no_trace(self.module):
                chunks = [self.module(chunk).view(len(chunk), num_outputs) for chunk in copied_chunks(inputs)]
            if self.average.active:
                self._to_train()  # what `eval()` made of the average is undone before the weights return
        return torch.cat(chunks)

    def _to_train(self) -> None:
        self.module.train()
        self._trains = True

    @torch.no_grad()
    def dead_shares(self, inputs: Tensor) -> list[float]:
        """The share of dead units behind each ReLU, in order."""
        firing: list[Tensor] = []
        handles = [
            layer.register_forward_hook(lambda _m, _i, y: firing.append((y > 0).transpose(0, 1).flatten(1).any(dim=1)))
            for layer in self.module.modules()
            if isinstance(layer, nn.ReLU)
        ]
        self._trains = False
        self.module.eval()
        num_chunks = 0
        for chunk in copied_chunks(inputs):
            self.module(chunk)
            num_chunks += 1
        for handle in handles:
            handle.remove()
        layers = len(firing) // num_chunks
        return [1.0 - float(torch.stack(firing[i::layers]).any(dim=0).float().mean()) for i in range(layers)]

    def gradient_norms(self) -> dict[str, Tensor]:
        """Of each weight that has a gradient, by its name."""
        named = ((name, p) for name, p in self.module.named_parameters() if is_weight(p.shape))
        grads = ((name, p.grad) for name, p in named if p.grad is not None)
        dense = ((name, g.coalesce().values() if g.is_sparse else g) for name, g in grads)
        return {name: torch.linalg.vector_norm(g).float() for name, g in dense}

    # State

    def state(self) -> RowState:
        """A copy of all that it needs to go on."""
        module = {f"module.{name}": t for name, t in self._state.taken().items()}
        best = {f"best.{name}": t.clone() for name, t in self._best.items()}
        moments = {f"optimizer.{name}": t for name, t in self._optimizer_state().items()}
        average = {f"average.{name}": t[0].cpu().clone() for name, t in self.average.tensors.items()}
        drawn = {} if self._generators is None else self._generators.tensors()
        module["trains"] = torch.tensor(self._trains)
        return module | best | moments | average | {f"generators.{name}": t for name, t in drawn.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

        self._state.restore(part("module."))
        self._best = part("best.")
        for name, average in self.average.tensors.items():
            average[0] = state[f"average.{name}"].to(self.device)
        self._load_optimizer(part("optimizer."))
        drawn = part("generators.")
        self._generators = GeneratorStates.of_tensors(drawn) if drawn else None
        self._trains = bool(state.get("trains", False))

    def _optimizer_state(self) -> RowState:
        return {
            f"{index}.{name}": torch.as_tensor(value).cpu().clone()
            for index, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }

    def _load_optimizer(self, state: Mapping[str, Tensor]) -> None:
        values: dict[int, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            index, _, field = name.partition(".")
            values.setdefault(int(index), {})[field] = tensor
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": values})

    def unsaved(self) -> str | None:
        """What of the module's state cannot be written down, in words, or None."""
        return self._state.unsaved()

    def save_best(self) -> None:
        """Remember the present weights as the best: those of training mode, which `eval()` may change as it pleases."""
        if not self._trains:
            self._to_train()
        with self.average.in_place():
            self._best = self._state.weights()

    def best_weights(self) -> RowState:
        """Those that were remembered last."""
        return dict(self._best)
