"""The simple models that a report holds networks against."""

from __future__ import annotations

from typing import Literal, get_args

BaselineName = Literal["guess", "linear", "boosting", "forest"]

BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
"""All of them, the simplest first."""
OF_ANY_INPUTS: tuple[BaselineName, ...] = ("guess", "linear")
"""Those that suit images and sequences too."""
