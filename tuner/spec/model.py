"""The sweep file as typed values. Reading one, with positions and suggestions, is `tuner.spec.reader`.

Each block has a file in `tuner/spec/blocks/`, and the rest of the code finds all of them here. Each class documents its
fields below them; `docs/sweep-file.md` is generated from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import Field, model_validator

from tuner.plugins import Kind, place_of
from tuner.spec.blocks.data import NO_DATA, DataSpec, FoldsSpec, SplitSpec
from tuner.spec.blocks.network import ModelSpec
from tuner.spec.blocks.objective import ConstraintSpec, FurtherObjectiveSpec, ObjectiveSpec
from tuner.spec.blocks.reports import ReportsSpec
from tuner.spec.blocks.resources import ResourcesSpec
from tuner.spec.blocks.search import FinalistsSpec, LimitsSpec, PopulationSpec, SearchSpec, StopSpec
from tuner.spec.blocks.space import DimensionSpec
from tuner.spec.blocks.training import EarlyStoppingSpec, TrainingSpec
from tuner.spec.by_layer import with_texts
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.metrics import METRICS
from tuner.spec.known.names import MAX_STUDY_NAME, STUDY_NAME
from tuner.spec.known.networks import MODELS
from tuner.spec.values import Baselines, Part, Trackers

__all__ = [
    "NO_DATA", "OWN_MODEL", "ConstraintSpec", "DataSpec", "DimensionSpec", "EarlyStoppingSpec",
    "FinalistsSpec", "FoldsSpec", "FurtherObjectiveSpec", "LimitsSpec", "LoopKind", "ModelSpec", "ObjectiveSpec",
    "PopulationSpec", "ReportsSpec", "ResourcesSpec", "SearchSpec", "SplitSpec", "StopSpec", "SweepSpec",
    "TrainingSpec",
]  # fmt: skip

OWN_MODEL = "own training code"
"""What stands for the model where `command:` or `trainer:` trains."""
LoopKind = Literal["command", "trainer"]


_SOURCES = ("source", "dev", "test")
_NAMED: tuple[tuple[str, str, Kind, Collection[str]], ...] = (
    ("model", "kind", "models", (*MODELS, OWN_MODEL)),
    ("objective", "metric", "metrics", (*METRICS, "auto")),
)
"""A block, a key in it, the plug-ins that may be named there, and tuner's own names."""


