"""Examples and functions that a sweep is given as objects: files of the study, which the sweep then names.

So what a notebook's cell defines reaches the worker processes, and every command that works with the study afterwards.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.errors import UsageError
from tuner.imports import require
from tuner.paths import beside, own_place
from tuner.records import Json

_SOURCES = (("source",), ("dev",), ("test",))
"""Keys of `data:` that examples may stand at."""
_SIMPLE = (bool, int, float, str, type(None))


class Given:
    """Turns the objects in a sweep into files of its study.

    They are written by `write`, once the sweep is known to be in order, and taken back if the study refuses to go on
    with them: what an existing study uses stays as it was until then.
    """

    def __init__(self, folder: Path, *, root: Path) -> None:
        """Say where.

        Args:
            folder: Of what was given; made when there is something.
            root: Folder that relative paths of the sweep start at.
        """
        self._folder = folder
        self._root = root
        self._files: dict[Path, bytes] = {}
        self._before: dict[Path, bytes | None] = {}
        """What was in the place of each file that was written; None where there was nothing."""

    def plain(self, value: object, key: tuple[str, ...] = ()) -> Json:
        """A value of a sweep as a sweep file has it.

        Raises:
            UsageError: it holds something that no sweep file can name.
        """
        match value:
            case bool() | int() | float() | str() | None:
                return value
            case np.generic():
                return self.plain(value.item(), key)
            case os.PathLike():
                return os.fspath(value)
            case Mapping() if not self._is_examples(value, key):
                return {str(name): self.plain(inner, (*key, str(name))) for name, inner in value.items()}
            case list() | tuple() if not self._is_examples(value, key):
                return [self.plain(inner, key) for inner in value]
        if self._may_be_examples(key) and not callable(value):
            return self._examples(value, key)
        if callable(value):
            return self.function(value, key)
        raise UsageError(
            f"{'.'.join(key)}: a {type(value).__name__} cannot stand in a sweep; give a number, a text, a list, a "
            "mapping, a function, or examples as data.source"
        )

    def function(self, function: Callable[..., object], key: tuple[str, ...]) -> str:
        """What names a function or class: where it is defined, or a file that holds it if that is a cell or a script.

        Raises:
            MissingExtraError: cloudpickle is not installed.
            UsageError: it cannot be pickled.
        """
        name = getattr(function, "__qualname__", "")
        module = sys.modules.get(getattr(function, "__module__", ""))
        if module is not None and module.__name__ != "__main__" and getattr(module, name, None) is function:
            file = getattr(module, "__file__", None)
            is_alone = "." not in module.__name__ and str(file).endswith(".py")
            return f"{os.path.relpath(str(file), self._root) if is_alone else module.__name__}:{name}"
        name = name if name.isidentifier() else "function"
        cloudpickle: Any = require("cloudpickle", extra="notebook")
        try:
            content: bytes = cloudpickle.dumps(function)
        except Exception as error:  # whatever the pickling of a user's object raises
            raise UsageError(
                f"{'.'.join(key)}: {name} cannot be sent to the worker processes: {error}; open files, locks and "
                "connections inside the function"
            ) from error
        file = self._folder / f"{'_'.join(key) or name}.py"
        self._files[file.with_suffix(".pickle")] = content
        self._files[file] = _module_text(function, name, file).encode()
        return f"{self._named(file)}:{name}"

    def _is_examples(self, value: Mapping[Any, object] | list[Any] | tuple[Any, ...], key: tuple[str, ...]) -> bool:
        parts = value.values() if isinstance(value, Mapping) else value
        return self._may_be_examples(key) and any(_is_array(part) for part in parts)

    def _may_be_examples(self, key: tuple[str, ...]) -> bool:
        return key[:1] == ("data",) and key[1:] in _SOURCES

    def _examples(self, value: object, key: tuple[str, ...]) -> str:
        """What names a file of these examples; its name follows its content, so that no other data take its place."""
        import pandas as pd

        buffer = io.BytesIO()
        if isinstance(value, pd.DataFrame):
            ending = "csv"
            buffer.write(value.to_csv(index=False, lineterminator="\n").encode())
        elif isinstance(value, Mapping):
            ending = "npz"
            np.savez(buffer, **{str(name): _array(part) for name, part in value.items()})  # type: ignore[arg-type]
        elif isinstance(value, list | tuple) and len(value) == 2:
            ending = "npz"
            np.savez(buffer, x=_array(value[0]), y=_array(value[1]))
        elif _is_array(value):
            ending = "npy"
            np.save(buffer, _array(value))
        else:
            raise UsageError(
                f"{'.'.join(key)}: a {type(value).__name__} holds no examples; give a DataFrame, (inputs, targets), a "
                "dict of arrays, or a function that returns one of them"
            )
        content = buffer.getvalue()
        file = self._folder / f"{key[-1]}-{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
        self._files[file] = content
        return self._named(file)

    def _named(self, file: Path) -> str:
        return os.path.relpath(file, self._root)

    @property
    def overwrites(self) -> bool:
        """Whether something else is there already in the place of what was given."""
        return any(file.is_file() and file.read_bytes() != content for file, content in self._files.items())

    def write(self) -> None:
        """Write what was given."""
        for file, content in self._files.items():
            before = file.read_bytes() if file.is_file() else None
            if before != content:
                self._before[file] = before
                self._write(file, content)

    def take_back(self) -> None:
        """Put back what was there before."""
        for file, content in self._before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                self._write(file, content)
        self._before = {}

    def _write(self, file: Path, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        own_place(file)
        beside(file).write_bytes(content)
        beside(file).replace(file)


def _is_array(value: object) -> bool:
    return (hasattr(value, "shape") and hasattr(value, "dtype")) or hasattr(value, "columns")


def _array(value: Any) -> npt.NDArray[Any]:
    """A tensor, series, frame or list as an array that NumPy writes without pickling."""
    found = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    return np.asarray(found.tolist()) if found.dtype == object else found


def _module_text(function: object, name: str, file: Path) -> str:
    """A module that has the function out of the pickle beside it, and its text to be read, and to be compared."""
    texts = "\n\n".join(_texts(function, set()))
    comment = "".join(f"# {line}".rstrip() + "\n" for line in texts.splitlines())
    return (
        f'"""`{name}`, as a sweep was given it: out of {file.with_suffix(".pickle").name}, with its text below."""\n\n'
        "import pickle\nfrom pathlib import Path\n\n"
        f'{name} = pickle.loads(Path(__file__).with_suffix(".pickle").read_bytes())\n\n{comment}'
    )


def _texts(value: object, seen: set[str]) -> Iterator[str]:
    """The source of a function or class of a cell, then of all that it names there."""
    try:
        yield inspect.getsource(value).rstrip()  # type: ignore[arg-type]
    except (OSError, TypeError):
        yield re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    for function in _functions_of(value):
        for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if isinstance(cell.cell_contents, _SIMPLE):
                yield f"{cell_name} = {cell.cell_contents!r}"
        for name in sorted(set(_names_in(function.__code__)) - seen):
            other = function.__globals__.get(name)
            if isinstance(other, _SIMPLE) and name in function.__globals__:
                seen.add(name)
                yield f"{name} = {other!r}"
            elif isinstance(other, FunctionType | type) and other.__module__ == function.__module__:
                seen.add(name)
                yield from _texts(other, seen)


def _functions_of(value: object) -> Iterable[FunctionType]:
    if isinstance(value, type):
        return [inner for inner in vars(value).values() if isinstance(inner, FunctionType)]
    return [value] if isinstance(value, FunctionType) else []


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names_in(inner)
