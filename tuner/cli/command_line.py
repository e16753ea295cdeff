"""The command that a user typed, as it is said again: to go on with a run, in a shell, with no password in it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_ONCE = ("--fresh", "--retry-failed")
"""What was done when the run began, and would be done over again."""


def command_to_go_on(arguments: Sequence[str]) -> str:
    """The command that goes on with the run that these arguments of `tuner` began; `***` stands for a password."""
    from tuner.store.locations import hide_password

    return shlex.join(["tuner", *(hide_password(argument) for argument in arguments if argument not in _ONCE)])


def say_how_to_go_on(command: str, *, signal: int | None) -> str:
    """The last line of a run that was ended early."""
    why = "interrupted" if signal else "out of time"
    password = "   (with the password in the place of ***)" if "***" in command else ""
    return f"{why}; everything is kept. To go on: {command}{password}"
