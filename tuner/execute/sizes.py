"""The shape of a cohort of networks of several sizes, in the words of the planner: values of hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tuner.execute.waiting import PlannedJob
from tuner.records import ParamValue
from tuner.spec.by_layer import hidden_widths
from tuner.train.programs.fusion import SIZES


def common_values(cohort: Sequence[PlannedJob]) -> Mapping[str, ParamValue]:
    """The values of a trial that is as large as all of these are together, as `tuner.models.common` has it."""
    first = cohort[0].values
    if not first.keys() >= SIZES or all(p.values[name] == first[name] for p in cohort for name in SIZES):
        return first
    own = [hidden_widths(planned.values) for planned in cohort]
    depth = max(map(len, own))
    widths = [max(each[min(number, len(each) - 1)] for each in own) for number in range(depth)]
    return {**first, "hidden_units": json.dumps(widths), "hidden_layers": depth}
