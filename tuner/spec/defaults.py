"""From the sweep file's blocks to what a trial needs: the resolved search space, and a trial's resolved settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from tuner.records import Params, ParamValue
from tuner.spec.by_layer import by_layer
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, hyperparameters_of, is_builtin
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.known.networks import MODEL
from tuner.spec.model import DimensionSpec, SweepSpec
from tuner.spec.space import ARCHITECTURE_TIER, REGULARISATION_TIER, Dimension, Kind, Scale, Space

OWN_TIER = 2
"""Of a hyperparameter of the user's own that has no tier in the sweep file."""
UNDECAYED = ("constant", "one_cycle")
"""Schedules that do not read `lr_decay`."""
_BATCHES = (128, 64, 32)
"""What `batch_size: auto` chooses from."""
_STEPS_OF_AN_EPOCH = 64
"""So many leave it the larger batch: with 128 always, 30 epochs of a table of 500 rows were 120 steps, and the mean of
the five best trials had an eighth more error than with 32 on nine tables of 800 to 3,000 rows."""


def build_space(spec: SweepSpec) -> Space:
    """The search space of a checked sweep file, or the default space of its model and optimiser.

    In tier order; within a tier as written; a parameter that another one's `when` names comes before it.
    """
    given = _default_dimensions(spec) if spec.space is None else spec.space
    dimensions = [resolve_dimension(name, part, spec=spec) for name, part in given.items()]
    return Space(tuple(_in_order([*_architecture(spec), *dimensions])))


def _architecture(spec: SweepSpec) -> list[Dimension]:
    """The choice among models, where there is one."""
    kinds = spec.model.kinds
    if len(kinds) < 2:
        return []
    return [Dimension(name=MODEL, kind="categorical", tier=ARCHITECTURE_TIER, default=kinds[0], choices=kinds)]


def _default_dimensions(spec: SweepSpec) -> dict[str, DimensionSpec]:
    """The dimensions that are searched where `space` is left out: their standard ranges, without what is fixed."""
    fixed = fixed_values(spec)
    names = dict.fromkeys(
        h.name
        for kind in spec.model.kinds
        for h in hyperparameters_of(kind)
        if h.is_searched_by_default(kind) and h.name not in fixed and h.serves(spec.training.optimizer)
    )
    unread = {"lr_decay"} if spec.training.schedule in UNDECAYED else set()
    if by_layer(fixed.get("hidden_units")):
        unread.add("hidden_layers")
    if not is_builtin(spec.model.kind) or spec.model.kinds == ("linear",):
        unread.add("dropout")  # a factory of the user's need not read it, and one layer has no hidden units
    return {name: DimensionSpec() for name in names if name not in unread}


def fixed_values(spec: SweepSpec) -> dict[str, ParamValue]:
    """The hyperparameters that the sweep file fixes, by name; for a word or a switch its default counts as fixed."""
    return spec.training.fixed | spec.model.settings


def settings_for(spec: SweepSpec, params: Params) -> dict[str, ParamValue]:
    """The value of every known hyperparameter of the training and the model, and of the user's own, for one trial.

    Defaults, overridden by what the sweep file fixes, overridden by the trial's parameters. What is optional,
    such as `clip_norm`, is absent where it is neither fixed nor searched.
    """
    kind = spec.model.kind_in(params)
    fixed = _fixed_of(kind, spec)
    optimizer = params.get("optimizer", fixed["optimizer"])
    schedule = params.get("schedule", fixed["schedule"])
    values = dict(_defaults(kind, str(optimizer)))
    if schedule == "cosine":
        values["lr_decay"] = 1.0
    values |= fixed | dict(params)
    if listed := by_layer(values.get("hidden_units")):
        values["hidden_layers"] = len(listed)
    return values


def batch_examples(batch_size: ParamValue, *, num_train: int) -> int:
    """Examples in a mini-batch, of a trial whose `batch_size` this is."""
    if batch_size == "auto":
        batch_size = next((size for size in _BATCHES if num_train >= size * _STEPS_OF_AN_EPOCH), _BATCHES[-1])
    return num_train if batch_size == "full" else min(int(batch_size), num_train)


