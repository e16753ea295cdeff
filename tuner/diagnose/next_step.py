"""The one thing to change in the sweep file next."""

from __future__ import annotations

from collections.abc import Sequence

from tuner.diagnose.bounds import BoundFinding
from tuner.diagnose.curves import Flag, FlagKind
from tuner.diagnose.error_parts import ErrorParts, Verdict
from tuner.diagnose.evidence import Evidence, Step
from tuner.diagnose.importance import Finding
from tuner.diagnose.remedies import REGULARISERS, SIZES, contradictions
from tuner.diagnose.trainable import first_trials, is_used, trainable
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.networks import MODEL
from tuner.spec.known.strategies import STRATEGIES
from tuner.spec.space import Dimension

_FOR_IMAGES = ("mlp", "cnn", "resnet")
_UPPER_HALF = 0.5
"""Where the best trial's size lies lower in its range, the search has tried larger networks, and left them."""


def next_step(evidence: Evidence) -> Step:
    """The most urgent change: a space that can be trained, then Ng's recipe, then room for the winners."""
    if (step := trainable(evidence)) is not None:
        return step
    if evidence.best is None:
        return first_trials(evidence)
    if evidence.telling:
        return _without_what_tells(evidence)
    parts = evidence.parts
    if parts is None:
        return _room(evidence, against=None) or _settle(evidence, "nothing in the records asks for a change")
    match parts.verdict:
        case Verdict.AT_TARGET if not parts.target_given:
            why = "no error is left on the dev set"
            return _cross_validated(evidence, why) or _settle(evidence, why)
        case Verdict.AT_TARGET:
            return _settle(evidence, "the dev error has reached the target error")
        case Verdict.MISMATCH:
            return _against_mismatch(parts)
        case Verdict.NO_BETTER_THAN_A_GUESS:
            return _against_a_guess(evidence, parts)
        case Verdict.BIAS | Verdict.BOTH:
            return _against_bias(evidence, parts)
        case Verdict.BIAS_OR_NOISE:
            return _against_bias_or_noise(evidence, parts)
        case Verdict.VARIANCE:
            return _against_variance(evidence, parts)
        case _:
            why = "neither bias nor variance stands out from the noise of the dev set"
            return _cross_validated(evidence, why) or _room(evidence, against=None) or _settle(evidence, why)


def _without_what_tells(evidence: Evidence) -> Step:
    """All figures mean little where the target lies among the inputs."""
    names = list(evidence.telling)
    one = len(names) == 1
    which = f"the column {names[0]} by itself tells" if one else f"the columns {' and '.join(names)} each tell"
    return Step(
        "data.ignore",
        f"add [{', '.join(names)}], unless {'it is' if one else 'they are'} known before the target is",
        f"{which} the target of nearly every example, so that the figures may hold for no new one",
    )


def _idle(evidence: Evidence) -> set[str]:
    """Hyperparameters that are known not to matter."""
    return {i.name for i in evidence.importances if i.finding is Finding.DOES_NOT_MATTER}


def _room(evidence: Evidence, *, against: Verdict | None, closed: Sequence[str] = ()) -> Step | None:
    """The first bound to move out that does not work against the remedy of the verdict."""
    wrong = contradictions(against)
    bound = next((b for b in evidence.bounds if (b.name, b.side) not in wrong and b.name not in closed), None)
    return None if bound is None else _move(bound)


def _named(evidence: Evidence, *sides: tuple[str, str]) -> Step | None:
    """The bound of a knob that the recipe names, where the winners crowd it."""
    bound = next((b for b in evidence.bounds if (b.name, b.side) in sides), None)
    return None if bound is None else _move(bound)


def _move(bound: BoundFinding) -> Step:
    suggestion = f"{bound.suggestion:.4g}" if isinstance(bound.suggestion, float) else str(bound.suggestion)
    if bound.is_choice:
        return Step(f"space.{bound.name}.choices", f"add {suggestion}", bound.text)
    verb = "lower" if bound.side == "low" else "raise"
    return Step(f"space.{bound.name}.{bound.side}", f"{verb} it to {suggestion}", bound.text)


def _against_a_guess(evidence: Evidence, parts: ErrorParts) -> Step:
    """Nothing was learned: longer training if the curve rises, else the data are in question."""
    assert parts.guess_error is not None
    why = f"the dev error {parts.text(parts.dev_error)} is no better than a guess that looks at no input"
    if _has(evidence.flags, FlagKind.STILL_IMPROVING):
        return _longer(evidence, why)
    if (step := _cross_validated(evidence, why)) is not None:
        return step
    step = _named(evidence, ("learning_rate", "low"), ("learning_rate", "high"))
    return step or Step("data", "look at the inputs and the target with `tuner check`", why)


