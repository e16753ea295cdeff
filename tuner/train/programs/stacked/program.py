"""The stacked program: K trials of one network description, one optimiser and one batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from tuner.models.dropout import dropout_rates
from tuner.models.keyed import dropout_threshold
from tuner.models.layers import BatchNorm, Parameter, transposed_for_module
from tuner.models.module import initial_values, read_values
from tuner.train.batch.batches import BatchChanges
from tuner.train.program import EpochPlan, Member, Problem, RowState
from tuner.train.programs.stacked.evaluator import Evaluator
from tuner.train.programs.stacked.examples import rounded_inputs, targets_table
from tuner.train.programs.stacked.layers import DropoutInputs, Gradients, Weights
from tuner.train.programs.stacked.loss import emit_loss_gradient
from tuner.train.programs.stacked.network import NetworkParts, emit_network
from tuner.train.programs.stacked.step import KERNELS_AFTER_RUNS, SCRIPT_AFTER_RUNS, Operations
from tuner.train.programs.stacked.tape import Tape
from tuner.train.rows.averaging import RowAverages, WeightAverage
from tuner.train.rows.max_norm import RowMaxNorm
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.rates import RowRates
from tuner.train.rows.rows import NO_CLASS, RowLayout
from tuner.train.rows.step import BatchStep, Recording, new_pool, update_rows
from tuner.train.rows.tables import AVERAGE_SHARE, StepTables, read_by_steps, step_tables
from tuner.train.settings import Settings
from tuner.train.way import Way


class StackedProgram:
    """See `train.program.Program`. State lives in tensors of shape (K, ...); steps are replayed tapes."""

    whole_epochs = False

    def __init__(
        self,
        members: Sequence[Member],
        problem: Problem,
        *,
        initialise: bool = True,
    ) -> None:
        """Stack trials.

        Args:
            members: The trials; their networks have one shape when rounded.
            problem: What they learn.
            initialise: Draw initial weights; otherwise rows are zero until `load_state`.
        """
        self.members = tuple(members)
        self._networks = [m.network for m in members if m.network is not None]
        self.network = self._networks[0].rounded()
        assert all(network.rounded() == self.network for network in self._networks)
        self.problem = problem
        self.device = device = problem.device
        self.layout = RowLayout(self.network.parameters())
        settings = [m.settings for m in members]
        self.batch_size = settings[0].batch_size
        self.optimizer = ROW_OPTIMIZERS[settings[0].optimizer](settings, num_decayed=self.layout.num_decayed)
        self._max_norm = RowMaxNorm(settings, self.layout, inputs_first=True, device=device)
        num_trials = len(members)
        self.p_KP = torch.zeros(num_trials, self.layout.length, device=device)
        self.g_KP = torch.zeros_like(self.p_KP)
        self.best_KP = torch.zeros_like(self.p_KP)
        self.moments = {name: torch.zeros_like(self.p_KP) for name in self.optimizer.moments}
        self.statistics = self._running_statistics(num_trials)
        self.best_statistics = {name: t.clone() for name, t in self.statistics.items()}
        if initialise:
            added = 0.0 if problem.loss == "mse" else NO_CLASS
            for row, (m, network) in enumerate(zip(members, self._networks, strict=True)):
                values = (
                    self._pretrained(row)
                    if m.pretrained
                    else initial_values(network, seed=m.seed, init=m.settings.init)
                )
                self.p_KP[row] = self.layout.pack(values, added_outputs=added)
        names = {p: f"{p.layer}.{p.name}" for p in self.layout.parameters}
        self._rates = RowRates(members, self.layout, names, device=device)
        # What the program holds does not refer to the program: its memory is free as soon as nobody holds it.
        averaged = {"parameters": self.p_KP, **self.statistics}
        self._average = WeightAverage(settings, lambda: averaged)
        self._seeds = [m.seed for m in members]
        self._changes = BatchChanges(members, problem)
        self._dropout = self._dropout_inputs(settings)
        self._parts = NetworkParts(
            rounded=self.network,
            own=self._networks,
            weights=partial(_weights, self.layout, self.p_KP, self.g_KP),
            statistics=self.statistics,
            dropouts=self._dropout,
            first_trained=self._rates.lowest_trained_layer,
            held=self._held_norms(),
        )
        self.inputs = rounded_inputs(problem.train.inputs, self.network)
        self.targets = targets_table(problem)
        self._steps: dict[int, BatchStep] = {}
        self._evaluator = Evaluator(  # in float32, as whoever has the stored weights evaluates them
            partial(Tape, num_trials=num_trials, device=device, training=False), self._parts,
            num_trials=num_trials, num_outputs=problem.num_outputs, example_shape=self.inputs.shape[1:], device=device,
        )  # fmt: skip
        self._recording = Recording(
            script_after=SCRIPT_AFTER_RUNS, kernels_after=KERNELS_AFTER_RUNS, pool=new_pool(device)
        )
        self._tables: StepTables | None = None
        self._plan: EpochPlan | None = None

    # Training

    def path(self, row: int) -> Way:
        return Way.STACKED

    def reason(self, row: int) -> str | None:
        return None

    def state_format(self, row: int) -> str:
        return "stacked"

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._plan = plan
            self._tables = step_tables(
                plan,
                self.optimizer,
                batch_size=self.batch_size,
                seeds=self._seeds,
                num_dropouts=len(self._dropout),
                more=read_by_steps(plan, self._changes, self._average),
            )
            self._set_rates(plan)
        assert self._tables is not None
        for batch_size, tables, begin, end in self._tables.parts(first, last):
            self._step(batch_size).run(tables, begin, end)

    def _set_rates(self, plan: EpochPlan) -> None:
        for row, shares in enumerate(self._rates.begin(plan)):
            for layer, held_K in self._parts.held.items():
                held_K[row] = shares[f"{layer}.weight"] == 0.0

    def _step(self, batch_size: int) -> BatchStep:
        """The step of a batch size, made on first use."""
        if batch_size not in self._steps:
            tables = self._tables
            assert tables is not None
            tape = self._new_tape()(batch_size, training=True)
            shape = (len(self.members), batch_size)
            x = tape.buffer(shape[0] * shape[1], *self.inputs.shape[1:])
            y = tape.buffer(shape[0] * shape[1], self.targets.shape[1])
            grads = Gradients(tape)
            z = emit_network(tape, grads, x.view(*shape, *x.shape[1:]), self._parts)
            emit_loss_gradient(
                tape, grads, z, y.view(*shape, -1),
                loss=self.problem.loss, num_targets=self.problem.num_outputs, weighted=self._changes.weighted,
            )  # fmt: skip
            scalars_RK = torch.zeros_like(tables.scalars_SRK[0])
            scalars = {name: row.unsqueeze(1) for name, row in zip(tables.scalar_names, scalars_RK, strict=True)}
            state = [self.p_KP, *self.moments.values(), *self.statistics.values()]
            update = partial(
                update_rows, self.p_KP, self.g_KP, self.moments, scalars,
                rates=self._rates, optimizer=self.optimizer, max_norm=self._max_norm,
            )  # fmt: skip
            operations = Operations([*tape.forward, *reversed(tape.backward), update])
            indices = torch.zeros(shape[0] * batch_size, dtype=torch.int64, device=self.device)
            more = {name: torch.zeros_like(table[0]) for name, table in tables.more.items()}
            self._steps[batch_size] = BatchStep(
                operations,
                indices=indices,
                fetch=[(self.inputs, x), (self.targets, y)],
                reads=[scalars_RK, *([self._dropout_keys] if self._dropout else []), *more.values()],
                first_number=tables.first_row(batch_size),
                change=partial(self._changes.apply, x, y, indices.view(shape), more) if self._changes.active else None,
                average=RowAverages(self._average, (), more[AVERAGE_SHARE]) if self._average.active else None,
                state=state,
                num_trials=len(self.members),
                recording=self._recording,
            )
        return self._steps[batch_size]

    def _new_tape(self) -> Callable[..., Tape]:
        """What makes an empty tape, given its batch size and whether it is for training."""
        return partial(Tape, num_trials=len(self.members), device=self.device, half=self.problem.half)

    def _dropout_inputs(self, settings: Sequence[Settings]) -> list[DropoutInputs]:
        """One for each dropout layer; none at all when no trial drops anything."""
        if not any(s.dropout or s.dropout_last for s in settings):
            return []
        num_layers = self.network.num_dropouts
        rates_KL = [dropout_rates(s.dropout, s.dropout_last, num_layers) for s in settings]
        thresholds = torch.tensor([[dropout_threshold(r) for r in rates] for rates in rates_KL], dtype=torch.int32)
        scales = torch.tensor([[1.0 / (1.0 - r) for r in rates] for rates in rates_KL])
        self._dropout_keys = torch.ones((num_layers, len(settings)), dtype=torch.int32, device=self.device)
        layers = zip(self._dropout_keys, thresholds.T.to(self.device), scales.T.to(self.device), strict=True)
        return [DropoutInputs(*(t.contiguous() for t in layer)) for layer in layers]

    def _running_statistics(self, num_trials: int) -> dict[str, Tensor]:
        """Running mean and variance of each batch norm by state-dict name, shape (K, F)."""
        found: dict[str, Tensor] = {}
        for index, layer in enumerate(self.network.layers):
            if isinstance(layer, BatchNorm):
                found[f"{index}.running_mean"] = torch.zeros(num_trials, layer.features, device=self.device)
                found[f"{index}.running_var"] = torch.ones(num_trials, layer.features, device=self.device)
        return found

    def _pretrained(self, row: int) -> dict[Parameter, Tensor]:
        """A trial's weights as its module has them from a file; the norms' statistics are set on the way."""
        module = self.members[row].make_module()
        for name, tensor in self.statistics.items():
            value = module.get_buffer(name)
            tensor[row, : len(value)] = value.to(self.device)
        return read_values(module, self._networks[row])

    def _held_norms(self) -> dict[int, Tensor]:
        """For each batch norm whether each trial keeps its statistics, refilled for each epoch; bool, (K,)."""
        if not self._rates.active:
            return {}
        norms = (index for index, layer in enumerate(self.network.layers) if isinstance(layer, BatchNorm))
        return {index: torch.zeros(len(self.members), dtype=torch.bool, device=self.device) for index in norms}

    # Evaluation

    def outputs(self, inputs: Tensor) -> Tensor:
        with self._average.in_place():
            return self._evaluator.outputs(inputs)

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        own = torch.tensor([network.hidden_widths for network in self._networks], device=self.device)
        firing = enumerate(self._evaluator.firing_units(inputs))
        return {f"hidden layer {n + 1}": 1.0 - fired.sum(dim=1) / own[:, n] for n, fired in firing}

    # Rows

    def _rows(self) -> dict[str, Tensor]:
        """Every tensor of the state by name, shape (K, ...)."""
        best = {f"best.{name}": t for name, t in self.best_statistics.items()}
        average = {f"average.{name}": t for name, t in self._average.tensors.items()}
        return {"parameters": self.p_KP, "best": self.best_KP, **self.moments, **self.statistics, **best, **average}

    def state(self, row: int) -> RowState:
        return {name: tensor[row].cpu().clone() for name, tensor in self._rows().items()}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._rows().items():
            tensor[row] = state[name].to(self.device)

    def unsaved(self, row: int) -> str | None:
        return None

    def save_best(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, device=self.device)
        with self._average.in_place():
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
        self._steps.clear()  # the rows are a small part of the memory: all else must not be there twice
        self._evaluator.clear()
        program = StackedProgram(
            [*(self.members[row] for row in keep), *joining], self.problem, initialise=bool(joining)
        )
        index = torch.tensor(list(keep), dtype=torch.int64, device=self.device)
        for name, tensor in program._rows().items():
            tensor[: len(keep)] = self._rows()[name].index_select(0, index)
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        return {
            f"{p.layer}.{p.name}": torch.linalg.vector_norm(self.layout.view(self.g_KP, p).flatten(1), dim=1)
            for p in self.layout.parameters
            if p.decayed and not self._rates.is_frozen(f"{p.layer}.{p.name}")
        }


def _weights(layout: RowLayout, p_KP: Tensor, g_KP: Tensor, index: int) -> Weights:
    """A layer's parameters and gradients."""
    weight, bias = (p for p in layout.parameters if p.layer == index)
    view = layout.view
    return Weights(view(p_KP, weight), view(p_KP, bias), view(g_KP, weight), view(g_KP, bias))