def trains_in_parts(spec: SweepSpec, values: Mapping[str, ParamValue]) -> bool:
    """Whether a part of a trial's network is frozen or trained at another rate."""
    asked = (values.get("train_last"), values.get("unfreeze_every_epochs"), *spec.training.freeze)
    return any(value is not None for value in asked) or float(values["body_learning_rate_factor"]) != 1.0


def _fixed_of(kind: str, spec: SweepSpec) -> dict[str, ParamValue]:
    """The fixed values that one of the models has."""
    fixed = fixed_values(spec)
    if not spec.model.choices:
        return fixed
    own = {h.name for h in hyperparameters_of(kind)}
    return {name: value for name, value in fixed.items() if name in own}


def loop_values(spec: SweepSpec, params: Params) -> dict[str, ParamValue]:
    """What the user's own training code is given for one trial: what is searched, and what the sweep file fixes.

    A parameter whose `when` does not hold has its default.
    """
    return fixed_for_loop(spec) | {d.name: d.default for d in build_space(spec)} | dict(params)


def fixed_for_loop(spec: SweepSpec) -> dict[str, ParamValue]:
    """The hyperparameters under `training:` that are not as if left out."""
    fields = type(spec.training).model_fields
    return {name: value for name, value in spec.training.fixed.items() if value != fields[name].default}


@lru_cache(maxsize=64)
def _defaults(model: str, optimizer: str) -> dict[str, ParamValue]:
    return {h.name: h.default_for(optimizer, model) for h in hyperparameters_of(model) if not h.optional}


def resolve_dimension(name: str, given: DimensionSpec, *, spec: SweepSpec) -> Dimension:
    """One dimension with all that its name says of it filled in; `given` must have passed the checks."""
    known = HYPERPARAMETERS.get(name)
    optimizers = searched_optimizers(spec)
    low, high = _range(given, known, optimizers)
    choices = _choices(given, known, spec.model.kind)
    kind = "categorical" if choices else given.type or (known.kind if known else _kind_as_written(given))
    asked = given.tier or (known.tier if known else OWN_TIER)
    tier = REGULARISATION_TIER if asked == "regularisation" else asked
    when = {k: tuple(v) if isinstance(v, list) else (v,) for k, v in given.when.items()}
    models = models_with(name, spec)
    if 0 < len(models) < len(spec.model.kinds):
        when = {MODEL: models, **when}
        tier = tier if spec.model.kind in when[MODEL] else ARCHITECTURE_TIER
    dimension = Dimension(
        name=name,
        kind=kind,
        tier=tier,
        default=0.0,
        low=0.0 if choices else low,
        high=0.0 if choices else high,
        choices=choices,
        scale="linear" if choices else _scale(given.log, known),
        step=None if choices else given.step or (known.step if known else None),
        when=when,
    )
    model = spec.model.kind if spec.model.kind in models or not models else models[0]
    return replace(dimension, default=_default(given, known, dimension, (optimizers[0], model)))


def guessed_configuration(spec: SweepSpec, space: Space) -> Params | None:
    """All guesses of the file together, the others at their defaults; None where there are none."""
    parts = ((name, part.guess) for name, part in (spec.space or {}).items() if name in space.names)
    asked = {name: _typed(guess, space[name]) for name, guess in parts if guess is not None}
    return space.complete(asked) if asked else None


def models_with(name: str, spec: SweepSpec) -> tuple[str, ...]:
    """Of the models that trials may have, those that a hyperparameter is one of."""
    models = HYPERPARAMETERS[name].models if name in HYPERPARAMETERS else None
    none = {"linear"} if name in ("dropout", "dropout_last") else set()
    kinds = [kind for kind in spec.model.kinds if kind not in none]
    return tuple(kind for kind in kinds if models is None or kind in models)


