"""What must hold of `space:` beyond the types of its values, dimension by dimension."""

from __future__ import annotations

import re
from dataclasses import replace

from tuner.spec.checks.choices import check_choices
from tuner.spec.checks.range import check_range
from tuner.spec.defaults import OWN_TIER, models_with, resolve_dimension, searched_optimizers
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, hyperparameters_of, is_builtin
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.known.names import PARAMETER_NAME, RESERVED_NAMES, RESERVED_PREFIXES, did_you_mean, nearest
from tuner.spec.known.networks import MODEL as MODEL_NAME
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.model import DimensionSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Dimension
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath, show_value
from tuner.spec.values import is_own

MODEL: KeyPath = ("model", "kind")
OPTIMIZER: KeyPath = ("training", "optimizer")
_SURE = 0.85
"""Likeness of two names above which one is taken for a slip of the other."""


def check_dimensions(spec: SweepSpec, findings: Findings) -> dict[str, Dimension]:
    """Check each dimension on its own; those without an error, resolved."""
    sound: dict[str, Dimension] = {}
    if spec.space == {} and not findings.is_unusable(("space",)):
        findings.error(("space",), "names nothing to search", remedy="remove it for the default space", at_key=True)
    for name, part in (spec.space or {}).items():
        before = findings.num_errors
        path: KeyPath = ("space", name)
        if not _check_name(name, part, spec, findings):
            continue
        known = _known(name, part, spec)
        _check_used(name, known, part, spec, findings)
        _check_not_fixed(name, spec, findings)
        if findings.is_unusable(path):
            continue
        if part.choices is not None or (known and known.kind == "categorical"):
            check_choices(path, part, known, findings)
        else:
            check_range(path, part, known, findings, own_code=spec.loop is not None)
        if findings.num_errors > before:
            continue
        dimension = resolve_dimension(name, part, spec=spec)
        if part.default is not None and not dimension.contains(part.default):
            findings.error((*path, "default"), rule_of(dimension))
            continue
        if part.guess is not None and not dimension.contains(part.guess):
            findings.error((*path, "guess"), rule_of(dimension))
            continue
        if part.guess is not None and part.sure == "much" and part.default is not None:
            rule = "has no effect beside a guess with `sure: much`, which takes its place"
            findings.error((*path, "default"), rule, remedy="keep one of them", at_key=True)
            continue
        if part.guess is None and "sure" in part.model_fields_set:
            findings.warn(
                (*path, "sure"), "has no effect without `guess`", remedy="add guess, or remove it", at_key=True
            )
        sound[name] = dimension
    return sound


def _known(name: str, part: DimensionSpec, spec: SweepSpec) -> Hyperparameter | None:
    """What a name says of a dimension: to the user's own training code, nothing of which words or values it takes."""
    known = HYPERPARAMETERS.get(name)
    if known is None or spec.loop is None:
        return known
    if known.kind == "categorical" and part.choices is not None:
        return None
    return replace(known, bounds=None if known.scale == "linear" else known.bounds)


def rule_of(dimension: Dimension) -> str:
    """What must hold of a value of the dimension."""
    if dimension.kind == "categorical":
        return f"must be one of the choices {', '.join(show_value(c) for c in dimension.choices)}"
    number = "a whole number" if dimension.kind == "int" else "a number"
    steps = f" in steps of {dimension.step:g}" if dimension.step else ""
    return f"must be {number} from {dimension.low:g} to {dimension.high:g}{steps}, its range"


