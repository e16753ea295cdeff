"""Users' own modules: many trials in one forward and backward through `torch.func`.

The modules are rewritten copies (`models.rewritten`), of which it is known that they compute what the modules as
written do (`fusable.py`). Parameters and optimiser state are rows, as in the stacked program, and the same row
optimisers update them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.dropout import keyed_dropouts
from tuner.models.rewritten import rewritten
from tuner.models.transfer import hold_norms
from tuner.train.batch.batches import BatchChanges
from tuner.train.program import EpochPlan, Member, Problem, RowState, class_shares, evaluation_chunks
from tuner.train.programs.modules.gradients import FusedModules, ModuleGradients, SingleModules
from tuner.train.rows.averaging import RowAverages, WeightAverage
from tuner.train.rows.max_norm import RowMaxNorm
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.rates import RowRates
from tuner.train.rows.rows import RowLayout, module_parameters
from tuner.train.rows.step import BatchStep, Recording, new_pool, update_rows
from tuner.train.rows.tables import AVERAGE_SHARE, StepTables, read_by_steps, step_tables
from tuner.train.way import Way

MIN_WIDTH_CUDA = 2
"""A single module is slower under `vmap`, until its steps are recorded."""
RECORD_AFTER_RUNS = 10
"""Under `vmap` Python takes so long that recording a step pays soon."""


class ModuleProgram:
    """See `train.program.Program`. K modules with parameters of one set of shapes."""

    whole_epochs = False

    def __init__(
        self,
        members: Sequence[Member],
        problem: Problem,
        *,
        fused: bool | None = None,
        modules: Sequence[nn.Module] = (),
        record_after: int = RECORD_AFTER_RUNS,
    ) -> None:
        """Stack users' modules, which are alike in all but their tensors (`train.programs.modules.stackable`).

        Args:
            members: The trials.
            problem: What they learn.
            fused: Run the modules under `vmap`, or one after the other, which gives the same bits; None for what is
                quicker.
            modules: Those of the first members, if they exist already, rewritten; the others are built.
            record_after: Record a step after so many runs, to replay it without Python.
        """
        self.members = tuple(members)
        self.problem = problem
        device, targets = problem.device, problem.train.targets
        self._recording = Recording(
            script_after=record_after, graph_after=record_after, may_refuse=True, pool=new_pool(device)
        )
        self.modules = [*modules, *(rewritten(m.make_module(), device).to(device) for m in members[len(modules) :])]
        settings = [m.settings for m in members]
        self.batch_size = settings[0].batch_size
        self.layout = RowLayout(module_parameters(self.modules[0]))
        self.optimizer = ROW_OPTIMIZERS[settings[0].optimizer](settings, num_decayed=self.layout.num_decayed)
        self._max_norm = RowMaxNorm(settings, self.layout, inputs_first=False, device=device)
        self._rates = RowRates(members, self.layout, {p: p.name for p in self.layout.parameters}, device=device)
        self.p_KP = torch.zeros(len(members), self.layout.length, device=device)
        self.g_KP = torch.zeros_like(self.p_KP)
        self.moments = {name: torch.zeros_like(self.p_KP) for name in self.optimizer.moments}
        narrowest = 1 if device.type == "cpu" else MIN_WIDTH_CUDA
        self._asked = fused
        self.fused = len(members) >= narrowest if fused is None else fused
        kind = FusedModules if self.fused else SingleModules
        self._gradients: ModuleGradients = kind(self.modules, self.layout, self.p_KP, self.g_KP, problem)
        self.best_KP = self.p_KP.clone()
        self._best_buffers = [self._buffers(row) for row in range(len(members))]
        self._average = WeightAverage(settings, partial(dict, parameters=self.p_KP))
        self._buffer_averages = [
            WeightAverage([s], partial(_unsqueezed_buffers, self._gradients, row)) for row, s in enumerate(settings)
        ]
        self._changes = BatchChanges(members, problem)
        self._targets = class_shares(targets, problem.num_outputs) if self._changes.soft_labels else targets
        self._trains = False
        """Whether `train()` was called since the last evaluation, or since a row was loaded."""
        self._plan: EpochPlan | None = None
        self._tables: StepTables | None = None
        self._steps: dict[int, BatchStep] = {}

    def path(self, row: int) -> Way:
        return Way.TOGETHER

    def reason(self, row: int) -> str | None:
        return None

    def state_format(self, row: int) -> str:
        return "module rows"

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._prepare(plan)
        assert self._tables is not None
        self._set_mode(training=True)
        if self.fused:
            for batch_size, tables, begin, end in self._tables.parts(first, last):
                self._step(batch_size).run(tables, begin, end)
            return
        for number in range(first, last):
            self._compute_gradients(plan, number)
            self._update()(self._scalars(self._tables.scalars_SRK[number]))
            if self._average.active and self._average.is_due(number):
                self._averages(self._tables.more[AVERAGE_SHARE][number]).update()

    def _update(self) -> Callable[[dict[str, Tensor]], None]:
        """The update of a step, given the optimiser's scalars."""
        return partial(
            update_rows, self.p_KP, self.g_KP, self.moments,
            rates=self._rates, optimizer=self.optimizer, max_norm=self._max_norm,
        )  # fmt: skip

    def _averages(self, share_K: Tensor) -> RowAverages:
        return RowAverages(self._average, self._buffer_averages, share_K)

    def _scalars(self, scalars_RK: Tensor) -> dict[str, Tensor]:
        assert self._tables is not None
        return {name: row.unsqueeze(1) for name, row in zip(self._tables.scalar_names, scalars_RK, strict=True)}

    def _compute_gradients(self, plan: EpochPlan, number: int) -> None:
        assert self._tables is not None
        indices_KB = plan.order_KN[:, number * self.batch_size : (number + 1) * self.batch_size]
        keys = self._tables.keys_SLK
        inputs, targets = self.problem.train.inputs[indices_KB], self._targets[indices_KB]
        if self._changes.active:
            drawn = {name: table[number] for name, table in self._tables.more.items()}
            self._changes.apply(inputs.flatten(0, 1), targets.flatten(0, 1), indices_KB, drawn)
        self._gradients.compute(
            inputs,
            targets,
            dropout_keys_LK=torch.empty(0) if keys is None else keys[number],
        )

    def gradients(self, row: int) -> RowState:
        """The last gradients of a trial by the names of its parameters, as the optimiser saw them."""
        names = [name for name, _ in self.modules[0].named_parameters()]
        views = (self.layout.view(self.g_KP[row : row + 1], place)[0] for place in self.layout.parameters)
        return dict(zip(names, views, strict=True))

    def named_tensors(self, row: int) -> tuple[RowState, RowState]:
        """A trial's parameters and its buffers by name, sharing memory with it."""
        names = [name for name, _ in self.modules[0].named_parameters()]
        views = (self.layout.view(self.p_KP[row : row + 1], place)[0] for place in self.layout.parameters)
        return dict(zip(names, views, strict=True)), self._gradients.buffers(row)

    def _prepare(self, plan: EpochPlan) -> None:
        self._plan = plan
        self._tables = step_tables(
            plan,
            self.optimizer,
            batch_size=self.batch_size,
            seeds=[m.seed for m in self.members],
            num_dropouts=max(len(keyed_dropouts(module)) for module in self.modules),
            more=read_by_steps(plan, self._changes, self._average),
        )
        for module, shares in zip(self.modules, self._rates.begin(plan), strict=False):
            hold_norms(module, shares)
            self._trains = False

    def _set_mode(self, *, training: bool) -> None:
        """Call `train()` before an epoch and after an evaluation, `eval()` before one, as a plain loop does."""
        if training and not self._trains:
            for module in self.modules:
                module.train()
        elif not training:
            for module in self.modules:
                module.eval()
        self._trains = training

    def _step(self, batch_size: int) -> BatchStep:
        """A fused step, made on first use."""
        if batch_size not in self._steps:
            tables = self._tables
            assert tables is not None
            shape = (len(self.members), batch_size)
            x, y = (t.new_empty(shape[0] * shape[1], *t.shape[1:]) for t in (self.problem.train.inputs, self._targets))
            scalars_RK = torch.zeros_like(tables.scalars_SRK[0])
            keys = [] if tables.keys_SLK is None else [torch.zeros_like(tables.keys_SLK[0])]
            # The step holds no reference to the program, whose memory is free as soon as nobody holds it.
            gradients, update, scalars = self._gradients, self._update(), self._scalars(scalars_RK)

            def compute() -> None:
                gradients.compute(
                    x.view(*shape, *x.shape[1:]),
                    y.view(*shape, *y.shape[1:]),
                    dropout_keys_LK=keys[0] if keys else torch.empty(0),
                )
                update(scalars)

            indices = torch.zeros(shape[0] * batch_size, dtype=torch.int64, device=self.problem.device)
            more = {name: torch.zeros_like(table[0]) for name, table in tables.more.items()}
            buffers = [t for row in range(shape[0]) for t in self._gradients.buffers(row).values()]
            self._steps[batch_size] = BatchStep(
                compute,
                indices=indices,
                fetch=[(self.problem.train.inputs, x), (self._targets, y)],
                reads=[scalars_RK, *keys, *more.values()],
                first_number=tables.first_row(batch_size),
                change=partial(self._changes.apply, x, y, indices.view(shape), more) if self._changes.active else None,
                average=self._averages(more[AVERAGE_SHARE]) if self._average.active else None,
                state=[self.p_KP, *self.moments.values(), *buffers],
                num_trials=len(self.members),
                recording=self._recording,
            )
        return self._steps[batch_size]

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        with self.averages_in_place():
            self._set_mode(training=False)
            found = [
                self._gradients.outputs(chunk).view(len(self.members), len(chunk), self.problem.num_outputs)
                for chunk in evaluation_chunks(inputs)
            ]
        return torch.cat(found, dim=1)

    @contextmanager
    def averages_in_place(self) -> Iterator[None]:
        """Within the block averages of the weights are where the weights are, if there are any."""
        with ExitStack() as stack:
            for average in (self._average, *self._buffer_averages):
                stack.enter_context(average.in_place())
            yield

    # State

    def _buffers(self, row: int) -> RowState:
        """Copies of the buffers in a trial's state dict."""
        return {name: t.detach().clone() for name, t in self._gradients.buffers(row).items()}

    def _rows(self) -> dict[str, Tensor]:
        average = {f"average.{name}": t for name, t in self._average.tensors.items()}
        return {"parameters": self.p_KP, "best": self.best_KP, **self.moments, **average}

    def state(self, row: int) -> RowState:
        rows = {name: t[row] for name, t in self._rows().items()}
        buffers = {f"buffer.{name}": t for name, t in self._gradients.buffers(row).items()}
        best = {f"best_buffer.{name}": t for name, t in self._best_buffers[row].items()}
        averages = {f"average_buffer.{n}": t[0] for n, t in self._buffer_averages[row].tensors.items()}
        return {name: t.detach().cpu().clone() for name, t in {**rows, **buffers, **best, **averages}.items()}

    @torch.no_grad()
    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        self._trains = False
        for name, tensor in self._rows().items():
            tensor[row] = state[name].to(self.problem.device)
        for name, buffer in self._gradients.buffers(row).items():
            buffer.copy_(state[f"buffer.{name}"])
            self._best_buffers[row][name] = state[f"best_buffer.{name}"].to(self.problem.device)
        for name, average in self._buffer_averages[row].tensors.items():
            average[0] = state[f"average_buffer.{name}"].to(self.problem.device)

    def unsaved(self, row: int) -> str | None:
        return None

    @torch.no_grad()
    def save_best(self, rows: Sequence[int]) -> None:
        index = torch.tensor(rows, device=self.problem.device)
        with self.averages_in_place():
            self.best_KP[index] = self.p_KP[index]
            for row in rows:
                self._best_buffers[row] = self._buffers(row)

    def best_weights(self, row: int) -> RowState:
        module = self.modules[row]
        places = dict(zip(module.parameters(), self.layout.parameters, strict=True))
        buffers = {id(buffer): name for name, buffer in module.named_buffers()}
        found: RowState = {}
        for name, tensor in module.state_dict(keep_vars=True).items():
            if isinstance(tensor, nn.Parameter):  # a tied parameter has several names and one place
                value = self.layout.view(self.best_KP[row : row + 1], places[tensor])[0]
            else:
                value = self._best_buffers[row][buffers[id(tensor)]]
            found[name] = value.detach().cpu().clone()
        return found

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> ModuleProgram:
        self._steps.clear()
        program = ModuleProgram(
            [*(self.members[row] for row in keep), *joining],
            self.problem,
            fused=self._asked,
            modules=[self.modules[row] for row in keep],
        )
        for new, old in enumerate(keep):
            program.load_state(new, self.state(old))
        return program

    def gradient_norms(self) -> dict[str, Tensor]:
        names = [name for name, _ in self.modules[0].named_parameters()]
        return {
            name: torch.linalg.vector_norm(self.layout.view(self.g_KP, p).flatten(1), dim=1)
            for name, p in zip(names, self.layout.parameters, strict=True)
            if p.decayed
        }

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


def _unsqueezed_buffers(gradients: ModuleGradients, row: int) -> RowState:
    return {name: t.unsqueeze(0) for name, t in gradients.buffers(row).items()}
