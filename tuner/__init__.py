"""Finds good hyperparameters for PyTorch models.

`run` runs a sweep, `open_study` opens one that was run: both give a `Study`. A training script that a sweep starts
calls `report` after each epoch, or gives its `Trainer` a `report_callback`; `TrialHandle` is what a training function
of the user's is given. `PrioritySampler` and `PriorityPruner` are the search strategy as Optuna's own classes. All
errors that are said to users are a `TunerError`. Each is imported when it is asked for, so that `import tuner` stays
cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.errors import TunerError
    from tuner.python.run import run
    from tuner.python.study import Study, open_study
    from tuner.search.as_optuna import PriorityPruner, PrioritySampler
    from tuner.train.own.callbacks import report_callback
    from tuner.train.own.handle import TrialHandle
    from tuner.train.own.script import report

__all__ = [
    "PriorityPruner",
    "PrioritySampler",
    "Study",
    "TrialHandle",
    "TunerError",
    "open_study",
    "report",
    "report_callback",
    "run",
]

_PLACES = {
    "PriorityPruner": "tuner.search.as_optuna",
    "PrioritySampler": "tuner.search.as_optuna",
    "Study": "tuner.python.study",
    "TrialHandle": "tuner.train.own.handle",
    "TunerError": "tuner.errors",
    "open_study": "tuner.python.study",
    "report_callback": "tuner.train.own.callbacks",
    "run": "tuner.python.run",
}


def __getattr__(name: str) -> object:
    if name == "report":
        return importlib.import_module("tuner.report")  # which can be called
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
