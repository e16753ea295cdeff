"""Users' own modules: many trials in one forward and backward through `torch.func`.

The modules are rewritten copies (`models.rewritten`), of which it is known that they compute what the modules as
written do (`fusable.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.layers.tape import Operation
from tuner.models.rewritten import rewritten
from tuner.models.transfer import hold_norms
from tuner.train.program import Member, Problem, RowState, class_shares, evaluation_chunks
from tuner.train.programs.modules.gradients import FusedModules, ModuleGradients, SingleModules, buffers_of
from tuner.train.programs.row_program import RowProgram
from tuner.train.rows.at_hand import AtHand
from tuner.train.rows.rows import RowLayout, module_parameters
from tuner.train.rows.step import Recording, new_pool
from tuner.train.way import Way

_MIN_WIDTH_CUDA = 2
"""A single module is slower under `vmap`, until its steps are recorded."""
RECORD_AFTER_RUNS = 10
"""Under `vmap` Python takes so long that recording a step pays soon."""


class ModuleProgram(RowProgram):
    """K modules with parameters of one set of shapes."""

    way = Way.TOGETHER
    format = "module rows"
    buffers_kept_as = ("buffer.", "best_buffer.", "average_buffer.")

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
            record_after: Record a step of a stack after so many runs, to replay it without Python.
        """
        device = problem.device
        self.modules = [*modules, *(rewritten(m.make_module(), device).to(device) for m in members[len(modules) :])]
        layout = RowLayout(module_parameters(self.modules[0]))
        p_KP = torch.zeros(len(members), layout.length, device=device)
        columns = zip(*(module.parameters() for module in self.modules), strict=True)
        for place, column in zip(layout.parameters, columns, strict=True):
            layout.view(p_KP, place).copy_(torch.stack([parameter.detach() for parameter in column]))
        stacks = [buffers_of(module) for module in self.modules]
        narrowest = 1 if device.type == "cpu" else _MIN_WIDTH_CUDA
        self._asked = fused
        self.fused = len(members) >= narrowest if fused is None else fused
        after = record_after if self.fused else None
        super().__init__(
            members,
            problem,
            layout,
            p_KP,
            {name: torch.stack([stack[name] for stack in stacks]) for name in stacks[0]},
            names={parameter: parameter.name for parameter in layout.parameters},
            inputs_first=False,
            num_dropouts=max(len(keyed_dropouts(module)) for module in self.modules),
            recording=Recording(script_after=after, graph_after=after, may_refuse=True, pool=new_pool(device)),
        )
        shares = partial(class_shares, num_classes=problem.num_outputs)
        table = shares if self._changes.soft_labels else Tensor.detach
        self.examples = AtHand(problem.train, table, batch_size=self.batch_size)
        kind = FusedModules if self.fused else SingleModules
        self._gradients: ModuleGradients = kind(self.modules, layout, p_KP, self.g_KP, self.buffers, problem)
        self._trains = False
        """Whether `train()` was called since the last evaluation, or since a row was loaded."""

    def _new_gradients(self, batch_size: int) -> tuple[Tensor, Tensor, Sequence[Operation]]:
        shape = (len(self.members), batch_size)
        x, y = (t.new_empty(shape[0] * shape[1], *t.shape[1:]) for t in (self.examples.inputs, self.examples.targets))
        batch = x.view(*shape, *x.shape[1:]), y.view(*shape, *y.shape[1:])
        return x, y, [partial(self._gradients.compute, *batch, dropout_keys_LK=self._keys_LK)]

    def _before_steps(self, shares: Sequence[Mapping[str, float]]) -> None:
        for module, own in zip(self.modules, shares, strict=False):
            hold_norms(module, own)
            self._trains = False
        self._set_mode(training=True)

    def _set_mode(self, *, training: bool) -> None:
        """Call `train()` before an epoch and after an evaluation, `eval()` before one, as a plain loop does."""
        if training and not self._trains:
            for module in self.modules:
                module.train()
        elif not training:
            for module in self.modules:
                module.eval()
        self._trains = training

    def _outputs(self, inputs: Tensor) -> Tensor:
        self._set_mode(training=False)
        shape = (len(self.members), -1, self.problem.num_outputs)
        return torch.cat([self._gradients.outputs(chunk).view(shape) for chunk in evaluation_chunks(inputs)], dim=1)

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}

    # Rows

    def gradients(self, row: int) -> RowState:
        """The last gradients of a trial by the names of its parameters, as the optimiser saw them."""
        return self._named(self.g_KP, row)

    def named_tensors(self, row: int) -> tuple[RowState, RowState]:
        """A trial's parameters and its buffers by name, sharing memory with it."""
        return self._named(self.p_KP, row), {name: t[row] for name, t in self.buffers.items()}

    def _named(self, rows_KP: Tensor, row: int) -> RowState:
        return {name: self.layout.view(rows_KP[row : row + 1], place)[0] for place, name in self._names.items()}

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        self._trains = False
        super().load_state(row, state)

    def best_weights(self, row: int) -> RowState:
        module = self.modules[row]
        places = dict(zip(module.parameters(), self.layout.parameters, strict=True))
        buffers = {id(buffer): name for name, buffer in module.named_buffers()}
        found: RowState = {}
        for name, tensor in module.state_dict(keep_vars=True).items():
            if isinstance(tensor, nn.Parameter):  # a tied parameter has several names and one place
                value = self.layout.view(self.best_KP[row : row + 1], places[tensor])[0]
            else:
                value = self.best_buffers[buffers[id(tensor)]][row]
            found[name] = value.detach().cpu().clone()
        return found

    def _successor(self, members: Sequence[Member], keep: Sequence[int]) -> ModuleProgram:
        modules = [self.modules[row] for row in keep]
        return ModuleProgram(members, self.problem, fused=self._asked, modules=modules)
