"""The proof that modules compute as rows of a stack what they compute as written: both are done, and compared.

Two trials of one configuration, with different seeds, train for some steps, are evaluated, and begin further epochs:
as written (`programs.plain_trial`), and as rows, whose later steps are replays of a recorded one. What must agree:
parameters, buffers, outputs, the modes of all parts. What must stand still, since the Python of a row is not run:
attributes, what the module's code reads around it, generators. Dropout is off, since its masks are others; who looks at
its rate or changes it is found out.

In another size of a module that is proven so, a step and an evaluation of one trial, by itself and as a row, must give
the same bits: kernels of another size may round otherwise, and code that branches by a size shows there. Both are done
by rewritten copies, whose layers compute what the library's own do in every size.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from tuner.models.generators import generators_kept
from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.rewritten import rewritten
from tuner.train.batch.order import epoch_order
from tuner.train.program import EpochPlan, Member, Problem, RowState, looked_at, module_rows, num_steps
from tuner.train.programs.modules.agreement import SMALL, agrees, all_agree
from tuner.train.programs.modules.fusable import in_words, place_in_words
from tuner.train.programs.modules.stackable import difference
from tuner.train.programs.modules.standing import DiffersError, Standing, first_change
from tuner.train.programs.modules.vmapped import ModuleProgram
from tuner.train.programs.plain_trial import PlainTrial

log = logging.getLogger(__name__)

STEPS = (4, 2)
"""Of the first epoch, and of each later one: two by Python, one that is recorded, and replays."""
_LEAST_STEPS = 6
_STEPS_OF_A_SIZE = (1,)
_RECORDED_AFTER = 2
_STEP_SHARE = 0.02
"""Of the size of all parameters, which is what a step changes at most: however they are scaled, they move."""
_STRICT = 0.03
"""Of the tolerance of later checks. Rounding alone stays a hundred times below; where it grows, chance would decide."""
_SOME = 0.1
"""The strength of each technique that changes batches and is on."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a trial is after the steps of an epoch and an evaluation."""

    parameters: RowState
    buffers: RowState
    outputs: Tensor
    training_modes: Mapping[str, bool]
    evaluation_modes: Mapping[str, bool]


def difference_as_rows(members: Sequence[Member], problem: Problem, *, in_size_only: bool = False) -> str | None:
    """Why modules cannot be trained as rows of a stack, or None if they compute the same there, in float32.

    Args:
        members: Two trials of one configuration, with different seeds.
        problem: What they learn.
        in_size_only: They compute the same in another size, as is proven.
    """
    with generators_kept():
        try:
            _Proof(members, replace(problem, half=False), in_size_only=in_size_only).run()
        except DiffersError as error:
            return str(error)
    return None


