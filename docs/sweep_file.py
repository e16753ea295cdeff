"""Writes docs/sweep-file.md from the models and the table of hyperparameters.

python docs/sweep_file.py > docs/sweep-file.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from pydantic_core import PydanticUndefined

from tuner.records import Json
from tuner.spec.defaults import build_space
from tuner.spec.described import descriptions_of
from tuner.spec.edit.starter import starter_text
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.knowledge import Hyperparameter
from tuner.spec.known.networks import MODELS
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.model import (
    ConstraintSpec,
    DataSpec,
    DimensionSpec,
    EarlyStoppingSpec,
    FinalistsSpec,
    FoldsSpec,
    FurtherObjectiveSpec,
    LimitsSpec,
    ModelSpec,
    ObjectiveSpec,
    PopulationSpec,
    ReportsSpec,
    ResourcesSpec,
    SearchSpec,
    SplitSpec,
    StopSpec,
    SweepSpec,
    TrainingSpec,
)
from tuner.spec.schema import sweep_schema
from tuner.spec.space import REGULARISATION_TIER
from tuner.spec.values import Part

_BLOCKS: tuple[tuple[str, type[Part]], ...] = (
    ("data", DataSpec),
    ("data.split", SplitSpec),
    ("data.folds", FoldsSpec),
    ("model", ModelSpec),
    ("reports", ReportsSpec),
    ("objective", ObjectiveSpec),
    ("objective.others", FurtherObjectiveSpec),
    ("constraints", ConstraintSpec),
    ("space", DimensionSpec),
    ("training", TrainingSpec),
    ("training.early_stopping", EarlyStoppingSpec),
    ("search", SearchSpec),
    ("search.stop", StopSpec),
    ("search.population", PopulationSpec),
    ("finalists", FinalistsSpec),
    ("limits", LimitsSpec),
    ("resources", ResourcesSpec),
)
_HEAD = """\
# The sweep file

<!-- Written by `python docs/sweep_file.py > docs/sweep-file.md`; do not edit. -->

One YAML file is the whole configuration of a sweep. `tuner init` writes one to start from:

```yaml
{starter}```

## How it is read

- YAML 1.2: `1e-3` is a number; `on`, `yes` and `no` are text; `010` is ten. Numbers in quotes are text, and refused
  where a number is due.
- A key that is not known is an error, and so is one that is written twice. A key with nothing behind it counts as left
  out. Aliases, anchors and tags are refused, as are files of more than 1 MiB.
- Every problem is reported at once, with its place, the rule, the value and what to write instead:

  ```text
  digits.yaml:9:24: space.learning_rate.low: must be at most high (0.001), got 0.1; swap low and high
  digits.yaml:14:13: training.epoch: is not a key of `training`. Did you mean "epochs"?
  ```

- Warnings are for what is allowed and probably not meant: a learning rate on a linear scale over three decades,
  momentum beyond 0.999, a setting that the chosen optimiser ignores.
- Of a hyperparameter of your own, `low: 0` and `high: 1` are whole numbers, `0.0` and `1.0` all between; `1e3` is no
  whole number. Choices are numbers with neighbours where they ascend, otherwise categories. Where this may surprise, a
  warning says what was read and what to write instead.
- Relative paths start at the folder of the sweep file.
- `--set key.path=value` replaces a value for one command: `--set search.trials=8`, `--set model.hidden_units=32`,
  `--set 'space.learning_rate={{low: 1e-3, high: 1}}'`. A value of `null` leaves the key out.
- A study goes on only with a sweep file that keeps its trials comparable: more trials, another strategy, wider ranges
  and further choices are fine; other data, another metric, another network or training, a narrower range and a
  parameter more or less need a new study.

`tuner schema` prints the JSON Schema of all this, for completion in an editor.

## The keys

