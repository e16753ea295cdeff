"""Reading a sweep file: every problem at once, each with its place in the file.

`read_study_name` is all that `tuner status` needs of a sweep file, so pydantic is imported only by `read_sweep`.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import SweepFileError
from tuner.records import Json
from tuner.spec.known.names import MAX_STUDY_NAME, STUDY_NAME, STUDY_NAME_RULE
from tuner.spec.text.document import Document, parse_yaml
from tuner.spec.text.problems import Place, describe

if TYPE_CHECKING:
    from tuner.spec.model import SweepSpec

MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _SweepFile:
    """A sweep file that can be used."""

    spec: SweepSpec
    warnings: tuple[str, ...]
    """What is allowed and probably not meant, one line each."""
    path: Path
    text: str
    """As it is on disk: comments included, overrides not."""


def read_sweep(path: Path, *, overrides: Sequence[str] = ()) -> _SweepFile:
    """Read and check a sweep file.

    Args:
        path: Of the file; relative paths in it start at its folder.
        overrides: `key.path=value` for each value that is replaced, as `--set` gives them; values are YAML.

    Raises:
        SweepFileError: it cannot be used; one line for each problem, in the order of the file.
    """
    text = _read_text(path)
    spec, warnings = parse_sweep(text, name=str(path), root=path.resolve().parent, overrides=overrides)
    return _SweepFile(spec, warnings, path, text)


def parse_sweep(
    text: str, *, name: str, root: Path, overrides: Sequence[str] = ()
) -> tuple[SweepSpec, tuple[str, ...]]:
    """Check the text of a sweep file; the sweep, and one line for each warning.

    Args:
        text: YAML 1.2.
        name: What the file is called in messages.
        root: Folder that relative paths in it start at.
        overrides: As in `read_sweep`.

    Raises:
        SweepFileError: it cannot be used.
    """
    return _checked(parse_yaml(text, locate=partial(_place, name)), root=root, overrides=overrides)


def parse_values(values: Json, *, root: Path, overrides: Sequence[str] = ()) -> tuple[SweepSpec, tuple[str, ...]]:
    """Check the values of a sweep that stands in no file; arguments, answer and error as of `parse_sweep`."""
    from tuner.spec.text.dump import to_yaml

    def place(line: int, column: int, written: str) -> Place:
        return Place("sweep", (0, line, column), written)

    text = to_yaml(values if isinstance(values, Mapping) else {})
    return _checked(parse_yaml(text, locate=place), root=root, overrides=overrides)


def _checked(document: Document, *, root: Path, overrides: Sequence[str]) -> tuple[SweepSpec, tuple[str, ...]]:
    from tuner.spec.checks.sweep import check_document
    from tuner.spec.edit.overrides import apply_overrides
    from tuner.spec.text.findings import Findings

    if document.is_whole and isinstance(document.value, dict):
        apply_overrides(document, overrides)
    findings = Findings(document)
    spec = check_document(document, findings) if document.is_whole else None
    if spec is None:
        raise SweepFileError(findings.errors)
    known: dict[str, object] = {"root": str(root)}
    if spec.resources is not None:
        known["resources"] = spec.resources.at(
            {str(path[1]): place.label for path, place in document.values.items() if path[:1] == ("resources",) != path}
        )
    if spec.search.arguments or spec.search.pruner_arguments:
        places = {path[1:]: place.label for path, place in document.values.items() if path[:1] == ("search",) != path}
        known["search"] = spec.search.at({tuple(map(str, path)): label for path, label in places.items()})
    return spec.model_copy(update=known), findings.warnings


def read_study_name(path: Path) -> str:
    """The name of a sweep file's study; nothing else of the file is read or checked.

    Raises:
        SweepFileError: there is no such file, or no valid name in it.
    """
    document = parse_yaml(_read_text(path), locate=partial(_place, str(path)))
    name = document.value.get("study") if isinstance(document.value, dict) else None
    if name is None and not document.is_whole:
        raise SweepFileError([f"{path}: is not valid YAML; see: tuner check {shlex.quote(str(path))}"])
    if name is None:
        raise SweepFileError([f"{path}: study: is required; add `study: NAME`"])
    if problem := study_name_problem(name):
        raise SweepFileError([f"{path}: study: {problem}"])
    return str(name)


def study_name_problem(name: object) -> str | None:
    """Why no study can be called so, with what it is called; None if one can."""
    if name is None:
        return "is required; add `study: NAME`"
    if isinstance(name, str) and re.fullmatch(STUDY_NAME, name) and len(name) <= MAX_STUDY_NAME:
        return None
    return f"{STUDY_NAME_RULE}, got {describe(str(name))}"


def _place(name: str, line: int, column: int, written: str) -> Place:
    return Place(f"{name}:{line}:{column}", (0, line, column), written)


def _read_text(path: Path) -> str:
    """The text of a file that can be a sweep file.

    Raises:
        SweepFileError: there is none, it is too large, or it is no text.
    """
    try:
        if not path.is_file():
            raise SweepFileError([_no_file(path)])
        if path.stat().st_size > MAX_BYTES:
            raise SweepFileError(
                [f"{path}: is larger than 1 MiB; a sweep file is a few kilobytes, data goes elsewhere"]
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SweepFileError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SweepFileError([f"{path}:{line}:1: is not UTF-8 text; save it as UTF-8"]) from error


def _no_file(path: Path) -> str:
    if path.exists():
        return f"{path}: is no file; give the path of a sweep file"
    near: list[str] = []
    if path.parent.is_dir():
        names = [p.name for p in path.parent.iterdir() if p.suffix in (".yaml", ".yml")]
        near = difflib.get_close_matches(path.name, names, n=1)
    hint = f'. Did you mean "{path.parent / near[0]}"?' if near else "; `tuner init` writes one to start from"
    return f"{path}: there is no such file{hint}"