class _Proof:
    """Trials, trained both ways."""

    def __init__(self, members: Sequence[Member], problem: Problem, *, in_size_only: bool) -> None:
        self._in_size_only = in_size_only
        self._steps: tuple[int, ...] = _STEPS_OF_A_SIZE if in_size_only else STEPS
        self._least = 1 if in_size_only else _LEAST_STEPS
        self._problem = problem
        self._device = problem.device
        self._inputs = problem.train.inputs[: module_rows(problem.train.inputs)]
        self._members = [_with_plain_steps(member) for member in members]
        self._num_steps = num_steps(len(problem.train), members[0].settings.batch_size)

    def run(self) -> None:
        """Train both ways and compare.

        Raises:
            DiffersError: they differ.
        """
        plans = self._plans()
        written = [] if self._in_size_only else self._as_written(plans)
        try:
            with warnings.catch_warnings():
                # What `vmap` runs one by one, for want of a rule, gains nothing.
                warnings.filterwarnings("error", "There is a performance drop", UserWarning)
                rows = self._as_rows(plans)
            alone = self._alone(*plans[0])
        except DiffersError:
            raise
        except Exception as error:  # whatever a user's module raises under vmap is a reason not to use it
            raise DiffersError(in_words(error)) from error
        for ours, theirs in zip(rows, written[1:], strict=not self._in_size_only):
            for own, expected, began in zip(ours, theirs, written[0], strict=True):
                _compare(own, expected, began.parameters)
        self._compare_bits(rows[0], alone)

    def _plans(self) -> list[tuple[EpochPlan, int]]:
        """The plan of each epoch, and how many of its steps are done."""
        found: list[tuple[EpochPlan, int]] = []
        done = 0
        while done < self._least or len(found) < len(self._steps):
            epoch = len(found)
            inputs, batch_size = self._problem.train.inputs, self._members[0].settings.batch_size
            orders = [epoch_order(inputs, seed=m.seed, epoch=epoch, batch_size=batch_size) for m in self._members]
            numbers = epoch * self._num_steps + np.arange(self._num_steps)[:, None]
            plan = EpochPlan(
                order_KN=torch.stack(orders).to(self._device),
                learning_rate_SK=np.ones((self._num_steps, len(orders))),
                step_SK=numbers.repeat(len(orders), axis=1),
            )
            count = min(self._steps[min(epoch, 1)], self._num_steps)
            found.append((plan, count))
            done += count
        return found

    # As written

    def _as_written(self, plans: Sequence[tuple[EpochPlan, int]]) -> list[list[_Stage]]:
        """The start, and the stages of all epochs, of each trial.

        Raises:
            DiffersError: something moves that a stack would not move.
        """
        try:
            trials = [self._trial(member) for member in self._members]
            modules = [trial.module for trial in trials]
            if reason := difference(modules):
                raise DiffersError(reason)
            found = [[_stage(trial.module, torch.empty(0), {}, {}) for trial in trials]]
            watches = [Standing(trial) for trial in trials]
            for plan, count in plans:
                pairs = enumerate(zip(trials, watches, strict=True))
                found.append([self._epoch(trial, watch, plan.row(row), count) for row, (trial, watch) in pairs])
        except DiffersError:
            raise
        except Exception as error:  # which it will raise in its trial, too
            raise DiffersError(f"it fails by itself{place_in_words(error)}") from error
        return found

    def _trial(self, member: Member) -> PlainTrial:
        trial = PlainTrial(member, self._problem)
        for part in trial.module.modules():
            if type(part) is nn.Dropout:
                part.p = 0.0
        _drop_nothing(trial.module)
        return trial

    def _epoch(self, trial: PlainTrial, watch: Standing, plan: EpochPlan, count: int) -> _Stage:
        trial.begin(plan, 0)
        watch.begin_epoch()
        modes = _modes(trial.module)
        trial.train_steps(plan, 0, count)
        watch.end_steps()
        outputs = trial.outputs(self._inputs)
        watch.end_evaluation()
        return _stage(trial.module, outputs, modes, _modes(trial.module))

    # As rows

    def _as_rows(self, plans: Sequence[tuple[EpochPlan, int]]) -> list[list[_Stage]]:
        """The stages of all epochs, of each row of a stack."""
        self._copies = [rewritten(member.make_module(), self._device).to(self._device) for member in self._members]
        for module in self._copies:
            _drop_nothing(module)
        stack = self._program(self._members, fused=True)
        return [self._stages(stack, plan, count) for plan, count in plans]

    def _alone(self, plan: EpochPlan, count: int) -> list[_Stage]:
        """The stage after the first epoch of those that are compared by their bits, each computed by itself."""
        members = self._members[: 1 if self._in_size_only else None]
        return self._stages(self._program(members, fused=False), plan.rows([*range(len(members))]), count)

    def _program(self, members: Sequence[Member], *, fused: bool) -> ModuleProgram:
        return ModuleProgram(
            members, self._problem, fused=fused, modules=self._copies[: len(members)], record_after=_RECORDED_AFTER
        )

    def _stages(self, program: ModuleProgram, plan: EpochPlan, count: int) -> list[_Stage]:
        """The stage of each row of a program after the steps of an epoch and an evaluation."""
        program.train_steps(plan, 0, count)
        modes = _modes(program.modules[0])
        outputs = program.outputs(self._inputs)
        evaluation_modes = _modes(program.modules[0])
        tensors = [program.named_tensors(row) for row in range(len(program.members))]
        return [
            _Stage(_copies(parameters), _copies(buffers), outputs[row], modes, evaluation_modes)
            for row, (parameters, buffers) in enumerate(tensors)
        ]

    def _compare_bits(self, rows: Sequence[_Stage], alone: Sequence[_Stage]) -> None:
        """A row's bits must not depend on how many others there are: they are those of a module alone.

        Raises:
            DiffersError: they are not.
        """
        tolerance = 0.0 if self._device.type == "cpu" else SMALL
        for row, single in zip(rows, alone, strict=False):
            pairs = [(single.outputs, row.outputs)]
            pairs += [(single.parameters[name], t) for name, t in row.parameters.items()]
            pairs += [(single.buffers[name], t) for name, t in row.buffers.items()]
            for ours, theirs in pairs:
                if not torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True):
                    raise DiffersError("a layer of it rounds otherwise when several trials are computed at once")