def _cross_validated(evidence: Evidence, why: str) -> Step | None:
    """Folds, where the dev set is too small for what it could not tell."""
    return Step("data.folds", "set it to 5", f"{why}; {evidence.folds}") if evidence.folds else None


def _longer(evidence: Evidence, why: str) -> Step:
    epochs = evidence.training.get("epochs")
    longer = f"raise it to {2 * epochs}" if isinstance(epochs, int) else "double it"
    return Step("training.epochs", longer, f"{why}, and the best trial was still improving at its last epoch")


def _against_bias(evidence: Evidence, parts: ErrorParts) -> Step:
    """Longer training, a bigger network, another optimiser or architecture."""
    why = f"high bias: the training error {parts.text(parts.train_error)} is above "
    why += f"the target error {parts.text(parts.target_error)}"
    if parts.reached_error is not None:
        why = f"high bias: the training error {parts.text(parts.train_error)} is above the dev error "
        why += f"{parts.text(parts.reached_error)} of {parts.reached_by}"
    return _room_to_fit(evidence, why) or Step("model", _another(evidence), why)


def _against_bias_or_noise(evidence: Evidence, parts: ErrorParts) -> Step:
    """What would show bias to be some, on a dev set that can tell; and where nothing did, an end."""
    why = f"no network of this size has a training error below {parts.text(parts.train_error)}: bias, or noise"
    if not _has(evidence.flags, FlagKind.STILL_IMPROVING) and (step := _cross_validated(evidence, why)) is not None:
        return step
    untold = f"{why}, which objective.target_error would tell apart"
    if (step := _room_to_fit(evidence, untold, against=Verdict.BIAS_OR_NOISE)) is not None:
        return step
    if (choices := _another(evidence)).startswith("set it"):
        return Step("model", choices, why)
    return _settle(evidence, f"{why}; larger networks have not shown which, further inputs or a target_error may")


def _room_to_fit(evidence: Evidence, why: str, *, against: Verdict = Verdict.BIAS) -> Step | None:
    """The recipe's remedies for bias, but its last; of what may be noise no size that has not helped is asked for."""
    if _has(evidence.flags, FlagKind.STILL_IMPROVING):
        return _longer(evidence, why)
    if evidence.own_code:
        return Step("", "try a larger network, another optimiser or another architecture", why)
    signal = next((f for f in evidence.flags if f.kind in (FlagKind.DEAD_UNITS, FlagKind.VANISHING_GRADIENTS)), None)
    if signal is not None and _is_unnormalised(evidence):
        return Step("model.norm", "set it to batch", f"{why}; {signal.text}")
    sizes, regularisers = [(name, "high") for name in SIZES], [(name, "low") for name in REGULARISERS]
    is_enough = against is Verdict.BIAS_OR_NOISE and evidence.size_is_enough
    if is_enough:
        step = _named(evidence, *regularisers)
    else:
        step = _named(evidence, *sizes, *regularisers) or _larger(evidence, why)
    if step is not None:
        return step
    if evidence.training.get("optimizer") == "sgd" and "optimizer" not in evidence.space.names:
        return Step("training.optimizer", "try adam", why)
    return _room(evidence, against=Verdict.BIAS, closed=SIZES if is_enough else ())


def _is_unnormalised(evidence: Evidence) -> bool:
    """Whether the model can be normalised, and is neither normalised nor searched with and without."""
    known = HYPERPARAMETERS["norm"]
    if "norm" in evidence.space.names or known.models is None or evidence.model not in known.models:
        return False
    default = known.default_for(str(evidence.training.get("optimizer", "")), evidence.model)
    return (evidence.norm or default) == "none"


def _another(evidence: Evidence) -> str:
    """The recipe's last remedy."""
    fitting = [kind for kind in _FOR_IMAGES if kind != evidence.model]
    if not evidence.images or evidence.model not in _FOR_IMAGES or MODEL in evidence.space.names:
        return "try another architecture, or further inputs"
    return f"set it to {{choices: [{', '.join([evidence.model, *fitting])}]}}, which searches among architectures"