def _check_name(name: str, part: DimensionSpec, spec: SweepSpec, findings: Findings) -> bool:
    """Whether this is the name of something that can be searched."""
    path: KeyPath = ("space", name)
    model = " or ".join(spec.model.kinds)
    if name in TrainingSpec.model_fields and name not in HYPERPARAMETERS:
        rule = "is the same for all trials and cannot be searched"
        findings.error(path, rule, remedy=f"write `{name}:` under `training:`", at_key=True)
        return False
    if name in HYPERPARAMETERS:
        return True
    if name == MODEL_NAME and is_builtin(spec.model.kind):
        rule = "is no hyperparameter of `space:`"
        findings.error(path, rule, remedy="write `model: {choices: [...]}`, outside of it", at_key=True)
        return False
    known = list(dict.fromkeys(h.name for kind in spec.model.kinds for h in hyperparameters_of(kind)))
    if is_builtin(spec.model.kind) and not findings.is_unusable(MODEL):
        remedy = did_you_mean(name, known) or f"known: {', '.join(known)}"
        findings.error(path, f"is not a hyperparameter of the {model} or its training", remedy=remedy, at_key=True)
        return False
    if not re.fullmatch(PARAMETER_NAME, name):
        rule = "must be a name of at most 64 letters, digits and `_` that does not begin with a digit"
        findings.error(path, rule, remedy="rename it", at_key=True)
        return False
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        findings.error(path, "is a column of the leaderboard", remedy="rename your hyperparameter", at_key=True)
        return False
    likely = nearest(name, known, cutoff=_SURE)
    if part.tier is None and likely:
        rule = "is a hyperparameter of your own and has no tier"
        findings.error(path, rule, remedy=f'Did you mean "{likely}"? If not, add `tier: {OWN_TIER}`', at_key=True)
        return False
    if part.tier is None:
        rule = f"is a hyperparameter of your own without a tier, searched in tier {OWN_TIER}"
        findings.warn(path, rule, remedy="add `tier: 1`, 2, 3 or regularisation", at_key=True)
    if likely:
        rule = "is passed to your model as a hyperparameter of your own"
        findings.warn(path, rule, remedy=f'Did you mean "{likely}"?', at_key=True)
    return True


def _check_used(
    name: str, known: Hyperparameter | None, part: DimensionSpec, spec: SweepSpec, findings: Findings
) -> None:
    """A hyperparameter that nothing reads only wastes trials."""
    path: KeyPath = ("space", name)
    if known is None or spec.loop is not None:
        return
    model, has_none = " or ".join(spec.model.kinds), not models_with(name, spec)
    if known.models is not None and is_builtin(spec.model.kind) and has_none and not findings.is_unusable(MODEL):
        fitting = " and ".join(sorted(known.models))
        findings.error(path, f"is a hyperparameter of {fitting}, not of {model}", remedy="remove it", at_key=True)
    if findings.is_unusable(OPTIMIZER, ("space", "optimizer")):
        return
    wanted = part.when.get("optimizer", list(searched_optimizers(spec)))
    if is_own(searched_optimizers(spec)[0]):
        return  # what it reads is not known here
    used = [o for o in searched_optimizers(spec) if o in (wanted if isinstance(wanted, list) else [wanted])]
    ignoring = [o for o in used if o not in known.optimizers]
    if not ignoring:
        return
    others = " and ".join(ignoring)
    users = [o for o in used if o in known.optimizers]
    if users:
        remedy = f"add `when: {{optimizer: {users[0] if len(users) == 1 else '[' + ', '.join(users) + ']'}}}`"
        findings.warn(path, f"has no effect where the optimizer is {others}", remedy=remedy, at_key=True)
        return
    if part.when.get("optimizer") is None:
        *most, last = (o for o in OPTIMIZERS if o in known.optimizers)
        fitting = f"{', '.join(most)} or {last}" if most else last
        remedy = f"remove it, or use optimizer {fitting}"
    else:
        remedy = "remove it, or change its `when`"
    findings.error(path, f"has no effect with optimizer {others}", remedy=remedy, at_key=True)


def _check_not_fixed(name: str, spec: SweepSpec, findings: Findings) -> None:
    in_training = name in spec.training.model_fields_set and getattr(spec.training, name) is not None
    if in_training:
        findings.error(
            ("space", name),
            f"is fixed by training.{name} and searched here",
            remedy="remove one of the two",
            at_key=True,
        )
    if name in spec.model.settings:
        findings.error(
            ("space", name), f"is fixed by model.{name} and searched here", remedy="remove one of the two", at_key=True
        )
