"""The strategies of a search by name: where each is made, and what the checks of a sweep file have to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownStrategy:
    """What there is to know of a strategy by its name."""

    module: str
    """Its `make_strategy` makes it of a `Request` (`tuner/search/request.py`). By name, since `spec` imports nothing of
    `search`."""
    learns_from_earlier: bool = False
    """Whether `warm_start` has an effect."""
    opens_regularisation: bool = False
    """Whether `regularisation` has an effect."""
    starts_at_random: bool = False
    """Whether a search of fewer trials than `LEARNING_TRIALS` is no more than random draws."""
    is_blind: bool = False
    """Whether what it proposes depends on no result that may still come."""
    changes_values: bool = False
    """Whether trials take other values while they train, which `search.population` says more of."""
    takes_levels: bool = False
    """Whether it takes a few levels of a continuum."""


_STOCK = "tuner.search.stock"

STRATEGIES: Mapping[str, KnownStrategy] = {
    "priority": KnownStrategy(
        module="tuner.search.priority.strategy", learns_from_earlier=True, opens_regularisation=True
    ),
    "staged": KnownStrategy(module="tuner.search.staged"),
    "tpe": KnownStrategy(module=_STOCK, learns_from_earlier=True, starts_at_random=True),
    "gp": KnownStrategy(module=_STOCK, learns_from_earlier=True, starts_at_random=True),
    "cmaes": KnownStrategy(module=_STOCK),
    "qmc": KnownStrategy(module=_STOCK, is_blind=True),
    "random": KnownStrategy(module=_STOCK, is_blind=True),
    "grid": KnownStrategy(module=_STOCK, is_blind=True, takes_levels=True),
    # What comes next is decided for all members at once, and no more: to wait with some of it would gain nothing.
    "population": KnownStrategy(module="tuner.search.population", is_blind=True, changes_values=True),
}
"""In the order in which they are documented."""
PRUNERS = ("median", "asha", "hyperband", "none")


def known_strategy(name: str) -> KnownStrategy:
    """What there is to know of one; of other packages' strategies and samplers, nothing."""
    return STRATEGIES.get(name) or KnownStrategy(module="")
