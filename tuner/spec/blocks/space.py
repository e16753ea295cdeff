"""The entries of the `space:` block: what is searched of one hyperparameter."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuner.spec.values import Number, Part, PositiveNumber, Tier, Value, Values


class DimensionSpec(Part):
    """One hyperparameter of `space:`: a range, or choices."""

    low: Number | None = None
    """Least value; a known hyperparameter's own if left out."""
    high: Number | None = None
    """Greatest value; a known hyperparameter's own if left out."""
    choices: Annotated[list[Value], Field(min_length=1)] | None = None
    """The values to choose from, instead of a range."""
    log: bool | None = None
    """Search on a logarithmic scale (momenta: on log(1 - value)); each known hyperparameter has its right scale
    without this."""
    step: PositiveNumber | None = None
    """Distance between neighbouring values; a continuum if left out (integers: 1)."""
    type: Literal["float", "int"] | None = None
    """Kind of number; taken from the hyperparameter's name, else from how `low` and `high` are written."""
    tier: Tier | None = None
    """Priority; known hyperparameters have theirs by name, your own are in tier 2 if it is left out."""
    default: Value | None = None
    """Value in the first trial and while its tier is not open; a known hyperparameter has one by name, else the
    middle."""
    guess: Value | None = None
    """Where you think that the best value lies: tried in the first trial, beside the defaults."""
    sure: Literal["little", "much"] = "little"
    """How sure you are of your `guess`: `much` puts it in the place of the default; the passes leave from it then."""
    when: dict[str, Values] = Field(default_factory=dict)
    """Search this only where other parameters have these values, such as `{optimizer: adam}`."""