class SweepSpec(Part):
    """A whole sweep file."""

    study: Annotated[str, Field(min_length=1, max_length=MAX_STUDY_NAME, pattern=STUDY_NAME)]
    """Name of the study, and of its folder under `results/`."""
    data: DataSpec = DataSpec(source=NO_DATA)
    """Where the examples come from; required, except where `command:` or `trainer:` trains. See [below](#data)."""
    model: ModelSpec = ModelSpec()
    command: Annotated[str, Field(min_length=1)] | None = None
    """A command that trains one trial, instead of a network that tuner trains: `python train.py --lr {learning_rate}`.
    Every `{name}` becomes the trial's value; see [your code](your-code.md)."""
    trainer: Annotated[str, Field(min_length=1)] | None = None
    """A function of yours that trains one trial, `package.module:function` or `path/to/file.py:function`; it is given a
    [handle](your-code.md#a-function)."""
    folder: Annotated[str, Field(min_length=1)] | None = None
    """Folder that the command runs in; that of the sweep file if left out."""
    reports: ReportsSpec | None = None
    """How to read the epochs of a command that nobody will edit. See [below](#reports)."""
    objective: ObjectiveSpec = ObjectiveSpec()
    constraints: list[ConstraintSpec] = Field(default_factory=list)
    """Bounds that a network must keep, such as `{metric: parameters, max: 50000}`."""
    space: dict[str, DimensionSpec] | None = None
    """Hyperparameters to search; left out: the default space of the model and the optimiser, in Ng's order."""
    training: TrainingSpec = TrainingSpec()
    search: SearchSpec = SearchSpec()
    finalists: FinalistsSpec | None = None
    baselines: Baselines = "auto"
    """Simple models, trained beside the sweep on the same examples, that
    [reports](reports.md#is-a-network-worth-it) hold the networks against: `guess`, `linear`, `boosting` and `forest`.
    `auto`: those that suit the data."""
    answer: Literal["auto", "winner", "average"] = "auto"
    """What [predicts](reports.md#an-average-of-the-best-trials), is tested and exported: the winner, or the mean of the
    predictions of the best trials, two to five, as many as are best together on dev. `auto`: that mean where the model
    is `tabular`, there is one objective without constraints, and the mean is no worse on dev."""
    track: Trackers = Field(default_factory=list)
    """Where curves and results are kept beside the study, for tools that you look at: `tensorboard`, `mlflow`, `wandb`,
    or a [tracker of yours](trackers.md#a-tracker-of-your-own). See [trackers](trackers.md)."""
    limits: LimitsSpec = LimitsSpec()
    resources: ResourcesSpec | None = None
    root: str = Field(default=".", exclude=True)
    """Folder of the sweep file, absolute; set by the reader, not written in the file."""

    @property
    def loop(self) -> LoopKind | None:
        """The key that names the user's own training code; None where tuner trains a network."""
        if self.command is not None:
            return "command"
        return "trainer" if self.trainer is not None else None

    @property
    def has_data(self) -> bool:
        """Whether tuner reads the data."""
        return self.data.source != NO_DATA

    @model_validator(mode="before")
    @classmethod
    def _name_plugins(cls, values: Any) -> Any:
        """A plug-in's name stands for its path; tuner's own names come first, and a script reports what it likes."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if isinstance(data := values.get("data"), dict):
            named = {key: name for key, name in data.items() if key in _SOURCES and _is_text(name)}
            values["data"] = {**data, **{key: place_of("sources", name) for key, name in named.items()}}
        if values.get("command") is not None or values.get("trainer") is not None:
            return values
        for block, key, kind, own in _NAMED:
            given = values.get(block)
            if isinstance(given, dict) and _is_text(given.get(key)) and given[key] not in own:
                values[block] = {**given, key: place_of(kind, given[key])}
            elif block == "model" and isinstance(given, str) and given not in own:
                values[block] = place_of(kind, given)
        return values

    @model_validator(mode="before")
    @classmethod
    def _name_model(cls, values: Any) -> Any:
        """Own training code takes the place of a model: then all hyperparameters are the user's."""
        values = with_texts(values) if isinstance(values, dict) else values
        if not isinstance(values, dict) or values.get("model") is not None:
            return values
        is_own = values.get("command") is not None or values.get("trainer") is not None
        return {**values, "model": {"kind": OWN_MODEL}} if is_own else values

    @model_validator(mode="before")
    @classmethod
    def _fill_for_model(cls, values: Any) -> Any:
        """What a built-in model has of its own where words of the training, or the preparation, are left out."""
        if not isinstance(values, dict) or _kind(values.get("model")) != "tabular":
            return values
        space: Any = values.get("space")
        searched = set(space) if isinstance(space, dict) else set()
        names = [name for name in ("optimizer", "schedule") if name not in searched]
        words = {name: HYPERPARAMETERS[name].default_for("", "tabular") for name in names}
        filled = {**values, "training": _filled(values.get("training"), words)}
        data = values.get("data")
        if data is not None and not _given(data).get("stream"):
            filled["data"] = _filled(data, {"normalise": "quantile"})
        return filled


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str)


def _kind(model: Any) -> Any:
    return model.kind if isinstance(model, ModelSpec) else model.get("kind") if isinstance(model, dict) else model


def _given(block: Any) -> Any:
    """The keys of a block that were given."""
    return block.model_dump(exclude_unset=True) if isinstance(block, Part) else block or {}


def _filled(block: Any, defaults: Mapping[str, Any]) -> Any:
    given = _given(block)
    if not isinstance(given, dict):
        return block
    return {**defaults, **{name: value for name, value in given.items() if value is not None}}
