"""The `model:` block: the network and its fixed settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tuner.records import ParamValue
from tuner.spec.known.networks import MODEL
from tuner.spec.values import Part, Value


class ModelSpec(Part):
    """The network. Its settings may be fixed here or searched under `space:`; `model: NAME` fixes none."""

    kind: Annotated[str, Field(min_length=1)] = "mlp"
    """A built-in model, or a factory of yours: `package.module:factory` or `path/to/file.py:factory`; or the class of
    a LightningModule."""
    choices: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    """Built-in models to search among, instead of `kind`, the first being the default
    ([the architecture](techniques.md#the-architecture)). What only some of them have is searched where one of these is
    chosen."""
    init_from: Annotated[str, Field(min_length=1)] | None = None
    """File of weights to start from: a state dict (`.pt`), as in `results/STUDY/best/weights.pt`, or safetensors."""
    new_layers: list[str] = Field(default_factory=list)
    """Parameters that are drawn anew though `init_from` has them: names, patterns such as `layers.0.*`, or `head`."""
    outputs: str | int | None = None
    """Which part of what your module's forward returns are its outputs: a name of a mapping or an attribute, such as
    `logits`, or the place in a tuple, from 0 on. Left out: it returns a tensor."""
    settings: dict[str, Value] = Field(default_factory=dict)
    """Fixed settings by name, such as `hidden_units: 64`, `norm: batch`, or your factory's own. In the file they
    may stand beside `kind`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_settings(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"kind": values}
        if not isinstance(values, dict):
            return values
        if isinstance(choices := values.get("choices"), list) and choices and values.get("kind") is None:
            values = {**values, "kind": choices[0]}
        settings = values.get("settings") or {}
        beside = {k: v for k, v in values.items() if k not in cls.model_fields}
        if not beside or not isinstance(settings, dict):
            return values
        if twice := sorted(beside.keys() & settings.keys()):
            raise PydanticCustomError(
                "setting_twice", "has {name} both beside kind and under settings; keep one", {"name": twice[0]}
            )
        return {k: v for k, v in values.items() if k in cls.model_fields} | {"settings": {**settings, **beside}}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The models that trials may have, the default first."""
        return tuple(dict.fromkeys((self.kind, *self.choices)))

    def kind_in(self, values: Mapping[str, ParamValue]) -> str:
        """The model of a trial with these values."""
        return str(values.get(MODEL, self.kind)) if self.choices else self.kind
