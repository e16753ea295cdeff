"""The literal reading of Ng: tune one tier with the rest at their defaults, fix the best, open the next tier."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from functools import cache
from operator import attrgetter

import numpy as np

from tuner.records import Direction, Params, ParamValue, TrialRecord
from tuner.search.distinct import Distinct, Key
from tuner.search.observe import best_of, rank_for_search
from tuner.search.request import Request, with_rungs
from tuner.search.seeding import derived_seed, generator
from tuner.search.sobol import sobol
from tuner.search.strategy import Strategy
from tuner.spec.space import Space, tier_label
from tuner.trials import OrderKey, Trials

_DISTINCT_PURPOSE = 6
_ZOOM = 0.25
"""Half-width, in unit coordinates, of the finer second half of a tier's trials around its best."""


def _share_among_tiers(space: Space, trials: int) -> dict[int, int]:
    """Trials for each tier, in proportion to its number of hyperparameters; earlier tiers get the remainder."""
    sizes = {tier: len([d for d in space.in_tier(tier) if not d.fixed]) for tier in space.tiers}
    sizes = {tier: size for tier, size in sizes.items() if size}
    total = sum(sizes.values())
    shares = {tier: trials * size // total for tier, size in sizes.items()}
    for tier in list(shares)[: trials - sum(shares.values())]:
        shares[tier] += 1
    return shares


def _is_own_and_unended(record: TrialRecord) -> bool:
    return record.tier != "start" and not record.state.final


_tier_of: Callable[[TrialRecord], str] = attrgetter("tier")


@cache
def _best_outside(tier: str, direction: Direction) -> OrderKey:
    rank = rank_for_search(direction)
    return lambda record: None if record.tier == tier else rank(record)


class _StagedProposer:
    """Tier after tier: quasi-random points, then finer ones around the best, all other parameters held.

    A tier opens once every trial of the tiers before it has ended, since its trials build on their best. What is left
    of the trials of a tier that has no further configuration goes to the next one.
    """

    def __init__(self, space: Space, *, direction: Direction, trials: int, seed: int) -> None:
        self._space = space
        self._direction = direction
        self._seed = seed
        self._shares = _share_among_tiers(space, trials - 1)
        self._distinct = Distinct(space)
        self._lines: list[str] = []
        self._said: set[str] = set()
        default = space.default()
        self._is_started_default = lambda record: record.tier == "start" and record.params == default

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        """See `Proposer.propose`."""
        done_of = trials.held(_tier_of)
        is_default_due = not trials.total(self._is_started_default)
        if len(trials) == done_of.get("start", 0) and is_default_due:
            return None if pending else (self._space.default(), "default")
        carried = 0 if is_default_due else 1
        for tier, share in self._shares.items():
            label, allowed = tier_label(tier), share + carried
            done = done_of.get(label, 0)
            if not done and trials.total(_is_own_and_unended):
                return None
            is_over = any(tier_label(later) in done_of for later in self._shares if later > tier)
            if not is_over and done + len(pending) < allowed:
                params = self._in_tier(tier, done + len(pending), allowed, trials=trials, taken=taken)
                if params is not None:
                    return params, label
                self._say(
                    f"{label} is used up: all its configurations have been tried with the rest held",
                    once=f"end {label}",
                )
            if pending and not is_over:
                return None  # what comes next builds on how these end
            carried = allowed - done
        return None

    def settle(self, params: Params) -> None:
        """See `Proposer.settle`."""

    def explain(self) -> list[str]:
        """See `Proposer.explain`."""
        lines, self._lines = self._lines, []
        return lines

    def _in_tier(
        self, tier: int, index: int, share: int, *, trials: Trials, taken: Set[Key]
    ) -> dict[str, ParamValue] | None:
        """A point of the tier that was not tried yet; None if there is none. Nothing but the tier moves."""
        base = next(iter(trials.ordered(_best_outside(tier_label(tier), self._direction))), None)
        base_params = base.params if base else self._space.default()
        tier_space = Space(self._space.in_tier(tier))
        of = f"trial {base.number}" if base else "the default"
        names = ", ".join(tier_space.names)
        line = f"{tier_label(tier)} opens: {names}; {share} trials, the rest held as in {of}"
        self._say(line, once=tier_label(tier))
        units = sobol(index, 1, dimensions=len(tier_space), seed=derived_seed(self._seed, tier))[0]
        if index >= (share + 1) // 2:
            best = best_of(trials, self._direction)
            assert best is not None or base is None
            middle = np.array(tier_space.to_units(best.params if best else base_params))
            units = np.clip(middle + _ZOOM * (2 * units - 1), 0.0, 1.0)
        moved = {d.name: d.from_unit(u) for d, u in zip(tier_space, units, strict=True)}
        params = self._space.complete({**base_params, **moved})
        rng = generator(self._seed, len(taken), _DISTINCT_PURPOSE)
        return self._distinct.untried(params, taken=taken, rng=rng, moving=tier_space.names)

    def _say(self, line: str, *, once: str) -> None:
        if once not in self._said:
            self._said.add(once)
            self._lines.append(line)


def make_strategy(request: Request) -> tuple[Strategy, int]:
    """Tier by tier, each frozen at its best."""
    proposer = _StagedProposer(
        request.space,
        direction=request.direction,
        trials=request.trials - request.starts,
        seed=request.seed,
    )
    return with_rungs(request, proposer)
