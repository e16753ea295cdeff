"""Notes that people make of a study and of its trials, in a file of the study's folder.

Not in the database: that has one writer, and a note is made while it runs as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tuner.errors import StorageError
from tuner.paths import own_place


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What was noted at one time."""

    trial: int | None
    """None for one of the whole study."""
    text: str = ""
    tags: tuple[str, ...] = ()
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """UTC, ISO 8601."""
    removes: bool = False
    """Whether it takes away what was noted there before."""


def add_note(file: Path, note: Note) -> None:
    """Append a note.

    Raises:
        StorageError: the file cannot be written.
    """
    try:
        with own_place(file).open("a", encoding="utf-8") as output:
            output.write(json.dumps(asdict(note)) + "\n")
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror or error}") from error


def read_notes(file: Path) -> tuple[Note, ...]:
    """The notes that stand, in the order in which they were made; a line that is none is passed over."""
    found: list[Note] = []
    for note in _lines(file):
        if note.removes:
            found = [other for other in found if other.trial != note.trial]
        else:
            found.append(note)
    return tuple(found)


def notes_in_words(notes: Iterable[Note]) -> Mapping[int | None, str]:
    """What a table shows of each trial, and under None of the study: the tags, then the texts."""
    tags: dict[int | None, dict[str, None]] = {}
    texts: dict[int | None, list[str]] = {}
    for note in notes:
        tags.setdefault(note.trial, {}).update(dict.fromkeys(f"#{tag}" for tag in note.tags))
        texts.setdefault(note.trial, []).extend([note.text] if note.text else [])
    return {trial: " ".join([*tags[trial], "; ".join(texts[trial])]).strip() for trial in tags}


def _lines(file: Path) -> Iterator[Note]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            values = json.loads(line)
            trial, text, tags, at = values["trial"], values["text"], values["tags"], values["at"]
        except (ValueError, TypeError, KeyError):
            continue
        if (trial is None or type(trial) is int) and isinstance(tags, list):
            yield Note(
                trial=trial, text=str(text), tags=tuple(map(str, tags)), at=str(at), removes=bool(values.get("removes"))
            )
