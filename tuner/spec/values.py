"""The values that a sweep file may hold, each refused with one message of ours if it is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tuner.plugins import Kind, place_of
from tuner.records import ParamValue
from tuner.spec.known.baselines import BASELINES, BaselineName
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.known.strategies import PRUNERS, STRATEGIES
from tuner.spec.known.trackers import TRACKERS

if TYPE_CHECKING:  # not loaded where no schema is asked for
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Part(BaseModel):
    """A block of a sweep file: immutable, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with what the source says of each key."""
        from tuner.spec.described import descriptions_of

        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in descriptions_of(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        """A key with nothing behind it, its lines commented out perhaps, counts as left out."""
        if not isinstance(values, dict):
            return values
        return {k: v for k, v in values.items() if v is not None or k not in cls.model_fields}


def _require_value(value: object) -> object:
    if isinstance(value, bool | str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        raise PydanticCustomError("value", "must be a finite number")
    raise PydanticCustomError("value", "must be a number, true, false or text")


def _require_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "must be a number")
    if not math.isfinite(value):
        raise PydanticCustomError("number", "must be a finite number")
    return value


def _require_positive(value: object) -> object:
    number = _require_number(value)
    if isinstance(number, int | float) and number > 0:
        return number
    raise PydanticCustomError("number", "must be greater than 0")


def _require_values(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_require_value(v) for v in value]
    return _require_value(value)


def is_own(name: str) -> bool:
    """Whether a name is that of a function of the user's, `package.module:function` or `file.py:function`."""
    return all(name.rpartition(":")[::2])


_HIGHEST_WEIGHT = 1e6
"""Of a class: beyond, one example of it outweighs all the others in a sum of float32."""
_LOSS_NAMES = ("auto", "cross_entropy", "binary_cross_entropy", "mse")


def _require_one_of(names: Collection[str], *, or_own: bool) -> Callable[[object], object]:
    """A check for one of the names, or a function of the user's."""

    def require(value: object) -> object:
        if isinstance(value, str) and (value in names or (or_own and is_own(value))):
            return value
        *most, last = (f"'{name}'" for name in names)
        raise PydanticCustomError("literal_error", "", {"expected": f"{', '.join(most)} or {last}"})

    return require


def _one_of(names: Collection[str], *, or_own: bool = False) -> tuple[BeforeValidator, WithJsonSchema]:
    """What makes a text one of these names, with `or_own` or a function of the user's."""
    schema: dict[str, Any] = {"enum": list(names), "type": "string"}
    if or_own:
        schema = {"anyOf": [schema, {"pattern": ".:.", "type": "string"}]}
    return BeforeValidator(_require_one_of(names, or_own=or_own)), WithJsonSchema(schema)


def _named_by_plugin(kind: Kind, names: Collection[str]) -> Callable[[object], object]:
    """What turns the name of a plug-in into its path, unless it is one of tuner's own."""
    return lambda value: place_of(kind, value) if isinstance(value, str) and value not in names else value


def _require_batch_size(value: object) -> object:
    if value in ("full", "auto") or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise PydanticCustomError("batch_size", "must be a whole number of at least 1, `full` or `auto`")


def _require_dampening(value: object) -> object:
    if value == "auto" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1):
        return value
    raise PydanticCustomError("dampening", "must be a number in [0, 1), or `auto`")


def _require_tier(value: object) -> object:
    if value == "regularisation" or (isinstance(value, int) and not isinstance(value, bool) and value in (1, 2, 3)):
        return value
    raise PydanticCustomError("tier", "must be 1, 2, 3 or `regularisation`")


def _require_class_weights(value: object) -> object:
    if value == "balanced":
        return value
    if isinstance(value, dict) and value:
        return {str(name): _require_weight(str(name), weight) for name, weight in value.items()}
    raise PydanticCustomError("class_weights", "must be `balanced`, or weights such as {sick: 5, healthy: 1}")


