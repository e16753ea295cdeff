"""Rows of a stack held to the modules as written again, at random steps while they train.

The proof (`proof.py`) sees first steps; what a module does later than these is found here. A share of the trials is
checked, chosen by their seeds: a step is done by the stack and, from the same parameters and buffers, on the same
batch, by the module as written with the stack's dropout masks. Gradients, buffers and outputs must agree.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from tuner.models.generators import generators_kept
from tuner.models.keyed import key
from tuner.models.layers.dropout import replace_dropout
from tuner.train.program import EpochPlan, Member, Problem, RowState, module_rows
from tuner.train.programs.attributes import attributes_of, in_words
from tuner.train.programs.modules.agreement import agrees, all_agree
from tuner.train.programs.modules.standing import first_change
from tuner.train.programs.modules.vmapped import ModuleProgram
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.penalties import penalties
from tuner.train.rows.rates import epochs_of

TRIALS = 8
"""One of so many trials is checked, by chance."""
EPOCHS = 16
"""In one of so many epochs, by chance."""


class RowsDifferError(Exception):
    """A row of a stack computes something else than its module as written; the message says what."""


class Recheck:
    """The checks of one stack."""

    def __init__(self, members: Sequence[Member], problem: Problem, *, every: bool) -> None:
        """Choose the trials that are checked.

        Args:
            members: Of the stack.
            problem: What they learn; the modules as written do it in float32.
            every: Check all trials, in each epoch.
        """
        self._members = members
        self._problem = replace(problem, half=False)
        self._every = every
        self._rows = [row for row, m in enumerate(members) if every or key(m.seed, "recheck") % TRIALS == 0]
        self._trials: dict[int, PlainTrial] = {}
        self._attributes: dict[str, Hashable] | None = None
        self._plan: EpochPlan | None = None
        self._chosen: dict[int, int] = {}
        """The step of this epoch at which each row is checked."""

    def parts(self, program: ModuleProgram, plan: EpochPlan, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The steps up to, not including, `last`, in parts; the stack does each before the next is asked for.

        Raises:
            RowsDifferError: a row computes something else than the module as written.
        """
        is_new = plan is not self._plan
        if is_new:
            self._plan, self._chosen = plan, dict(self._choose(plan))
        for number in sorted({n for n in self._chosen.values() if first <= n < last}):
            if first < number:
                yield first, number
            rows = [row for row, n in self._chosen.items() if n == number]
            before = {row: _copies(program, row) for row in rows}
            yield number, number + 1
            for row in rows:
                self._compare_step(program, row, before[row], number)
            first = number + 1
        if first < last:
            yield first, last
        if is_new:
            self._compare_attributes(program)

    def compare_outputs(self, program: ModuleProgram, inputs: Tensor, outputs: Tensor) -> None:
        """Check the outputs of an evaluation.

        Args:
            program: The stack.
            inputs: That were evaluated.
            outputs: Of all rows.

        Raises:
            RowsDifferError: they are not those of a module as written.
        """
        for row in self._chosen:
            trial = self._trial(row)
            with program.average.in_place():
                _load(trial, _copies(program, row))
            with generators_kept():
                expected = trial.outputs(inputs[: module_rows(inputs)])
            if not agrees(outputs[row, : len(expected)], expected, change=float(expected.norm()), whole=0.0):
                raise RowsDifferError("it gives other outputs in evaluation than its own code does")

    def _choose(self, plan: EpochPlan) -> list[tuple[int, int]]:
        found = []
        for row in self._rows:
            epoch = epochs_of(plan)[row]
            drawn = key(self._members[row].seed, "recheck step", epoch)
            if self._every or drawn % EPOCHS == 0:
                found.append((row, drawn // EPOCHS % len(plan.step_SK)))
        return found

    def _trial(self, row: int) -> PlainTrial:
        """The trial as written, but for the masks of its dropout, which are the stack's."""
        if row not in self._trials:
            member = self._members[row]
            self._trials[row] = PlainTrial(
                replace(
                    member,
                    settings=replace(member.settings, averaging="none"),
                    make_module=lambda: replace_dropout(member.make_module()),
                ),
                self._problem,
            )
        return self._trials[row]

    def _compare_step(self, program: ModuleProgram, row: int, before: tuple[RowState, RowState], number: int) -> None:
        assert self._plan is not None
        trial = self._trial(row)
        with generators_kept():
            _load(trial, before)
            trial.begin(self._plan.row(row), number)
            trial.compute_gradients(number)
        settings = trial.member.settings
        shapes = {name: p.shape for name, p in trial.module.named_parameters()}
        decay = penalties(settings, "weight_decay", shapes)
        if ROW_OPTIMIZERS[settings.optimizer].decouples_decay:
            decay = {}
        expected = {
            name: p.grad + decay.get(name, 0.0) * before[0][name]
            for name, p in trial.module.named_parameters()
            if p.grad is not None
        }
        if not all(bool(torch.isfinite(t).all()) for t in expected.values()):
            return  # a trial that diverges does so in any way
        ours = program.gradients(row)
        if name := all_agree(ours, expected, changes={n: float(t.norm()) for n, t in expected.items()}):
            raise RowsDifferError(f"it trains {name} otherwise than its own code does")
        _, buffers = program.named_tensors(row)
        expected = {name: b for name, b in trial.module.named_buffers() if name in buffers}
        if name := all_agree(buffers, expected, changes={}):
            raise RowsDifferError(f"it leaves other values in its buffer {name} than its own code does")

    def _compare_attributes(self, program: ModuleProgram) -> None:
        """What a module's Python keeps is the same in every epoch."""
        now = attributes_of(program.modules[0])
        if self._attributes is not None and (name := first_change(self._attributes, now)):
            changed = in_words(program.modules[0], name)
            raise RowsDifferError(f"{changed} has changed, which is no parameter or buffer")
        self._attributes = now


def _copies(program: ModuleProgram, row: int) -> tuple[RowState, RowState]:
    parameters, buffers = program.named_tensors(row)
    return {n: t.detach().clone() for n, t in parameters.items()}, {n: t.clone() for n, t in buffers.items()}


@torch.no_grad()
def _load(trial: PlainTrial, tensors: tuple[Mapping[str, Tensor], Mapping[str, Tensor]]) -> None:
    parameters, buffers = tensors
    for name, parameter in trial.module.named_parameters():
        parameter.copy_(parameters[name])
    for name, buffer in trial.module.named_buffers():
        if name in buffers:
            buffer.copy_(buffers[name])
