"""What must hold of `search:`, `finalists:` and the space that they are about, together."""

from __future__ import annotations

import math

from tuner.paths import is_url
from tuner.spec.blocks.search import LEARNING_TRIALS
from tuner.spec.checks.places import check_local
from tuner.spec.known.metrics import SHARES
from tuner.spec.known.strategies import known_strategy
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space
from tuner.spec.text.findings import Findings
from tuner.spec.values import is_own


def check_search(spec: SweepSpec, space: Space | None, findings: Findings) -> None:
    """Check that the strategy can search this space, and that totals make sense together."""
    search, strategy = spec.search, known_strategy(spec.search.strategy)
    if spec.finalists and spec.finalists.count > search.trials:
        rule = f"is more than search.trials ({search.trials})"
        findings.warn(("finalists", "count"), rule, remedy="raise trials, or lower count")
    if search.warm_start == spec.study:
        findings.error(("search", "warm_start"), "is this study itself", remedy="remove it: a study always goes on")
    elif search.warm_start is not None and is_url(search.warm_start):
        remedy = "give its name: it is looked for where this study's database is"
        findings.error(("search", "warm_start"), "must be a study's name or folder, and is a URL", remedy=remedy)
    elif search.warm_start is not None and not strategy.learns_from_earlier:
        rule = f"has no effect with strategy {search.strategy}"
        findings.warn(("search", "warm_start"), rule, remedy="write `strategy: priority`", at_key=True)
    check_local(("search", "portfolio"), search.portfolio, findings)
    for folder in [search.learn_from] if isinstance(search.learn_from, str) else search.learn_from or ():
        check_local(("search", "learn_from"), folder, findings)
    _check_arguments(spec, findings)
    if "regularisation" in search.model_fields_set and (not strategy.opens_regularisation or spec.loop is not None):
        rule = f"has no effect with {spec.loop or f'strategy {search.strategy}'}"
        findings.warn(("search", "regularisation"), rule, remedy="remove it", at_key=True)
    if strategy.starts_at_random and search.trials < LEARNING_TRIALS and search.warm_start is None:
        rule = f"is so few that strategy {search.strategy} draws all of them at random"
        remedy = f"write {LEARNING_TRIALS} or more, or use strategy priority"
        findings.warn(("search", "trials"), rule, remedy=remedy)
    _check_target(spec, findings)
    if search.synchronous and search.stop is not None and search.stop.seconds is not None:
        rule = "ends the search by the clock: with `synchronous:` it is the same each time but for its end"
        findings.warn(("search", "stop", "seconds"), rule, remedy="stop by epochs or trials", at_key=True)
    if space is None or findings.is_unusable(("search", "strategy")):
        return
    if strategy.takes_levels:
        for dimension in space:
            if dimension.num_values is None:
                rule = f"is a continuum, of which strategy {search.strategy} takes a few levels"
                findings.warn(
                    ("space", dimension.name), rule, remedy="give it `step:` or `choices:` to choose them", at_key=True
                )
    sizes = [d.num_values for d in space]
    total = math.prod(size for size in sizes if size is not None)
    if None not in sizes and total < search.trials and "trials" in search.model_fields_set:
        rule = f"is more than the {total} configurations of the space"
        findings.warn(("search", "trials"), rule, remedy="the search ends when all are tried")


def _check_arguments(spec: SweepSpec, findings: Findings) -> None:
    search = spec.search
    for key, named, name in (("arguments", "strategy", search.strategy), ("pruner_arguments", "pruner", search.pruner)):
        if getattr(search, key) and not (name and is_own(name)):
            rule = f"has no effect with {named} {name}, which is not named by its path"
            if name is None:
                rule = f"has no effect without a {named} that is named by its path"
            findings.error(("search", key), rule, remedy=f"name a {named} by its path, or remove it", at_key=True)


def _check_target(spec: SweepSpec, findings: Findings) -> None:
    target = spec.search.stop.target if spec.search.stop else None
    if target is not None and spec.objective.metric in SHARES and not 0 < target <= 1:
        remedy = f"write {target / 100:g} for {target:g} %" if 1 < target <= 100 else ""
        rule = f"must be in (0, 1], which {spec.objective.metric} is"
        findings.error(("search", "stop", "target"), rule, remedy=remedy)
