"""What the advice rests on, and what it comes to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tuner.diagnose.bounds import BoundFinding
from tuner.diagnose.curves import Flag
from tuner.diagnose.error_parts import ErrorParts
from tuner.diagnose.feasibility import Feasibility
from tuner.diagnose.importance import Importance
from tuner.records import Json, Params
from tuner.spec.space import Space


@dataclass(frozen=True, slots=True)
class Step:
    """A change to make."""

    key: str
    """Where in the sweep file; empty if the next thing to do is a command or lies outside it."""
    change: str
    """What to write there, or to do, in the imperative."""
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the advice rests on."""

    best: Params | None
    """Of the best finished trial."""
    parts: ErrorParts | None
    """Of the best finished trial."""
    flags: Sequence[Flag]
    """Of the best finished trial."""
    bounds: Sequence[BoundFinding]
    importances: Sequence[Importance]
    feasibility: Feasibility
    space: Space
    kept: Collection[str] = ()
    """Hyperparameters of the space that had one value in all trials."""
    training: Mapping[str, Json]
    """The `training` block of the sweep file."""
    strategy: str = ""
    """`search.strategy` of the sweep file."""
    images: bool = False
    """Whether the examples are images, which can be augmented."""
    told_apart: bool = False
    """Whether a classifier tells train from dev examples."""
    telling: Sequence[str] = ()
    """Inputs that tell the target of nearly every example by themselves."""
    size_is_enough: bool = False
    """Whether networks of half the parameters of the largest, or fewer, have fitted the training set as well."""
    folds: str = ""
    """Why to cross-validate; empty where there is no reason to."""
    average: int = 0
    """So many of the best trials predict better together than the winner alone; 0 if that is not shown."""
    num_ties: int
    """Trials that cannot be told from the best, itself included; 0 if that is not known."""
    model: str = ""
    """`model.kind` of the sweep file."""
    norm: str | None = None
    """`model.norm` of the sweep file; None where it is left to the model's default."""
    confirmed: bool
    """Whether the best trials were trained again on fresh seeds."""
    own_code: bool = False
    """Whether the user's own code trains, whose keys are not ours to name."""
    testable: bool = True
    """Whether there are test examples set aside."""
    ended: bool = False
    """Whether the search has ended."""
    tested: bool = False
    """Whether the best trial was evaluated on the test set."""
    other_tested: bool = False
    """Whether another trial was, which is no longer the best."""