def _larger(evidence: Evidence, why: str) -> Step | None:
    """A bigger network, unless the search has tried larger ones and left them."""
    if evidence.model == "linear":
        return Step("model", "set it to mlp: a linear model fits nothing that bends", why)
    for name in SIZES:
        known = HYPERPARAMETERS[name]
        if name not in evidence.space.names:
            if known.models is not None and evidence.model in known.models:
                return Step(f"space.{name}", "search it: a bigger network", why)
            continue
        dimension = evidence.space[name]
        if dimension.fixed or name in _idle(evidence) or evidence.best is None:
            continue
        own, highest = evidence.best.get(name), dimension.choices[-1] if dimension.choices else dimension.high
        if not isinstance(highest, int | float) or (isinstance(own, int | float) and _is_left(dimension, own)):
            continue
        larger = int(highest) + 2 if name == "hidden_layers" else 2 * int(highest)
        if dimension.choices:
            return Step(f"space.{name}.choices", f"add {larger}: a bigger network", why)
        return Step(f"space.{name}.high", f"raise it to {larger}: a bigger network", why)
    return None


def _is_left(dimension: Dimension, value: float) -> bool:
    """Whether the search has tried larger values than the best trial's, and left them."""
    if dimension.choices:
        return value != max(dimension.choices)
    return dimension.to_unit(value) < _UPPER_HALF


def _against_variance(evidence: Evidence, parts: ErrorParts) -> Step:
    """Regularisation that is not searched yet, else more data."""
    unseen, train = f"dev error {parts.text(parts.dev_error)}", parts.text(parts.train_error)
    if parts.train_dev_error is not None:
        unseen = f"error {parts.text(parts.train_dev_error)} on held-out training examples"
    why = f"high variance: the {unseen} is above the training error {train}, which networks of this size reach"
    if evidence.own_code:
        return Step("", "search a regulariser (weight decay, dropout), or get more training data", why)
    for name in REGULARISERS:
        if not is_used(name, evidence.space.names, evidence.training) and name != "l1":
            return Step(f"space.{name}", "search it", f"{why}, and {name} is neither searched nor set")
    closed = [name for name in REGULARISERS if name in evidence.kept]
    if closed:
        return _open_regularisation(closed, evidence.strategy, why)
    step = _named(evidence, *((name, "high") for name in REGULARISERS))
    if step is not None:
        return step
    if evidence.images and not is_used("augment", evidence.space.names, evidence.training):
        return Step("space.augment", "search it", f"{why}, and the images are not augmented")
    if evidence.told_apart:
        return Step(
            "data",
            "make the training examples more like the dev examples",
            f"{why}, regularisation was searched already, and a classifier tells the two parts apart",
        )
    step = _room(evidence, against=Verdict.VARIANCE)
    change = "get more training data, or augment it" if evidence.images else "get more training data"
    change += " (`tuner learning-curve` says whether they would help)"
    if evidence.average:
        change += f"; until then `tuner predict --average {evidence.average}` predicts better than the winner alone"
    return step or Step("", change, f"{why}, and regularisation was searched already")


def _against_mismatch(parts: ErrorParts) -> Step:
    """No knob of the training helps: it is the data that differ."""
    assert parts.train_dev_error is not None
    dev, train_dev = parts.text(parts.dev_error), parts.text(parts.train_dev_error)
    return Step(
        "data",
        "make the training examples more like the dev examples, or train on some that are like these",
        f"mismatch: the dev error {dev} is above the {train_dev} of training examples that were held out",
    )


def _open_regularisation(closed: Sequence[str], strategy: str, why: str) -> Step:
    """Hyperparameters that lie in the space, but that the search never moved."""
    kept = f"{why}, and {' and '.join(closed)} kept {'its default' if len(closed) == 1 else 'their defaults'} all along"
    if strategy in STRATEGIES and STRATEGIES[strategy].opens_regularisation:
        return Step("search.regularisation", "set it to always", kept)
    return Step("search.trials", "raise it, so that the search comes to regularisation", kept)


def _settle(evidence: Evidence, why: str) -> Step:
    if not evidence.confirmed and evidence.num_ties > 1:
        return Step(
            "finalists",
            "add {count: 5, seeds: 3}",
            f"{why}; {evidence.num_ties} trials cannot be told from the best, fresh seeds may",
        )
    if evidence.tested:
        return Step("", "nothing, the final choice is made and tested", why)
    if not evidence.testable:
        return Step("", "nothing; there is no test set to evaluate the final choice on", why)
    if evidence.other_tested:
        return Step("", "nothing; or `tuner test --again`, since another trial than the best was tested", why)
    return Step("", "evaluate the final choice once with `tuner test`", why)


def _has(flags: Sequence[Flag], kind: FlagKind) -> bool:
    return any(f.kind is kind for f in flags)
