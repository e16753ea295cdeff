"""Training by rows: K trials whose parameters, moments and buffers are rows of tensors, updated all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor

from tuner.models.layers.layer import Parameter
from tuner.models.layers.tape import Operation
from tuner.train.batch.batches import BatchChanges
from tuner.train.program import EpochPlan, Member, Problem, RowState
from tuner.train.rows.at_hand import AtHand
from tuner.train.rows.averaging import WeightAverage
from tuner.train.rows.max_norm import RowMaxNorm
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.penalties import row_shares
from tuner.train.rows.rates import RowRates
from tuner.train.rows.rows import RowLayout
from tuner.train.rows.step import BatchStep, Recording, update_rows
from tuner.train.rows.tables import AVERAGE_SHARE, StepTables, read_by_steps, step_tables
from tuner.train.rows.weight_noise import KEY, RowNoise
from tuner.train.way import Way


class RowProgram(ABC):
    """See `train.program.Program`. Kinds of it differ in how gradients and outputs are computed, and in names."""

    whole_epochs = False
    way: ClassVar[Way]
    format: ClassVar[str]
    buffers_kept_as: ClassVar[tuple[str, str, str]]
    """In a trial's state, before the names of its buffers, of the best ones, and of their averages."""

    examples: AtHand
    """What batches are made of."""

    def __init__(
        self,
        members: Sequence[Member],
        problem: Problem,
        layout: RowLayout,
        p_KP: Tensor,
        buffers: Mapping[str, Tensor],
        *,
        names: Mapping[Parameter, str],
        inputs_first: bool,
        num_dropouts: int,
        recording: Recording,
    ) -> None:
        """Begin with these rows.

        Args:
            members: The trials.
            problem: What they learn.
            layout: Where each parameter lies in a row.
            p_KP: The parameters.
            buffers: What else training changes, by the names in the trials' modules; (K, ...).
            names: Of the parameters in the trials' modules.
            inputs_first: Matrices are of shape (inputs, units), not (units, inputs).
            num_dropouts: Dropout layers that need a key for each step.
            recording: When steps are recorded.
        """
        self.members = tuple(members)
        self.problem = problem
        self.layout = layout
        settings = [member.settings for member in members]
        self.batch_size = settings[0].batch_size
        self.optimizer = ROW_OPTIMIZERS[settings[0].optimizer](
            settings, num_decayed=layout.num_decayed, shares=row_shares(settings, layout, names, device=problem.device)
        )
        self.p_KP = p_KP
        self.g_KP = torch.zeros_like(p_KP)
        self.moments = {name: torch.zeros_like(p_KP) for name in self.optimizer.moments}
        self.buffers = dict(buffers)
        self.best_KP = p_KP.clone()
        self.best_buffers = {name: t.clone() for name, t in buffers.items()}
        # What the program holds does not refer to the program: its memory is free as soon as nobody holds it.
        averaged = {"average.parameters": p_KP, **{f"{self.buffers_kept_as[2]}{n}": t for n, t in buffers.items()}}
        self.average = WeightAverage(settings, lambda: averaged)
        self._names = names
        self._max_norm = RowMaxNorm(settings, layout, inputs_first=inputs_first, device=problem.device)
        self._rates = RowRates(members, layout, names, device=problem.device)
        self._changes = BatchChanges(members, problem)
        self._noise = RowNoise(members, layout, p_KP, names, inputs_first=inputs_first)
        self._keys_LK = torch.ones((num_dropouts, len(members)), dtype=torch.int32, device=problem.device)
        """The keys of the dropout layers in a step."""
        self._recording = recording
        self._steps: dict[int, BatchStep] = {}
        self._tables: StepTables | None = None
        self._plan: EpochPlan | None = None

    # What differs

    @abstractmethod
    def _new_gradients(self, batch_size: int) -> tuple[Tensor, Tensor, Sequence[Operation]]:
        """Memory for the inputs and targets of a step's batches, and what computes their gradients into the rows.

        Both are of shape (K * batch size, ...). The operations hold no reference to the program.
        """

    @abstractmethod
    def _outputs(self, inputs: Tensor) -> Tensor:
        """See `train.program.Program.outputs`; of the weights that are there."""

    @abstractmethod
    def _successor(self, members: Sequence[Member], keep: Sequence[int]) -> Self:
        """A program of these members, the first of them the rows to keep, whose state it need not have."""

    @abstractmethod
    def best_weights(self, row: int) -> RowState: ...

    @abstractmethod
    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]: ...

    @abstractmethod
    def _before_steps(self, shares: Sequence[Mapping[str, float]]) -> None:
        """Be ready for steps.

        Args:
            shares: Each trial's shares of the learning rate by parameter, if an epoch begins in which there are any:
                norms without one are held.
        """

    # Training

    def path(self, row: int) -> Way:
        return self.way

    def reason(self, row: int) -> str | None:
        return None

    def state_format(self, row: int) -> str:
        return self.format

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        shares: Sequence[Mapping[str, float]] = ()
        is_new = plan is not self._plan
        tables_of_plan = self._tables_of(plan)
        if is_new:
            shares = self._rates.begin(plan)
        self._before_steps(shares)
        for first_here, last_here, low in self.examples.windows(first, last):
            self._changes.count_from(low)
            for batch_size, tables, begin, end in tables_of_plan.parts(first_here, last_here):
                self._step(batch_size, tables_of_plan).run(tables, begin, end)

    def _tables_of(self, plan: EpochPlan) -> StepTables:
        """What the steps of a plan read, made on first use."""
        if plan is not self._plan or self._tables is None:
            self._plan = plan
            self._tables = step_tables(
                replace(plan, order_KN=self.examples.places(plan.order_KN)),
                self.optimizer,
                batch_size=self.batch_size,
                seeds=[member.seed for member in self.members],
                num_dropouts=len(self._keys_LK),
                more=read_by_steps(plan, self._changes, self.average, noisy=self.members if self._noise.active else ()),
            )
        return self._tables

    def _step(self, batch_size: int, tables: StepTables) -> BatchStep:
        """The step of a batch size, made on first use."""
        if batch_size not in self._steps:
            x, y, gradients = self._new_gradients(batch_size)
            shape = (len(self.members), batch_size)
            scalars_RK = torch.zeros_like(tables.scalars_SRK[0])
            scalars = {name: row.unsqueeze(1) for name, row in zip(tables.scalar_names, scalars_RK, strict=True)}
            more = {name: torch.zeros_like(table[0]) for name, table in tables.more.items()}
            indices = torch.zeros(shape[0] * batch_size, dtype=torch.int64, device=self.problem.device)
            changes: list[Operation] = []
            if self._changes.active:
                changes.append(partial(self._changes.apply, x, y, indices.view(shape), more))
            if self._noise.active:
                changes.append(partial(self._noise.add, more[KEY]))
                gradients = [*gradients, self._noise.remove]
            self._steps[batch_size] = BatchStep(
                [*gradients, self._update(scalars)],
                indices=indices,
                fetch=_fetches(self.examples, x, y),
                reads=[scalars_RK, *([self._keys_LK] if len(self._keys_LK) else []), *more.values()],
                first_number=tables.first_row(batch_size),
                changes=changes,
                average=self.average if self.average.active else None,
                share_K=more.get(AVERAGE_SHARE, torch.empty(0)),
                state=[self.p_KP, *self.moments.values(), *self.buffers.values()],
                num_trials=len(self.members),
                recording=self._recording,
            )
        return self._steps[batch_size]

    def _update(self, scalars: dict[str, Tensor]) -> Callable[[], None]:
        return partial(
            update_rows, self.p_KP, self.g_KP, self.moments, scalars,
            rates=self._rates, optimizer=self.optimizer, max_norm=self._max_norm,
        )  # fmt: skip

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        with self.average.in_place():
            return self._outputs(inputs)

    def gradient_norms(self) -> dict[str, Tensor]:
        return {
            name: torch.linalg.vector_norm(self.layout.view(self.g_KP, parameter).flatten(1), dim=1)
            for parameter, name in self._names.items()
            if parameter.decayed and not self._rates.is_frozen(name)
        }

    # Rows

    def _rows(self) -> dict[str, Tensor]:
        """Every tensor of the state by name, shape (K, ...)."""
        present, best, _ = self.buffers_kept_as
        rows = {"parameters": self.p_KP, "best": self.best_KP, **self.moments}
        rows |= {f"{present}{name}": t for name, t in self.buffers.items()}
        rows |= {f"{best}{name}": t for name, t in self.best_buffers.items()}
        return rows | self.average.tensors

    def state(self, row: int, *, lent: bool = False) -> RowState:
        return {name: _on_host(tensor[row], lent=lent) for name, tensor in self._rows().items()}

    @torch.no_grad()
    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        for name, tensor in self._rows().items():
            tensor[row] = state[name].to(self.problem.device)

    def unsaved(self, row: int) -> str | None:
        return None

    @torch.no_grad()
    def save_best(self, rows: Sequence[int]) -> None:
        pairs = [(self.best_KP, self.p_KP), *((self.best_buffers[name], t) for name, t in self.buffers.items())]
        with self.average.in_place():
            if len(rows) == len(self.members):  # at once, for an index would copy them all first
                for best, tensor in pairs:
                    best.copy_(tensor)
                return
            index = torch.tensor(rows, device=self.problem.device)
            for best, tensor in pairs:
                best[index] = tensor[index]

    def _take(self, members: Sequence[Member]) -> bool:
        """Train other members from now on, by the same operations; False if these would be others.

        It may then have taken some values, and is good for nothing.
        """
        settings = [member.settings for member in members]
        changed_batches = (self._changes, BatchChanges(members, self.problem))
        if (
            len(members) != len(self.members)
            or any(changes.active for changes in changed_batches)
            or self._noise.active
            or self._rates.active
            or any(member.transfer or member.settings.weight_noise for member in members)
            or any(type(self.optimizer) is not ROW_OPTIMIZERS[s.optimizer] for s in settings)
            or any(s.batch_size != self.batch_size for s in settings)
        ):
            return False
        self.members = tuple(members)
        return self.optimizer.take(settings) and self._max_norm.take(settings) and self.average.take(settings)

    @torch.no_grad()
    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> Self:
        self._let_go()  # the rows are a small part of the memory: all else must not be there twice
        program = self._successor([*(self.members[row] for row in keep), *joining], keep)
        index = torch.tensor(list(keep), dtype=torch.int64, device=self.problem.device)
        before = self._rows()
        for name, tensor in program._rows().items():
            tensor[: len(keep)] = before[name].index_select(0, index)
        return program

    def _let_go(self) -> None:
        """Let go of all memory but the rows."""
        self._steps.clear()


def _on_host(row: Tensor, *, lent: bool) -> Tensor:
    """A row in memory of its own; a lent one that is all of its memory as it is, for a file holds whole memories."""
    on_host = row.cpu()
    is_alone = on_host.untyped_storage().nbytes() == on_host.numel() * on_host.element_size()
    return on_host if is_alone and (lent or on_host.device != row.device) else on_host.clone()


def _fetches(examples: AtHand, x: Tensor, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What is gathered for a step, and where to: flat inputs leave the zeros that rounding has put behind them."""
    inputs = examples.inputs
    if x.dim() == 2:
        inputs = inputs.flatten(1)
        x = x[:, : inputs.shape[1]]
    return [(inputs, x), (examples.targets, y)]
