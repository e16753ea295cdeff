"""The user's command as a template: split into arguments first, filled in afterwards, so that no value can add one."""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.records import Params, ParamValue

GIVEN: Mapping[str, str] = {
    "epochs": "the epoch to train to, as $TUNER_EPOCHS",
    "seed": "the trial's seed, as $TUNER_SEED",
    "trial": "the trial's number, as $TUNER_TRIAL",
    "checkpoint_dir": "the trial's own folder, as $TUNER_CHECKPOINT_DIR",
    "params": "all hyperparameters as one JSON object",
}
"""The placeholders that are no hyperparameters."""
ALL_PARAMS = "params"

_Piece = tuple[str, str | None]
"""Text, and the name of the placeholder behind it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command whose arguments have placeholders."""

    arguments: tuple[tuple[_Piece, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, in order, each once."""
        return tuple(dict.fromkeys(name for pieces in self.arguments for _, name in pieces if name is not None))

    def fill_nothing(self) -> list[str]:
        """The arguments as they are written."""
        return ["".join(text + (f"{{{name}}}" if name is not None else "") for text, name in a) for a in self.arguments]

    def fill(self, values: Params, *, given: Mapping[str, ParamValue]) -> list[str]:
        """The arguments for one trial.

        Args:
            values: All hyperparameters.
            given: A value for each name of `GIVEN` but `params`.
        """
        texts = {name: _text(value) for name, value in {**values, **given}.items()}
        texts[ALL_PARAMS] = json.dumps(dict(values))
        return [
            "".join(text + (texts[name] if name is not None else "") for text, name in pieces)
            for pieces in self.arguments
        ]


def parse_command(text: str) -> Command:
    """Split a command into arguments as a shell would, and find the placeholders in them; no shell is involved.

    Raises:
        ValueError: it cannot be split, or has a brace that is no placeholder's; the message says the rule.
    """
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments ({str(error).lower()})") from error
    if not arguments:
        raise ValueError("must name a program")
    return Command(tuple(_pieces(argument) for argument in arguments))


def _pieces(argument: str) -> tuple[_Piece, ...]:
    rule = f"has a brace that is no placeholder's in {argument}"
    try:
        found = list(string.Formatter().parse(argument))
    except ValueError as error:
        raise ValueError(rule) from error
    if any(name is not None and (specification or conversion) for _, name, specification, conversion in found):
        raise ValueError(f"has a placeholder with a format in {argument}")
    if any(name == "" for _, name, *_ in found):
        raise ValueError(rule)
    return tuple((text, name) for text, name, *_ in found)


def _text(value: ParamValue) -> str:
    """A value as an argument: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