def searched_optimizers(spec: SweepSpec) -> tuple[str, ...]:
    """The optimisers that trials may use: the fixed one, or those searched, the standard one first."""
    part = (spec.space or {}).get("optimizer")
    if part is None:
        return (spec.training.optimizer,)
    choices = [str(c) for c in part.choices or HYPERPARAMETERS["optimizer"].choices]
    return tuple(sorted(choices, key=lambda c: c != (_stated(part) or HYPERPARAMETERS["optimizer"].default)))


def _range(given: DimensionSpec, known: Hyperparameter | None, optimizers: Sequence[str]) -> tuple[float, float]:
    ranges = [known.range_for(o) for o in optimizers] if known else [(0.0, 0.0)]
    low = min(r[0] for r in ranges) if given.low is None else given.low
    high = max(r[1] for r in ranges) if given.high is None else given.high
    return float(low), float(high)


def _choices(given: DimensionSpec, known: Hyperparameter | None, model: str) -> tuple[ParamValue, ...]:
    if given.choices is None:
        left_out = given.low is None and given.high is None
        return known.choices_for(model) if known and left_out else ()
    numbers = [c for c in given.choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if known and known.kind == "float":
        return tuple(c if isinstance(c, str) else float(c) for c in given.choices)
    if known and known.kind == "int":
        return tuple(c if isinstance(c, str) else int(c) for c in given.choices)
    if len(numbers) == len(given.choices) and any(isinstance(c, float) for c in numbers):
        return tuple(float(c) for c in numbers)
    return tuple(given.choices)


def _kind_as_written(given: DimensionSpec) -> Kind:
    return "int" if all(isinstance(v, int) for v in (given.low, given.high, given.step or 1)) else "float"


def _scale(log: bool | None, known: Hyperparameter | None) -> Scale:
    usual: Scale = known.scale if known else "linear"
    match log:
        case None:
            return usual
        case True:
            return "log" if usual == "linear" else usual
        case False:
            return "linear"


def _default(
    given: DimensionSpec, known: Hyperparameter | None, dimension: Dimension, used_by: tuple[str, str]
) -> ParamValue:
    """The default as given, or the known one; if that lies outside, the middle (of regularisation: the lightest)."""
    if (stated := _stated(given)) is not None:
        return _typed(stated, dimension)
    if known:
        usual = known.default_for(*used_by) if known.searched_default is None else known.searched_default
        if dimension.contains(usual):
            return usual
        if dimension.step is not None and not isinstance(usual, str) and dimension.low <= usual <= dimension.high:
            return dimension.from_unit(dimension.to_unit(usual))  # the nearest of its grid
        if known.tier == REGULARISATION_TIER and dimension.ordered:
            return _lightest(dimension)
    return dimension.from_unit(0.5) if dimension.ordered else dimension.choices[0]


def _stated(given: DimensionSpec) -> ParamValue | None:
    """The default that the file states: a guess that the user is sure of, before what it calls the default."""
    return given.guess if given.guess is not None and given.sure == "much" else given.default


def _lightest(dimension: Dimension) -> ParamValue:
    if dimension.kind == "categorical":
        return dimension.choices[0]
    return int(dimension.low) if dimension.kind == "int" else dimension.low


def _typed(value: ParamValue, dimension: Dimension) -> ParamValue:
    """A value as the dimension's own kind of number: 1 as 1.0 for a float."""
    if isinstance(value, bool | str):
        return value
    if dimension.kind == "categorical":
        return next((c for c in dimension.choices if c == value and not isinstance(c, bool)), value)
    return int(value) if dimension.kind == "int" else float(value)


def _in_order(dimensions: Iterable[Dimension]) -> list[Dimension]:
    """By tier, except that a dimension waits for those that its `when` names. A cycle is broken where it starts."""
    waiting = sorted(dimensions, key=lambda d: d.tier)
    ordered: list[Dimension] = []
    while waiting:
        missing = {d.name for d in waiting}
        ready = next((d for d in waiting if missing.isdisjoint(d.when)), waiting[0])
        waiting.remove(ready)
        ordered.append(ready)
    return ordered