"""
_SPACE_NOTE = """
`space:` maps the name of each searched hyperparameter to one of these; `{}` is the standard range of a known one.
Without `space:` the [default space](#the-default-space) is searched.
"""


def reference() -> str:
    """The text of docs/sweep-file.md."""
    schema = sweep_schema()
    starter = starter_text(file="digits.yaml", study="digits", source="sklearn/digits", model="mlp")
    top = _key_table(SweepSpec, schema["properties"])
    blocks = [_block(path, model, schema) for path, model in _BLOCKS]
    return _HEAD.format(starter=starter) + "\n".join([top, *blocks, _hyperparameters(), _default_spaces()])


def _block(path: str, model: type[Part], schema: Json) -> str:
    properties = schema["properties"]["model"]["anyOf"][1] if model is ModelSpec else schema["$defs"][model.__name__]
    note = _SPACE_NOTE if model is DimensionSpec else ""
    title = f"### `{path}`\n\n{_one_line(model.__doc__ or '')}\n{note}\n"
    return title + _key_table(model, properties["properties"])


def _key_table(model: type[Part], properties: Json) -> str:
    rows, described = [], descriptions_of(model)
    for name, field in model.model_fields.items():
        if field.exclude:
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        meaning = field.description or described.get(name) or _summary(name)
        known = HYPERPARAMETERS.get(name) if model is TrainingSpec else None
        usual = _default(default) if known is None or default is not None else _defaults(known)
        rows.append((f"`{name}`", _form(properties[name]), usual, _one_line(meaning)))
    return _table(("key", "value", "default", "meaning"), rows)


def _summary(block: str) -> str:
    """The first sentence about a block, with a link to its section."""
    return f"{_first(_one_line(dict(_BLOCKS)[block].__doc__ or ''))} See [below](#{block})."


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, Part):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | dict):
        return "`[]`" if isinstance(value, list) else "`{}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _form(schema: Json) -> str:
    """What may stand behind a key, in words, from its JSON Schema."""
    forms = [f for f in schema.get("anyOf", schema.get("oneOf", [])) if f.get("type") != "null"]
    if {f.get("type") for f in forms} >= {"boolean", "number", "string"}:
        return "value"
    if forms:
        return " or ".join(dict.fromkeys(_form(f) for f in forms))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{_plain(v)}`" for v in schema["enum"])
    match schema.get("type"):
        case "integer":
            return f"whole number{_bounds(schema)}"
        case "number":
            return f"number{_bounds(schema)}"
        case "boolean":
            return "`true`, `false`"
        case "array":
            item = _form(schema["items"])
            return f"list of {item}s" if item in ("value", "mapping") else f"list of {item}"
        case "string":
            return "text"
        case _:
            return "mapping"


def _bounds(schema: Json) -> str:
    symbols = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ",".join(f" {symbol} {schema[key]:g}" for key, symbol in symbols.items() if key in schema)


def _hyperparameters() -> str:
    rows = [
        (f"`{h.name}`", _tier(h.tier), _standard(h), _scale(h), _defaults(h), _users(h), _meaning(h))
        for h in HYPERPARAMETERS.values()
    ]
    head = """\
## Known hyperparameters

Each may be searched by naming it in `space:`, fixed under `training:` (those of a network: under `model:`), or left at
its default. A hyperparameter of your own is searched in tier 2 unless it has a `tier:`; it reaches your factory by its
name.

"""
    columns = ("name", "tier", "standard range", "scale", "default", "for", "meaning")
    models = _table(("model", "what it is"), [(f"`{name}`", model.description) for name, model in MODELS.items()])
    return f"{head}{_table(columns, rows)}\n{models}"


def _meaning(known: Hyperparameter) -> str:
    return _first(known.description) + (f" In Ng's course: {known.course}." if known.course else "")


def _tier(tier: int) -> str:
    return "regularisation" if tier == REGULARISATION_TIER else str(tier)


def _standard(known: Hyperparameter) -> str:
    if known.choices:
        return ", ".join(_plain(c) for c in known.choices)
    ranges: dict[tuple[float, float], list[str]] = {}
    for optimizer in (o for o in OPTIMIZERS if o in known.optimizers):
        ranges.setdefault(known.range_for(optimizer), []).append(optimizer)
    if len(ranges) == 1:
        return "{:g} to {:g}".format(*next(iter(ranges)))
    return "; ".join(f"{low:g} to {high:g} ({', '.join(names)})" for (low, high), names in ranges.items())


def _scale(known: Hyperparameter) -> str:
    if known.kind == "categorical":
        return "choices"
    return {"linear": "linear", "log": "log", "log1m": "log(1 - value)"}[known.scale]


def _defaults(known: Hyperparameter) -> str:
    if known.optional:
        return "none"
    values: dict[str, list[str]] = {}
    for optimizer in (o for o in OPTIMIZERS if o in known.optimizers):
        values.setdefault(_plain(known.default_for(optimizer)), []).append(optimizer)
    if len(values) == 1:
        text = next(iter(values))
    else:
        text = "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())
    if known.model_defaults:
        return f"{text} ({', '.join(f'{model}: {_plain(value)}' for model, value in known.model_defaults.items())})"
    if known.name == "lr_decay":
        return f"{text} (cosine: 1)"
    return (
        text
        if known.searched_default is None or known.tier < REGULARISATION_TIER
        else (f"{text}; when searched {_plain(known.searched_default)}")
    )


def _users(known: Hyperparameter) -> str:
    if known.models is not None:
        return ", ".join(sorted(known.models, reverse=True))
    return (
        "all" if len(known.optimizers) == len(OPTIMIZERS) else ", ".join(o for o in OPTIMIZERS if o in known.optimizers)
    )


def _default_spaces() -> str:
    rows = []
    for model in (*MODELS, "package.module:factory"):
        for optimizer in ("sgd", "adam"):
            spec = SweepSpec(
                study="s",
                data=DataSpec(source="d"),
                model=ModelSpec(kind=model),
                training=TrainingSpec(optimizer=optimizer),
            )
            names = {
                t: [f"`{d.name}`" for d in build_space(spec).in_tier(t)] for t in range(1, REGULARISATION_TIER + 1)
            }
            rows.append((f"`{model}`", f"`{optimizer}`", *(", ".join(n) for n in names.values())))
    head = """\
## The default space

What is searched, each in its standard range, where `space:` is left out. What is fixed under `training:` or `model:` is
not searched, and `lr_decay` not with `schedule: constant`. The order is Ng's: first the learning rate, then what
matters next, and what fights variance last.

"""
    return head + _table(("model", "optimizer", "tier 1", "tier 2", "tier 3", "regularisation"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first(text: str) -> str:
    """The first sentence."""
    return f"{text.split('. ')[0].rstrip('.')}."


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
