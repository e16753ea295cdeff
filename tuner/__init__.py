"""Finds good hyperparameters for PyTorch models.

`PrioritySampler` and `PriorityPruner` are the search strategy as Optuna's own classes; `TrialHandle` is what a training
function of the user's is given. They are imported when asked for, so that `import tuner` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.search.as_optuna import PriorityPruner, PrioritySampler
    from tuner.train.own.handle import TrialHandle

__all__ = ["PriorityPruner", "PrioritySampler", "TrialHandle"]


def __getattr__(name: str) -> object:
    if name == "TrialHandle":
        from tuner.train.own.handle import TrialHandle

        return TrialHandle
    if name in __all__:
        from tuner.search import as_optuna

        return getattr(as_optuna, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
