"""Why a search has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the database's libraries are imported while the workers load the data
    from tuner.search.strategy import Strategy
    from tuner.store.optuna_store import OptunaStore


def why_ended(strategy: Strategy, store: OptunaStore, *, trials: int) -> str:
    """Why a search has nothing more to do."""
    from tuner.search.wrap.stop import StoppingStrategy

    if isinstance(strategy, StoppingStrategy) and strategy.reason is not None:
        return f"by its own rule: {strategy.reason}"
    begun = len(store.records())
    return f"all {begun} trials" if begun >= trials else f"the space is exhausted: {begun} trials have tried all of it"
