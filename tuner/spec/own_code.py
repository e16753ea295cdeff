"""The user's own code that a sweep names: the keys that name it, and the files it consists of, found without a run."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from tuner.spec.command import parse_command
from tuner.spec.known.networks import MODELS
from tuner.spec.model import OWN_MODEL, SweepSpec
from tuner.spec.values import is_own

_INSTALLED = tuple(
    Path(path).resolve()
    for path in {str(Path(__file__).parents[1]), *(sysconfig.get_path(n) for n in ("stdlib", "purelib", "platlib"))}
)
"""What lies below is no code of the user's, even if it lies in the user's folder."""
_MOST_FILES = 300
_MOST_BYTES = 2**22
"""A command may name data as well; what is larger is no code."""
FUNCTION = re.compile(r".*[\w.]:\w+")
"""What a source of data looks like that is a function: `package.module:function`, `path/to/file.py:function`."""


def named_code(spec: SweepSpec) -> dict[str, str]:
    """What a sweep names that is imported or started, by key; empty where everything is built in.

    Trackers of the user's are none of it: they are left out where only a database names them.
    """
    sources = {"data.source": spec.data.source, "data.dev": spec.data.dev, "data.test": spec.data.test}
    found = {key: name for key, name in sources.items() if name is not None and FUNCTION.fullmatch(name)}
    parts = {
        "objective.metric": spec.objective.metric,
        "training.loss": spec.training.loss,
        "training.optimizer": spec.training.optimizer,
        "search.strategy": spec.search.strategy,
        "search.pruner": spec.search.pruner or "none",
    }
    found |= {key: name for key, name in parts.items() if is_own(name)}
    if spec.model.kind not in (*MODELS, OWN_MODEL):
        found["model"] = spec.model.kind
    if spec.trainer is not None:
        found["trainer"] = spec.trainer
    if spec.command is not None:
        found["command"] = spec.command
        found["folder"] = spec.folder or "."
    return found


def code_files(spec: SweepSpec, *, key: str | None = None) -> dict[str, str]:
    """The SHA-256 of each file of the user's code, by path: what the sweep names, and what that imports.

    Imports are read from the source, those inside functions too; a module whose name is made up at run time is not
    seen. Paths are relative to the sweep file's folder. What is installed is left out.

    Args:
        spec: The sweep file.
        key: What this key of it names, such as `model`; all of them if None.
    """
    root = Path(spec.root).resolve()
    todo = [(file, places) for file, places in _first_files(spec, root, key) if _is_the_users(file)]
    found: dict[Path, str] = {}
    while todo and len(found) < _MOST_FILES:
        file, places = todo.pop()
        if file in found:
            continue
        content = _read_code(file)
        if content is None:
            continue
        found[file], names = content
        for level, name in names:
            folders = [file.parents[level - 1]] if level else places
            todo += [(f, places) for f in _modules(name, folders) if _is_the_users(f)]
    return {os.path.relpath(file, root): found[file] for file in sorted(found)}


def _read_code(file: Path) -> tuple[str, tuple[tuple[int, str], ...]] | None:
    """A file's SHA-256, and the modules that it imports as (dots before the name, name); None if it cannot be read."""
    try:
        stamp = file.stat()
        if stamp.st_size > _MOST_BYTES:
            return None
        return _read(file, stamp.st_mtime_ns, stamp.st_size, stamp.st_ino)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _read(file: Path, *_changed: int) -> tuple[str, tuple[tuple[int, str], ...]]:
    content = file.read_bytes()
    names = tuple(dict.fromkeys(_imported(content))) if file.suffix == ".py" else ()
    return hashlib.sha256(content).hexdigest(), names


def _imported(content: bytes) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from ((0, alias.name) for alias in node.names)
            case ast.ImportFrom():
                base = f"{node.module}." if node.module else ""
                yield from ((node.level, f"{base}{alias.name}") for alias in node.names)


def _first_files(spec: SweepSpec, root: Path, asked: str | None) -> Iterator[tuple[Path, Sequence[Path]]]:
    """The files that the sweep names, each with the folders that its imports are looked for in."""
    for key, name in named_code(spec).items():
        if asked not in (None, key):
            continue
        match key:
            case "folder":
                pass
            case "command":
                folder = (root / (spec.folder or ".")).resolve()
                yield from _files_of_command(parse_command(name).fill_nothing(), folder)
            case _:
                module = name.rpartition(":")[0]
                places = [root, Path.cwd()]
                files = [(root / module).resolve()] if module.endswith(".py") else _modules(module, places)
                yield from ((file, [file.parent, *places]) for file in files)


def _files_of_command(words: Sequence[str], folder: Path) -> Iterator[tuple[Path, Sequence[Path]]]:
    """The script or module that a command starts, and the other files that it names."""
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m":
            yield from ((file, [folder]) for file in _modules(word, [folder]))
            yield from ((file, [folder]) for file in _modules(f"{word}.__main__", [folder]))
        elif "{" not in word:
            file = (folder / word).resolve()
            if file.is_file() and (before or file.is_relative_to(folder)):  # the program may be Python itself
                yield file, [file.parent, folder]


def _modules(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """The files that importing a module runs, and the last part's if that is a module and no name in one."""
    parts = [part for part in name.split(".") if part != "*"]
    for folder in folders:
        found = []
        for count in range(1, len(parts) + 1):
            place = folder.joinpath(*parts[:count])
            found += [file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()]
        if found or not parts:
            yield from (file.resolve() for file in [*found, *([folder / "__init__.py"] if not parts else [])])
            return


def _is_the_users(file: Path) -> bool:
    return not any(file.is_relative_to(folder) for folder in _INSTALLED)
