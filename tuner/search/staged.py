"""The literal reading of Ng: tune one tier with the rest at their defaults, fix the best, open the next tier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuner.records import Direction, Params, ParamValue, TrialRecord
from tuner.search.designs import sobol
from tuner.search.observe import best_of
from tuner.search.seeding import derived_seed
from tuner.spec.space import REGULARISATION_TIER, Space

_ZOOM = 0.25
"""Half-width, in unit coordinates, of the finer second half of a tier's trials around its best."""


def tier_label(tier: int) -> str:
    """What `TrialRecord.tier` says of trials of this tier."""
    return "regularisation" if tier == REGULARISATION_TIER else f"tier {tier}"


def share_among_tiers(space: Space, trials: int) -> dict[int, int]:
    """Trials for each tier, in proportion to its number of hyperparameters; earlier tiers get the remainder."""
    sizes = {tier: len([d for d in space.in_tier(tier) if not d.fixed]) for tier in space.tiers}
    sizes = {tier: size for tier, size in sizes.items() if size}
    total = sum(sizes.values())
    shares = {tier: trials * size // total for tier, size in sizes.items()}
    for tier in list(shares)[: trials - sum(shares.values())]:
        shares[tier] += 1
    return shares


class StagedProposer:
    """Tier after tier: quasi-random points, then finer ones around the best, all other parameters held.

    A tier opens once every trial of the tiers before it has ended, since its trials build on their best.
    """

    def __init__(self, space: Space, *, direction: Direction, trials: int, seed: int) -> None:
        self._space = space
        self._direction = direction
        self._seed = seed
        self._shares = share_among_tiers(space, trials - 1)
        self._lines: list[str] = []
        self._announced: set[int] = set()

    def propose(self, records: Sequence[TrialRecord], pending: Sequence[Params]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        starts = [r for r in records if r.tier == "start"]
        own = [r for r in records if r.tier != "start"]
        index = len(own) + len(pending)
        if index == 0:
            return self._space.default(), "default"
        first = 1
        for tier, share in self._shares.items():
            if index < first + share:
                if len(own) < first or any(not r.state.final for r in own[:first]):
                    return None
                return self._in_tier(
                    tier, index - first, share, before=[*starts, *own[:first]], now=records
                ), tier_label(tier)
            first += share
        return None

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        lines, self._lines = self._lines, []
        return lines

    def _in_tier(
        self, tier: int, index: int, share: int, *, before: Sequence[TrialRecord], now: Sequence[TrialRecord]
    ) -> dict[str, ParamValue]:
        base = best_of(before, self._direction)
        base_params = base.params if base else self._space.default()
        if tier not in self._announced:
            self._announced.add(tier)
            of = f"trial {base.number}" if base else "the default"
            names = ", ".join(d.name for d in self._space.in_tier(tier))
            self._lines.append(f"{tier_label(tier)} opens: {names}; {share} trials, the rest held as in {of}")
        names_in_tier = [d.name for d in self._space.in_tier(tier)]
        tier_space = Space(self._space.in_tier(tier))
        units = sobol(index, 1, dimensions=len(tier_space), seed=derived_seed(self._seed, tier))[0]
        if index >= (share + 1) // 2:
            best = best_of(now, self._direction)
            assert best is not None or base is None
            middle = np.array(tier_space.to_units(best.params if best else base_params))
            units = np.clip(middle + _ZOOM * (2 * units - 1), 0.0, 1.0)
        moved = {d.name: d.from_unit(u) for d, u in zip(tier_space, units, strict=True)}
        return self._space.complete({**base_params, **{name: moved[name] for name in names_in_tier}})
