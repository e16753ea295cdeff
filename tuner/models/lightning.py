"""Users' `LightningModule`s: known by their class, so that nobody needs Lightning who has none; built by signature."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from types import ModuleType

from torch import nn

from tuner.errors import UserCodeError
from tuner.imports import require
from tuner.records import DataInfo, ParamValue
from tuner.spec.defaults import build_space, fixed_for_loop
from tuner.spec.model import SweepSpec

_PACKAGES: Mapping[str, str] = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
"""The two names that Lightning is installed under; a module of one cannot be trained by the other's Trainer."""


def is_lightning(kind: type) -> bool:
    """Whether this is a class of LightningModules."""
    return _base(kind) is not None


def package_of(module: nn.Module) -> ModuleType:
    """The package whose Trainer trains the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    base = _base(type(module))
    assert base is not None
    return require(_PACKAGES[base.__module__.partition(".")[0]], extra="lightning")


def build_by_signature(kind: type, values: Mapping[str, ParamValue], info: DataInfo, *, spec: SweepSpec) -> nn.Module:
    """An object of a LightningModule's class; each argument gets the value of its name.

    Raises:
        UserCodeError: an argument has a name that nothing is known of.
    """
    made: nn.Module = kind(**arguments_of(kind, values, info, spec=spec))
    return made


def arguments_of(kind: type, values: Mapping[str, ParamValue], info: DataInfo, *, spec: SweepSpec) -> dict[str, object]:
    """What a LightningModule's class is called with.

    What the sweep searches or fixes comes first, then the argument's own default, then the facts of the data
    (`input_shape`, `num_outputs`, ...) and tuner's default. `data` is all facts, `params` all values.

    Raises:
        UserCodeError: an argument has a name that nothing is known of.
    """
    space = build_space(spec)
    meant = {d.name: d.default for d in space} | {n: values[n] for n in _meant(spec, space.names) if n in values}
    known = {f.name: getattr(info, f.name) for f in fields(info)} | dict(values)
    known |= {"data": info, "params": dict(values)}
    arguments: dict[str, object] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments |= {n: v for n, v in meant.items() if n not in arguments}
        elif name in meant:
            arguments[name] = meant[name]
        elif parameter.default is parameter.empty and name in known:
            arguments[name] = known[name]
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            raise UserCodeError(
                f"{spec.model.kind} needs {name}, which is no hyperparameter of this sweep and no fact of its data; "
                "give it under `model:` or `space:`, or give the argument a default"
            )
    return arguments


def _meant(spec: SweepSpec, searched: tuple[str, ...]) -> set[str]:
    """What the sweep file itself speaks of."""
    return {*searched, *fixed_for_loop(spec), *spec.model.settings}


def _base(kind: type) -> type | None:
    """The `LightningModule` that a class is derived from."""
    named = (base for base in kind.__mro__ if base.__name__ == "LightningModule")
    return next((base for base in named if base.__module__.partition(".")[0] in _PACKAGES), None)
