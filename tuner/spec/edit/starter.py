"""The commented sweep file that `tuner init` writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tuner.records import ParamValue
from tuner.spec.defaults import build_space
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, is_builtin
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec
from tuner.spec.space import REGULARISATION_TIER, Dimension

_TEMPLATE = """\
# A sweep of tuner.
#   tuner check {file}     try it: data, one batch, what it will cost
#   tuner run {file}       run it, or continue it
# All keys are described in docs/sweep-file.md. For completion in your editor: tuner schema > sweep.schema.json,
# and make the first line of this file  # yaml-language-server: $schema=sweep.schema.json

study: {study}{study_comment}

data:
  source: {source}{source_comment}
{columns}{normalise}\
  split: auto                # 60/20/20 for small sets, 98/1/1 near a million; or {{train: 0.6, dev: 0.2, test: 0.2}}

model: {model}{model_comment}

objective:
{metric}  # target_error: 0.02       # what an expert gets wrong: tells bias from variance in the report

# What to search, in Ng's order of priority. Without `space:` it is what stands here.
space:
{space}
training:
{training}
search:
  trials: 64                 # a total: running again continues up to it
  seed: 0

finalists: {{count: 5, seeds: 3}}     # the best are trained again on fresh seeds, since the best of many is partly luck
"""
_OWN_PARAMETER = """\
  # depth: {low: 1, high: 6, tier: 2}                  # a parameter of your factory's own, with its tier
"""


_TRAINING = """\
  optimizer: sgd             # or rmsprop, adam, adamw
  epochs: 30
  early_stopping: {patience: 5}
"""
_TRAINING_OF_TABLES = """\
  optimizer: adamw           # or sgd, rmsprop, adam
  schedule: cosine           # down to nothing at the last epoch, so that early stopping would come too early
  epochs: 30
"""
_NORMALISE_TABLES = """\
  normalise: quantile        # numbers made normal by their ranks; or true: zero mean and unit variance alone
"""
_UNSEEN_COLUMNS = """\
  # target: price            # column to predict; the last one unless you name it
"""
_UNSEEN_METRIC = """\
  metric: auto               # accuracy for classes, rmse for numbers; or balanced_accuracy, f1, auroc, r2, loss
"""
MOST_CANDIDATES = 8
"""Other columns that could be predicted, of which more are counted."""


@dataclass(frozen=True, slots=True)
class ColumnFound:
    """A column of a table, and what is to be said of it."""

    name: str
    said: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TableFound:
    """What a first look at a table has found."""

    rows: int
    is_part: bool
    """Whether these are the first rows of more."""
    target: ColumnFound
    others: tuple[ColumnFound, ...]
    """That could be predicted instead, the likeliest first."""
    ignored: tuple[ColumnFound, ...]
    """That are no inputs, with the reason."""
    dates: tuple[str, ...]
    """Columns that hold dates."""
    metric: str
    why_metric: str


def starter_text(*, file: str, study: str, source: str, model: str, found: TableFound | None = None) -> str:
    """A commented sweep file over the default space.

    Args:
        file: What it will be called, for the commands in its comments.
        study: Name of the study.
        source: Where the data come from.
        model: `tabular`, `mlp`, `cnn`, or a factory of the user's.
        found: What the source holds, if it is a table that was looked at.
    """
    spec = SweepSpec(study=study, data=DataSpec(source=source), model=ModelSpec(kind=model))
    lines = [_dimension_line(dimension) for dimension in build_space(spec)]
    return _TEMPLATE.format(
        file=shlex.quote(file),
        study=_scalar(study),
        study_comment=_comment(f"study: {_scalar(study)}", f"its results go to results/{study}/"),
        source=_scalar(source),
        source_comment=_comment(
            f"  source: {_scalar(source)}", "or a CSV, Parquet or NPZ file, a folder of images, package.module:function"
        ),
        columns=_UNSEEN_COLUMNS if found is None else "".join(_column_lines(found)),
        normalise=_NORMALISE_TABLES if spec.data.normalise == "quantile" else "",
        training=_TRAINING_OF_TABLES if model == "tabular" else _TRAINING,
        metric=_UNSEEN_METRIC if found is None else _line(f"  metric: {found.metric}", found.why_metric),
        model=_scalar(model),
        model_comment=_comment(
            f"model: {_scalar(model)}", "tabular, mlp, cnn, or a factory of yours: package.module:factory"
        ),
        space="".join(lines) + ("" if is_builtin(model) else _OWN_PARAMETER),
    )


def _column_lines(found: TableFound) -> Iterator[str]:
    also = "; could be predicted, too:" if found.others else ""
    yield _line(f"  target: {_scalar(found.target.name)}", f"{found.target.said}{also}")
    for other in found.others[:MOST_CANDIDATES]:
        yield _line(f"  # target: {_scalar(other.name)}", other.said)
    if len(found.others) > MOST_CANDIDATES:
        yield f"  # ... and {len(found.others) - MOST_CANDIDATES} more columns\n"
    if found.ignored:
        names = ", ".join(_scalar(column.name) for column in found.ignored)
        yield f"  ignore: [{names}]\n"
        yield from (f"    # {column.name} {column.said}\n" for column in found.ignored)
    if found.dates:
        yield _line("  dates: expand", f"{', '.join(found.dates)}: to year, month, weekday and days since 1970")


def _line(before: str, said: str) -> str:
    """A line with a comment, in which nothing of a file can end it."""
    return f"{before}{_comment(before, ' '.join(said.split()))}\n"


def _comment(before: str, text: str) -> str:
    return f"{' ' * max(2, 29 - len(before))}# {text}"


def _dimension_line(dimension: Dimension) -> str:
    if dimension.kind == "categorical":
        values = f"{{choices: [{', '.join(_scalar(c) for c in dimension.choices)}]}}"
    else:
        number = int if dimension.kind == "int" else float
        values = f"{{low: {_scalar(number(dimension.low))}, high: {_scalar(number(dimension.high))}}}"
    line = f"  {dimension.name}: {values}"
    tier = "against variance" if dimension.tier == REGULARISATION_TIER else f"tier {dimension.tier}"
    scale = {"linear": "", "log": ", on a log scale", "log1m": ", on log(1 - beta)"}[dimension.scale]
    meaning = re.split("[;:,]", HYPERPARAMETERS[dimension.name].description)[0].rstrip(".")
    if meaning[1].islower():  # L2 stays
        meaning = meaning[0].lower() + meaning[1:]
    return f"{line:<48}  # {tier}{scale}: {meaning}\n"


def _scalar(value: ParamValue) -> str:
    """A value as YAML, in quotes where it needs them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return re.sub(r"e-0*", "e-", f"{value!r}")
    is_plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z_]\w*)?", value)
    return value if is_plain and value.lower() not in ("true", "false", "null") else json.dumps(value)
