"""Which users' modules are trained together as rows of a stack, which as written, and why."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tuner.models.build import Maker, build_module, transfer_for
from tuner.models.rewritten import rewritten
from tuner.records import DataInfo, ParamValue
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec
from tuner.train.device.gpus import without_tf32
from tuner.train.program import Member, Problem, Program, looked_at
from tuner.train.programs.fusion import PER_TRIAL, SWITCHED, fusion_key
from tuner.train.programs.modules.fusable import plainly_unfusable
from tuner.train.programs.modules.grouped import Group
from tuner.train.programs.modules.proof import difference_as_rows
from tuner.train.programs.modules.recheck import Recheck
from tuner.train.programs.modules.stackable import difference, signature, skeleton
from tuner.train.programs.modules.vmapped import ModuleProgram
from tuner.train.programs.plain import PlainProgram
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.way import Case, Choice, Way, choose

log = logging.getLogger(__name__)

PROOF_SEEDS = (0, 1)
"""Of the trials of every proof, so that a verdict does not depend on whose turn came first."""


@dataclass(frozen=True, slots=True)
class _AsWritten:
    """The group of the trials that the plain loop trains for one reason."""

    reason: str


class Structures:
    """See `grouped.Grouping`. A structure is all that the answer depends on, and is looked at once."""

    def __init__(
        self,
        spec: SweepSpec,
        info: DataInfo,
        problem: Problem,
        *,
        say: Callable[[Choice], None],
        open_trial: Callable[[Member], PlainTrial],
    ) -> None:
        """Look at nothing yet.

        Args:
            spec: The sweep.
            info: Of the data.
            problem: What trials learn.
            say: Told why a trial is trained as written.
            open_trial: The plain loop around one trial.
        """
        self._spec = spec
        self._info = info
        self._problem = problem
        self._rounds = problem.device.type == "cuda" and spec.training.precision != "float32"
        self._say = say
        self._open_trial = open_trial
        self._verdicts: dict[Hashable, str | None] = {}
        """Why trials of a structure cannot be fused, None where they can."""
        self._proven: set[Hashable] = set()
        """The kinds of modules that have been proven in one size. It is the size of a trial: in others, its default for
        one, a module may be too large to be built, or raise."""
        self._refused: dict[Hashable, str] = {}
        """Why modules of a make are not fused any more, one of which was found to differ while it trained."""
        self.tell: Callable[[bytes], None] | None = None
        """Told what has been found out, which `take` of other processes of the run takes."""

    def group_of(self, member: Member) -> Group:
        if member.begun_as_written:
            return _AsWritten(str(choose(Case(begun_as_written=True)).reason))
        values = member.settings.model
        structure = self._make(values), fusion_key(self._spec, values), signature(looked_at(member))
        reason = self.refusal(structure)
        if reason is None:
            if structure not in self._verdicts:
                self._verdicts[structure] = self._verdict(member)
            reason = self._verdicts[structure]
        choice = choose(Case(differs=reason))
        if choice.way is Way.TOGETHER:
            return structure
        self._say(choice)
        return _AsWritten(str(choice.reason))

    def open_group(self, group: Group, members: Sequence[Member]) -> Program:
        if isinstance(group, _AsWritten):
            return PlainProgram(members, self._open_trial, reason=group.reason)
        return ModuleProgram(members, self._problem)

    def recheck(self, members: Sequence[Member]) -> Recheck:
        checked = [] if self._rounds else members  # what is rounded away is no difference
        return Recheck(checked, self._problem, every=self._spec.training.fuse == "verify")

    def refuse(self, group: Group, reason: str) -> None:
        assert isinstance(group, tuple)
        self._refused[group[0]] = reason
        self._tell_others(("refused", group[0], reason))
        log.error(
            "%s must not be fused, as was found while a trial of it trained: %s. From now on its like is trained as "
            "written, and trials on their way begin again. Do not trust those that have ended: run the sweep anew with "
            "`fuse: off`",
            self._spec.model.kind, reason,
        )  # fmt: skip

    def refusal(self, group: Group) -> str | None:
        return self._refused.get(group[0]) if isinstance(group, tuple) else None

    def was_found_out(self, reason: str | None) -> bool:
        """Whether trials were fused before it was found that they must not be, for this reason."""
        return reason in self._refused.values()

    def take(self, found: bytes) -> None:
        """Take what another process of this run has found out, so that it is not done, or trusted, again here."""
        match pickle.loads(found):
            case ("proven", kind):
                self._proven.add(kind)
            case ("refused", make, reason):
                self._refused[make] = reason

    def _tell_others(self, found: tuple[Hashable, ...]) -> None:
        if self.tell is not None:
            try:
                self.tell(pickle.dumps(found))
            except (pickle.PicklingError, TypeError, AttributeError) as error:  # it names what is only in this process
                log.debug("others must find out by themselves", exc_info=error)

    def _verdict(self, member: Member) -> str | None:
        """Why trials like this one cannot be fused: the same whichever of those in its size comes first."""
        if reason := plainly_unfusable(member, looked_at(member), self._problem.device):
            return reason
        members = [self._usual(member, seed=seed) for seed in PROOF_SEEDS]
        if signature(looked_at(member)) != signature(looked_at(members[0])):
            own = [m.make_module() for m in (member, self._usual(member, seed=member.seed))]
            if reason := difference([rewritten(module, self._problem.device) for module in own]):
                return reason  # it keeps a value that differs among the trials of a stack
        kind = self._kind(members[0])
        known = kind in self._proven
        reason = self._difference(members, in_size_only=known)
        if reason is None:
            self._proven.add(kind)
            if not known:
                self._tell_others(("proven", kind))
        return reason

    def _difference(self, members: Sequence[Member], *, in_size_only: bool) -> str | None:
        with without_tf32():
            return difference_as_rows(members, self._problem, in_size_only=in_size_only)

    def _kind(self, member: Member) -> Hashable:
        """All but sizes that a structure consists of."""
        return self._make(member.settings.model), skeleton(looked_at(member))

    def _make(self, values: Mapping[str, ParamValue]) -> Hashable:
        """What there is of a fusion key besides sizes."""
        return fusion_key(self._spec, {n: v for n, v in values.items() if type(v) is not int or n in SWITCHED})

    def _usual(self, member: Member, *, seed: int) -> Member:
        """A trial of another seed, and with the default values of all that may differ within a stack."""
        default = settings_for(self._spec, build_space(self._spec).default())
        values = {n: default[n] if n in PER_TRIAL and n in default else v for n, v in member.settings.model.items()}
        return replace(
            member,
            seed=seed,
            settings=replace(member.settings, model=values),
            make_module=Maker(partial(build_module, self._spec, values, self._info, seed=seed)),
            transfer=transfer_for(self._spec, values, self._info, None),
        )