def _compare(own: _Stage, expected: _Stage, began: RowState) -> None:
    """Compare a row with the module as written.

    Raises:
        DiffersError: they differ.
    """
    modes = {**expected.training_modes, **{f"eval {name}": m for name, m in expected.evaluation_modes.items()}}
    ours = {**own.training_modes, **{f"eval {name}": m for name, m in own.evaluation_modes.items()}}
    if name := first_change(modes, ours):
        raise DiffersError(f"train() or eval() treats {name.removeprefix('eval ')} otherwise in a stack")
    changes = {name: float((t - began[name]).norm()) for name, t in expected.parameters.items()}
    if name := all_agree(own.parameters, expected.parameters, changes=changes, share=_STRICT):
        raise DiffersError(f"as a row of a stack it trains {name} otherwise than its own code does")
    if name := all_agree(own.buffers, expected.buffers, changes={}, share=_STRICT):
        raise DiffersError(f"as a row of a stack it leaves other values in its buffer {name}")
    if not agrees(own.outputs, expected.outputs, change=float(expected.outputs.norm()), whole=0.0, share=_STRICT):
        raise DiffersError("as a row of a stack it gives other outputs than its own code does")


def _copies(tensors: RowState) -> RowState:
    return {name: t.detach().clone() for name, t in tensors.items()}


def _stage(
    module: nn.Module, outputs: Tensor, training_modes: Mapping[str, bool], evaluation_modes: Mapping[str, bool]
) -> _Stage:
    parameters = {name: p.detach().clone() for name, p in module.named_parameters()}
    owned = {id(buffer) for dropout in keyed_dropouts(module) for buffer in dropout.buffers()}
    buffers = {name: b.detach().clone() for name, b in module.named_buffers() if id(b) not in owned}
    return _Stage(parameters, buffers, outputs, training_modes, evaluation_modes)


def _modes(module: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in module.named_modules()}


def _drop_nothing(module: nn.Module) -> None:
    for dropout in keyed_dropouts(module):
        dropout.set_rate(0.0)


def _with_plain_steps(member: Member) -> Member:
    """The trial with steps of plain gradient descent that are clipped to a share of its parameters."""
    sizes = [float(p.detach().abs().float().norm()) for p in looked_at(member).parameters() if p.requires_grad]
    step = _STEP_SHARE * max(sum(size**2 for size in sizes) ** 0.5, 1e-3)
    own = member.settings
    settings = replace(
        own, optimizer="sgd", learning_rate=1.0, momentum=0.0, nesterov=False, weight_decay=0.0, l1=0.0,
        weight_noise=0.0,
        clip_norm=step, max_norm=None, averaging="none",
        mixup=_SOME * bool(own.mixup), label_smoothing=_SOME * bool(own.label_smoothing),
        input_dropout=_SOME * bool(own.input_dropout),
        augmentation=replace(own.augmentation, strength=_SOME * bool(own.augmentation.strength)),
    )  # fmt: skip
    return replace(member, settings=settings)
