"""The JSON Schema of sweep files, for editors and for checks outside of tuner."""

from __future__ import annotations

from tuner.records import Json
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec

_FURTHER = {"$ref": "#/$defs/FurtherObjectiveSpec"}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def sweep_schema() -> Json:
    """The schema as a JSON value. What it cannot say (low <= high, names in `when`) only the reader checks."""
    schema = SweepSpec.model_json_schema()
    del schema["properties"]["root"]
    schema["properties"]["model"] = _model_schema(schema["$defs"].pop("ModelSpec"))
    schema["properties"]["objective"] = _objective_schema(schema["properties"]["objective"])
    schema["properties"]["space"] = _space_schema(schema["properties"]["space"])
    return {"$schema": _DIALECT, **schema, "title": "tuner sweep file"}


def _model_schema(block: Json) -> Json:
    """A name alone, or a mapping in which settings stand beside `kind`."""
    by_layer = block["properties"]["settings"]["additionalProperties"]
    plain = {"anyOf": [form for form in by_layer["anyOf"] if form["type"] not in ("array", "object")]}
    settings = {
        h.name: {**(by_layer if h.by_layer else plain), "description": h.description}
        for h in HYPERPARAMETERS.values()
        if h.of_model
    }
    mapping = {**block, "properties": {**block["properties"], **settings}, "additionalProperties": plain}
    return {
        "anyOf": [{"type": "string", "minLength": 1, "examples": list(MODELS)}, mapping],
        "default": "mlp",
        "description": block["description"],
    }


def _objective_schema(field: Json) -> Json:
    """One objective, or a list of them."""
    further = {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": field["$ref"]}, _FURTHER]}}
    return {**{k: v for k, v in field.items() if k != "$ref"}, "anyOf": [{"$ref": field["$ref"]}, further]}


def _space_schema(field: Json) -> Json:
    """Any name, with the known ones described."""
    by_name = next(form for form in field["anyOf"] if form.get("type") == "object")
    dimension = by_name["additionalProperties"]
    known = {h.name: {**dimension, "description": f"Tier {h.tier}. {h.description}"} for h in HYPERPARAMETERS.values()}
    forms = [{**form, "properties": known} if form is by_name else form for form in field["anyOf"]]
    return {**field, "anyOf": forms}
