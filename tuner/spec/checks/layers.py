"""What must hold of values by layer, and of dropout: that the network has the layers that they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuner.records import ParamValue
from tuner.spec.by_layer import by_layer, by_name, numbers_in
from tuner.spec.defaults import models_with
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, is_builtin
from tuner.spec.model import SweepSpec
from tuner.spec.space import Dimension
from tuner.spec.text.findings import Findings
from tuner.spec.text.problems import KeyPath
from tuner.spec.values import is_own

_BY_LAYER = tuple(h.name for h in HYPERPARAMETERS.values() if h.by_layer is not None)


def check_layers(spec: SweepSpec, sound: Mapping[str, Dimension], findings: Findings) -> None:
    """Check what is given by layer, and warn of rates of dropout layers that the network does not have.

    Args:
        spec: The sweep file.
        sound: The dimensions of `space:` without an error.
        findings: What is found joins these.
    """
    for name in _BY_LAYER:
        for path, value in _listed(name, spec):
            rule, remedy = _refusal(name, value, spec)
            if rule:
                findings.error(path, rule, remedy=remedy, got=value)
    if any(_listed("hidden_units", spec)) and "mlp" in spec.model.kinds:
        _check_widths(spec, findings)
    if any(_listed("dropout", spec)) and (at := _place("dropout_last", spec)):
        rule = "has no effect beside a list of rates in dropout"
        findings.error(at, rule, remedy="write its rate as the last of the list", at_key=True)
    _check_passes(spec, findings)
    is_sound = sound.keys() == (spec.space or {}).keys() and findings.num_errors == 0 and not spec.model.choices
    if is_sound and is_builtin(spec.model.kind) and spec.loop is None:
        _check_dropout(spec, sound, findings)
        _check_lengths(spec, sound, findings)


def _check_passes(spec: SweepSpec, findings: Findings) -> None:
    """Warn of passes with dropout on where no unit is dropped."""
    rates = ("dropout", "dropout_last")
    drops = any(spec.training.fixed.get(name) or name in (spec.space or {}) for name in rates) or spec.space is None
    if spec.training.monte_carlo_passes is not None and is_builtin(spec.model.kind) and not drops:
        rule = "has no effect: dropout is 0"
        findings.warn(("training", "monte_carlo_passes"), rule, remedy="add dropout, or search it", at_key=True)


def _listed(name: str, spec: SweepSpec) -> Iterator[tuple[KeyPath, str]]:
    """Where a hyperparameter is given by layer or by name, fixed or as a choice, and as what."""
    fixed = spec.model.settings if HYPERPARAMETERS[name].of_model else spec.training.fixed
    block: KeyPath = ("model", "settings") if HYPERPARAMETERS[name].of_model else ("training",)
    if numbers_in(fixed.get(name)):
        yield (*block, name), str(fixed[name])
    part = (spec.space or {}).get(name)
    for index, choice in enumerate((part.choices if part else None) or ()):
        if numbers_in(choice):
            yield ("space", name, "choices", index), str(choice)


def _refusal(name: str, value: str, spec: SweepSpec) -> tuple[str, str]:
    """Why a value cannot be by layer in this sweep, and what to do; nothing where it can."""
    kind = spec.model.kind
    if spec.loop is not None:
        return f"is by layer, which is for networks that tuner trains, not for a {spec.loop}", "write one number"
    if name == "hidden_units" and (others := [k for k in models_with(name, spec) or (kind,) if k != "mlp"]):
        return f"is a list of widths, which is for model mlp, not for {' or '.join(others)}", "write one number"
    if name != "hidden_units" and len(spec.model.kinds) > 1:
        return "is by layer, and the models of model.choices have others each", "write one number, or one model"
    if name == "dropout" and not is_builtin(kind):
        return "is a list of rates, which is for built-in models", "write one number, and let your model read it"
    if name in ("weight_decay", "l1") and is_own(spec.training.optimizer):
        return "is by layer, which an optimizer of yours does not read", "make the groups in your optimizer"
    if by_name(value) and name not in ("weight_decay", "l1"):
        return "must be a number, or a list with one for each layer", ""
    return "", ""


def _check_widths(spec: SweepSpec, findings: Findings) -> None:
    """A list of widths says how many layers there are, and branches are added only to what is as wide."""
    part = (spec.space or {}).get("hidden_units")
    all_listed = part is None or all(numbers_in(choice) for choice in part.choices or ())
    at = _place("hidden_layers", spec)
    depth = (spec.space or {}).get("hidden_layers")
    if at and all_listed:
        rule = "has no effect: hidden_units lists the width of each layer, and so says how many there are"
        findings.error(at, rule, remedy="remove it", at_key=True)
    elif depth is not None and part is not None and "hidden_units" not in depth.when:
        numbers = ", ".join(str(choice) for choice in part.choices or () if not numbers_in(choice))
        rule, remedy = "has no effect where hidden_units is a list", f"add `when: {{hidden_units: [{numbers}]}}`"
        findings.warn(("space", "hidden_layers"), rule, remedy=remedy, at_key=True)
    residual = (spec.space or {}).get("residual")
    adds = spec.model.settings.get("residual") is True or residual is not None
    for path, value in _listed("hidden_units", spec):
        if adds and len(set(by_layer(value))) > 1:
            rule = "must list equal widths with residual, which adds a layer's output to its input"
            findings.error(path, rule, remedy="remove residual, or write one width", got=value)


def _check_lengths(spec: SweepSpec, sound: Mapping[str, Dimension], findings: Findings) -> None:
    """A list has a number for each layer of every network of the sweep, where that can be told."""
    if spec.model.kind not in ("mlp", "linear"):
        return
    depths = _depths(spec, sound)
    for name, what, more in (("dropout", "hidden layer", 0), ("weight_decay", "layer", 1), ("l1", "layer", 1)):
        part = (spec.space or {}).get(name)
        if part is not None and {"hidden_units", "hidden_layers"} & part.when.keys():
            continue
        for path, value in _listed(name, spec):
            listed, wrong = by_layer(value), [d + more for d in depths if d + more != len(by_layer(value))]
            if listed and wrong:
                also = "" if not more else " (the output's is one)"
                rule = f"must have a number for each {what}{also}: the network has {' or '.join(map(str, wrong))}"
                remedy = "add `when: {hidden_layers: ...}` to it" if len(depths) > 1 and path[0] == "space" else ""
                findings.error(path, rule, remedy=remedy, got=value)


def _place(name: str, spec: SweepSpec) -> KeyPath:
    """Where a hyperparameter is fixed or searched; nowhere if it is neither."""
    if name in (spec.space or {}):
        return ("space", name)
    if name in spec.model.settings:
        return ("model", "settings", name)
    return ("training", name) if getattr(spec.training, name, None) is not None else ()


def _check_dropout(spec: SweepSpec, sound: Mapping[str, Dimension], findings: Findings) -> None:
    kind, depths = spec.model.kind, _depths(spec, sound)
    for name in ("dropout", "dropout_last"):
        least = 2 if name == "dropout_last" else 1
        lacking = [depth for depth in depths if depth < least]
        at: KeyPath = ("space", name) if name in (spec.space or {}) else ("training", name)
        is_given = at[0] == "space" or bool(getattr(spec.training, name))
        part = (spec.space or {}).get(name)
        if not is_given or not lacking or (part is not None and "hidden_layers" in part.when):
            continue
        layers = "no dropout layer" if max(lacking) == 0 else "one dropout layer, whose rate is `dropout`"
        if len(lacking) == len(depths):
            findings.warn(at, f"has no effect: the {kind} has {layers}", remedy="remove it", at_key=True)
        else:
            rest = f"where hidden_layers is {' or '.join(map(str, lacking))}: the {kind} has {layers} there"
            deep = ", ".join(str(depth) for depth in depths if depth >= least)
            remedy = f"add `when: {{hidden_layers: [{deep}]}}`" if at[0] == "space" else "search deeper networks alone"
            findings.warn(at, f"has no effect {rest}", remedy=remedy, at_key=True)


def _depths(spec: SweepSpec, sound: Mapping[str, Dimension]) -> list[int]:
    """The numbers of dropout layers that networks of a built-in model may have."""
    kind, units = spec.model.kind, sound.get("hidden_units")
    if kind == "transformer":
        return [3]  # two in each block and one at the end
    if kind not in ("mlp", "recurrent"):
        return [0 if kind == "linear" else 1]
    widths: tuple[ParamValue, ...] = units.choices if units else (spec.model.settings.get("hidden_units", 0),)
    listed = {len(by_layer(width)) for width in widths if by_layer(width)}
    if listed and all(by_layer(width) for width in widths):
        return sorted(listed)
    return sorted(listed | set(_equal_depths(spec, sound.get("hidden_layers"))))


def _equal_depths(spec: SweepSpec, searched: Dimension | None) -> list[int]:
    """The same of networks whose layers are of one width."""
    if searched is None:
        known = HYPERPARAMETERS["hidden_layers"]
        if spec.space is None and "hidden_layers" not in spec.model.settings:
            return list(range(int(known.low), int(known.high) + 1))
        return [int(spec.model.settings.get("hidden_layers", known.default_for("sgd", spec.model.kind)))]
    return [int(searched.value_at(n)) for n in range(searched.num_values or 0)]
