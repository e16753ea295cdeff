"""The user's command as a template: split into arguments first, filled in afterwards, so that no value can add one."""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Mapping
from dataclasses import dataclass

from tuner.records import Params, ParamValue

GIVEN: Mapping[str, str] = {
    "epochs": "the epochs of the full training, as $TUNER_EPOCHS",
    "to_epoch": "the epoch to train to this time, as $TUNER_TO_EPOCH",
    "seed": "the trial's seed, as $TUNER_SEED",
    "trial": "the trial's number, as $TUNER_TRIAL",
    "checkpoint_dir": "the trial's own folder, as $TUNER_CHECKPOINT_DIR",
    "params": "all hyperparameters as one JSON object",
}
"""The placeholders that are no hyperparameters."""
ALL_PARAMS = "params"


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """`{name}`, which becomes a value, or `{name:--on|--off}`, which becomes a word for true or for false."""

    name: str
    words: tuple[str, str] | None = None
    """For true and for false; None for the value itself."""

    def fill(self, values: Params) -> str:
        value = values[self.name]
        return _text(value) if self.words is None else self.words[0 if value else 1]

    def __str__(self) -> str:
        return f"{{{self.name}{':' + '|'.join(self.words) if self.words else ''}}}"


_Piece = tuple[str, _Placeholder | None]
"""Text, and the placeholder behind it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command whose arguments have placeholders."""

    arguments: tuple[tuple[_Piece, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, in order, each once."""
        return tuple(dict.fromkeys(found.name for found in self._placeholders))

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of placeholders that say words for true and false."""
        return tuple(dict.fromkeys(found.name for found in self._placeholders if found.words is not None))

    @property
    def _placeholders(self) -> list[_Placeholder]:
        return [found for pieces in self.arguments for _, found in pieces if found is not None]

    def fill_nothing(self) -> list[str]:
        """The arguments as they are written."""
        return ["".join(text + (str(found) if found else "") for text, found in a) for a in self.arguments]

    def fill(self, values: Params, *, given: Mapping[str, ParamValue]) -> list[str]:
        """The arguments for one trial; one that is nothing but placeholders, and empty, is left out.

        Args:
            values: All hyperparameters.
            given: A value for each name of `GIVEN` but `params`.
        """
        known: Params = {**values, **given, ALL_PARAMS: json.dumps(dict(values))}
        filled = []
        for pieces in self.arguments:
            argument = "".join(text + (found.fill(known) if found else "") for text, found in pieces)
            if argument or all(found is None for _, found in pieces):
                filled.append(argument)
        return filled


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


def parse_text(text: str) -> Command:
    """A text with placeholders as a command of one argument.

    Raises:
        ValueError: it has a brace that is no placeholder's; the message says the rule.
    """
    return Command((_pieces(text),))


def _pieces(argument: str) -> tuple[_Piece, ...]:
    rule = f"has a brace that is no placeholder's in {argument}"
    try:
        found = list(string.Formatter().parse(argument))
    except ValueError as error:
        raise ValueError(rule) from error
    if any(name is not None and (conversion or _is_format(words or "")) for _, name, words, conversion in found):
        raise ValueError(f"has a placeholder with a format in {argument}")
    if any(name == "" for _, name, *_ in found):
        raise ValueError(rule)
    return tuple((text, None if name is None else _placeholder(name, words or "")) for text, name, words, _ in found)


def _is_format(words: str) -> bool:
    """Whether a placeholder has a format such as `.3f`, and no option to give or to leave out."""
    return words != "" and not words.startswith(("-", "+", "|")) and not words[0].isalpha()


def _placeholder(name: str, words: str) -> _Placeholder:
    on, _, off = words.partition("|")
    return _Placeholder(name, (on, off) if words else None)


def _text(value: ParamValue) -> str:
    """A value as an argument: `true`, not `True`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
