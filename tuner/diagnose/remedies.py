"""Which ends of ranges the recipe moves out: larger networks against bias, more regularisation against variance."""

from __future__ import annotations

from typing import Literal

from tuner.diagnose.error_parts import Verdict

Side = tuple[str, Literal["low", "high"]]
"""A hyperparameter and an end of its range."""

SIZES = ("hidden_units", "hidden_layers", "channels")
REGULARISERS = ("weight_decay", "dropout", "l1")

_AGAINST_BIAS: frozenset[Side] = frozenset(
    [*((name, "high") for name in SIZES), *((name, "low") for name in REGULARISERS)]
)
_AGAINST_VARIANCE: frozenset[Side] = frozenset(
    [*((name, "low") for name in SIZES), *((name, "high") for name in REGULARISERS)]
)


def remedies(verdict: Verdict | None) -> frozenset[Side]:
    """The ends that are not to move in, since the verdict asks for what lies there."""
    match verdict:
        case Verdict.BIAS | Verdict.BIAS_OR_NOISE:
            return _AGAINST_BIAS
        case Verdict.VARIANCE:
            return _AGAINST_VARIANCE
        case Verdict.BOTH:
            return _AGAINST_BIAS | _AGAINST_VARIANCE
        case _:
            return frozenset()


def contradictions(verdict: Verdict | None) -> frozenset[Side]:
    """The ends that are not to move out, since what lies there works against what the verdict asks for."""
    match verdict:
        case Verdict.BIAS:
            return _AGAINST_VARIANCE
        case Verdict.VARIANCE:
            return _AGAINST_BIAS
        case _:
            return frozenset()
