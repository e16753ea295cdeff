"""What must hold of values that change in the course of a training: `strategy: population` and `training.changes`."""

from __future__ import annotations

from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.names import did_you_mean
from tuner.spec.known.strategies import known_strategy
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space
from tuner.spec.text.findings import Findings
from tuner.spec.values import is_own

_LEAST_MEMBERS = 4
_ROOM, _OF_A_CHANGE, _OF_A_VALUE = 50_000, 50, 40
"""Characters that a study keeps of how one trial's values changed, about, and what it writes of each change."""
_AFTER = "after_epoch"
"""The key of an entry of `training.changes` that is no hyperparameter."""


def check_population(spec: SweepSpec, space: Space | None, findings: Findings) -> None:
    """Check that the trials can learn from one another while they train, if they are to."""
    search = spec.search
    if not known_strategy(search.strategy).changes_values:
        if search.population is not None:
            rule = f"has no effect with strategy {search.strategy}"
            findings.warn(("search", "population"), rule, remedy="write `strategy: population`", at_key=True)
        return
    if spec.loop is not None:
        rule = f"cannot train with {spec.loop}: tuner would have to copy the state of a training, which is your code's"
        findings.error(("search", "strategy"), rule, remedy="use another strategy, or let tuner train the network")
        return
    if is_own(spec.training.optimizer):
        rule = "is yours, and whether it follows values that change cannot be known"
        findings.error(("training", "optimizer"), rule, remedy="use one of tuner's, or another strategy")
    if search.trials < _LEAST_MEMBERS:
        rule = f"must be at least {_LEAST_MEMBERS} with strategy population, whose members the trials are"
        findings.error(("search", "trials"), rule)
    _check_others(spec, findings)
    if space is None or findings.is_unusable(("search", "strategy")):
        return
    num_changing = sum(_may_change(d.name) and d.ordered and not d.fixed for d in space)
    _check_interval(spec, num_changing, findings)
    if not num_changing:
        able = ", ".join(name for name, known in HYPERPARAMETERS.items() if known.may_change)
        rule = "holds nothing that may change while a trial trains, which strategy population is about"
        findings.error(("space",), rule, remedy=f"search one of {able}; or use another strategy", at_key=True)


def check_changes(spec: SweepSpec, findings: Findings) -> None:
    """Check `training.changes`: in order, within the training, of what may change."""
    changes = spec.training.changes
    if changes and known_strategy(spec.search.strategy).changes_values:
        remedy = "remove it, or use another strategy"
        findings.error(("training", "changes"), "is found by strategy population", remedy=remedy, at_key=True)
    if len(changes) > (most := _most_changes(max(map(len, changes), default=0))):
        findings.error(("training", "changes"), f"must be at most {most}", got=str(len(changes)))
    before = 0
    for index, change in enumerate(changes):
        path = ("training", "changes", index)
        after = change.get(_AFTER)
        if not isinstance(after, int) or not before < after < spec.training.epochs:
            between = f"above {before} and below training.epochs ({spec.training.epochs})"
            if _AFTER in change:
                findings.error((*path, _AFTER), f"must be a whole number {between}: changes stand in order")
            else:
                findings.error(path, f"must have an {_AFTER}, {between}", at_key=True)
            continue
        before = after
        for name, value in change.items():
            if name == _AFTER:
                continue
            if not _may_change(name):
                able = [known.name for known in HYPERPARAMETERS.values() if known.may_change]
                rule = "is none of the hyperparameters that may change in a training"
                remedy = did_you_mean(name, able) or f"they are {', '.join(able)}"
                findings.error((*path, name), rule, remedy=remedy, at_key=True)
            elif (bounds := HYPERPARAMETERS[name].bounds) is not None and not bounds.hold(value):
                findings.error((*path, name), f"must be {bounds}")


def _may_change(name: str) -> bool:
    return name in HYPERPARAMETERS and HYPERPARAMETERS[name].may_change


def _most_changes(num_values: int) -> int:
    """Of one training, where each is of so many values: the study keeps them all with its trial."""
    return _ROOM // (_OF_A_CHANGE + _OF_A_VALUE * num_values)


def _check_interval(spec: SweepSpec, num_changing: int, findings: Findings) -> None:
    rule = spec.search.population
    epochs = spec.training.epochs
    if rule is None or rule.interval is None:
        if epochs < 2:
            findings.error(("training", "epochs"), "must be at least 2 with strategy population")
        return
    if rule.interval >= epochs:
        text = f"must be less than training.epochs ({epochs}): members are compared within a training"
        findings.error(("search", "population", "interval"), text)
    elif epochs / rule.interval > (most := _most_changes(num_changing)):
        text = f"must be at least {-(-epochs // most)}: a study keeps at most {most} such changes of a trial"
        findings.error(("search", "population", "interval"), text)


def _check_others(spec: SweepSpec, findings: Findings) -> None:
    """Refuse what asks for another way to search, or judges trials that do not stand for one configuration each."""
    search = spec.search
    asked = {
        ("search", "pruner"): search.pruner not in (None, "none"),
        ("search", "refine"): search.refine > 0,
        ("search", "stop", "plateau"): search.stop is not None and search.stop.plateau is not None,
        ("objective", "others"): bool(spec.objective.others),
        ("constraints",): bool(spec.constraints),
    }
    for path, is_asked in asked.items():
        if is_asked:
            rule = "does not go with strategy population"
            findings.error(path, rule, remedy="remove it, or use another strategy", at_key=True)