def _require_baselines(value: object) -> object:
    if value in ("auto", "off"):
        return value
    if isinstance(value, list) and value and all(name in BASELINES for name in value):
        return list(dict.fromkeys(value))
    wrong = next((name for name in value if name not in BASELINES), None) if isinstance(value, list) else None
    rule = f"must be `auto`, `off`, or a list out of [{', '.join(BASELINES)}]"
    raise PydanticCustomError("baselines", "{rule}", {"rule": rule + (f"; {wrong} is none of them" if wrong else "")})


_of_plugin = _named_by_plugin("trackers", TRACKERS)


def _require_trackers(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    names = [_of_plugin(name) for name in names] if isinstance(names, list) else names
    if isinstance(names, list) and all(isinstance(n, str) and (n in TRACKERS or is_own(n)) for n in names):
        return list(dict.fromkeys(names))
    wrong = next((n for n in names if n not in TRACKERS), None) if isinstance(names, list) else None
    rule = f"must be a list out of [{', '.join(TRACKERS)}], or of trackers of yours as `package.module:Class`"
    raise PydanticCustomError("trackers", "{rule}", {"rule": rule + (f"; {wrong} is none of them" if wrong else "")})


def _require_weight(name: str, value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _HIGHEST_WEIGHT:
        return value
    rule = f"must be a number greater than 0 and at most {_HIGHEST_WEIGHT:,.0f}"
    raise PydanticCustomError("class_weight", "{rule}", {"rule": rule, "name": name})


Fraction = Annotated[float, Field(gt=0, lt=1)]
Value = Annotated[
    ParamValue,
    BeforeValidator(_require_value),
    WithJsonSchema(
        {
            "anyOf": [
                *({"type": kind} for kind in ("boolean", "number", "string")),
                {"type": "array", "minItems": 1, "items": {"type": "number"}},
                {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
            ]
        }
    ),
]
"""One value of a hyperparameter, kept as it is written: 1 is an integer, 1.0 is not. What is by layer is a text by then
(`tuner.spec.by_layer`)."""
Number = Annotated[int | float, BeforeValidator(_require_number), WithJsonSchema({"type": "number"})]
"""Kept as it is written, like `Value`."""
PositiveNumber = Annotated[
    int | float, BeforeValidator(_require_positive), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})
]
ClassWeights = Annotated[
    Literal["balanced"] | dict[str, int | float],
    BeforeValidator(_require_class_weights),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "balanced"},
                {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
            ]
        }
    ),
]
"""The classes are named as the data name them; 0 and "0" are one name."""
Baselines = Annotated[
    Literal["auto", "off"] | list[BaselineName],
    BeforeValidator(_require_baselines),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["auto", "off"], "type": "string"},
                {"type": "array", "minItems": 1, "items": {"enum": list(BASELINES), "type": "string"}},
            ]
        }
    ),
]
Trackers = Annotated[
    list[str],
    BeforeValidator(_require_trackers),
    WithJsonSchema(
        {"type": "array", "items": {"anyOf": [{"enum": list(TRACKERS)}, {"pattern": ".:.", "type": "string"}]}}
    ),
]
Seed = Annotated[int, Field(ge=0)]
"""What generators of random numbers take: 0 or more."""
Tier = Annotated[
    Literal[1, 2, 3, "regularisation"],
    BeforeValidator(_require_tier),
    WithJsonSchema({"enum": [1, 2, 3, "regularisation"]}),
]
Values = Annotated[ParamValue | list[ParamValue], BeforeValidator(_require_values)]
BatchSize = Annotated[
    int | Literal["full", "auto"],
    BeforeValidator(_require_batch_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["full", "auto"]}]}),
]
Dampening = Annotated[
    float | Literal["auto"],
    BeforeValidator(_require_dampening),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, {"const": "auto"}]}),
]
Optimizer = Annotated[str, *_one_of(OPTIMIZERS, or_own=True)]
Loss = Annotated[str, *_one_of(_LOSS_NAMES, or_own=True)]
StrategyName = Annotated[
    str, *_one_of(STRATEGIES, or_own=True), BeforeValidator(_named_by_plugin("strategies", STRATEGIES))
]
"""Of validators like these the last is the first to see a value."""
PrunerName = Annotated[str, *_one_of(PRUNERS, or_own=True)]
