"""Trials of one fusion key that are trained in several ways, or in several stacks, behind one program.

How a trial of a user's module is trained must depend on that trial alone, or its curve would depend on its neighbours.
So each trial has a group of its own choosing: a stack of the modules that are like its own, or the plain loop.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from tuner.train.program import EpochPlan, Member, Program, RowState
from tuner.train.programs.modules.recheck import Recheck, RowsDifferError
from tuner.train.programs.modules.vmapped import ModuleProgram
from tuner.train.programs.plain import by_name
from tuner.train.way import Way

Group: TypeAlias = Hashable


class Grouping(Protocol):
    """What knows the groups."""

    def group_of(self, member: Member) -> Group:
        """What a trial is trained in."""
        ...

    def open_group(self, group: Group, members: Sequence[Member]) -> Program:
        """The program of a group's members."""
        ...

    def recheck(self, members: Sequence[Member]) -> Recheck:
        """The checks of a stack of these members."""
        ...

    def refuse(self, group: Group, reason: str) -> None:
        """Fuse no trial of this group any more, nor of others whose modules differ from its own by sizes alone."""
        ...

    def refusal(self, group: Group) -> str | None:
        """Why a group must not be fused any more, whoever has found that out; None if it may be."""
        ...


class GroupedProgram:
    """See `train.program.Program`. Its rows are those of the groups' programs."""

    whole_epochs = False

    def __init__(
        self,
        members: Sequence[Member],
        grouping: Grouping,
        *,
        programs: Mapping[Group, Program] | None = None,
        groups: Sequence[Group] = (),
    ) -> None:
        """Group trials.

        Args:
            members: The trials.
            grouping: Says what each is trained in.
            programs: Those of the groups, if they exist already and hold these members in this order.
            groups: Of the members, if they are known.
        """
        self.members = tuple(members)
        self._grouping = grouping
        self._groups = [*groups] or [grouping.group_of(member) for member in members]
        self._rows: dict[Group, list[int]] = {}
        for row, group in enumerate(self._groups):
            self._rows.setdefault(group, []).append(row)
        of_groups = {group: [self.members[row] for row in rows] for group, rows in self._rows.items()}
        self._programs = programs or {group: grouping.open_group(group, own) for group, own in of_groups.items()}
        stacks = [group for group, program in self._programs.items() if isinstance(program, ModuleProgram)]
        self._checks = {group: grouping.recheck(of_groups[group]) for group in stacks}
        self._place = {row: (group, i) for group, rows in self._rows.items() for i, row in enumerate(rows)}
        self._plan: EpochPlan | None = None
        self._plans: dict[Group, EpochPlan] = {}

    def _at(self, row: int) -> tuple[Program, int]:
        group, place = self._place[row]
        return self._programs[group], place

    def path(self, row: int) -> Way:
        program, place = self._at(row)
        return program.path(place)

    def reason(self, row: int) -> str | None:
        program, place = self._at(row)
        return program.reason(place)

    def state_format(self, row: int) -> str:
        program, place = self._at(row)
        return program.state_format(place)

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._plan = plan
            is_whole = len(self._rows) == 1
            self._plans = {group: plan if is_whole else plan.rows(rows) for group, rows in self._rows.items()}
        for group, program in self._programs.items():
            plan_of_group = self._plans[group]
            if isinstance(program, ModuleProgram):
                if (reason := self._grouping.refusal(group)) is not None:
                    raise RowsDifferError(reason)
                try:
                    for begin, end in self._checks[group].parts(program, plan_of_group, first, last):
                        program.train_steps(plan_of_group, begin, end)
                except RowsDifferError as error:
                    self._grouping.refuse(group, str(error))
                    raise
            else:
                program.train_steps(plan_of_group, first, last)

    def outputs(self, inputs: Tensor) -> Tensor:
        found = {group: self._outputs(group, program, inputs) for group, program in self._programs.items()}
        if len(found) == 1:
            return next(iter(found.values()))
        return torch.stack([found[group][place] for group, place in map(self._place.__getitem__, self._all_rows)])

    def _outputs(self, group: Group, program: Program, inputs: Tensor) -> Tensor:
        outputs = program.outputs(inputs)
        if isinstance(program, ModuleProgram):
            try:
                self._checks[group].compare_outputs(program, inputs, outputs)
            except RowsDifferError as error:
                self._grouping.refuse(group, str(error))
                raise
        return outputs

    @property
    def _all_rows(self) -> range:
        return range(len(self.members))

    def state(self, row: int, *, lent: bool = False) -> RowState:
        program, place = self._at(row)
        return program.state(place, lent=lent)

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        program, place = self._at(row)
        program.load_state(place, state)

    def unsaved(self, row: int) -> str | None:
        program, place = self._at(row)
        return program.unsaved(place)

    def save_best(self, rows: Sequence[int]) -> None:
        for row in rows:
            program, place = self._at(row)
            program.save_best([place])

    def best_weights(self, row: int) -> RowState:
        program, place = self._at(row)
        return program.best_weights(place)

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> GroupedProgram:
        new = [self._grouping.group_of(member) for member in joining]
        groups = [*(self._groups[row] for row in keep), *new]
        programs: dict[Group, Program] = {}
        for group in dict.fromkeys(groups):
            kept = [self._place[row][1] for row in keep if self._groups[row] == group]
            own = [member for member, its in zip(joining, new, strict=True) if its == group]
            known = self._programs.get(group)
            programs[group] = self._grouping.open_group(group, own) if known is None else known.resized(kept, own)
        members = [*(self.members[row] for row in keep), *joining]
        return GroupedProgram(members, self._grouping, programs=programs, groups=groups)

    def gradient_norms(self) -> dict[str, Tensor]:
        return self._by_name([program.gradient_norms() for program in self._programs.values()])

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return self._by_name([program.dead_units(inputs) for program in self._programs.values()])

    def _by_name(self, of_groups: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        if len(of_groups) == 1:
            return dict(of_groups[0])
        found = dict(zip(self._programs, of_groups, strict=True))
        places = map(self._place.__getitem__, self._all_rows)
        return by_name([{name: t[place] for name, t in found[group].items()} for group, place in places])
