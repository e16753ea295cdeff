"""Where a string becomes an object, and where an optional package is asked for."""

from __future__ import annotations

import builtins
import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    BuiltinImporter,
    ExtensionFileLoader,
    FileFinder,
    FrozenImporter,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType

from tuner.errors import MissingExtraError, UserCodeError
from tuner.plugins import Plugin

_EXTRAS_OF_USERS: Mapping[str, str] = {"lightning": "lightning", "pytorch_lightning": "lightning"}
"""Packages that users' code imports, by the extra that brings them."""
_LOADERS = ((ExtensionFileLoader, EXTENSION_SUFFIXES), (SourceFileLoader, SOURCE_SUFFIXES))
"""What a folder's files are loaded by."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingExtraError: it is not installed; the message holds the `pip install` line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'{module} is needed for this and is not installed ({error}); run: pip install "tuner[{extra}]"'
        ) from error


def require_installed(module: str, *, extra: str) -> None:
    """Look whether an optional package is there, without importing it: another process will.

    Raises:
        MissingExtraError: it is not installed; the message holds the `pip install` line.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(f'{module} is needed for this and is not installed; run: pip install "tuner[{extra}]"')


def load_object(target: str, *, root: Path | None = None) -> object:
    """Import the object that `package.module:name` or `path/to/file.py:name` names.

    Args:
        target: What to import.
        root: Folder that a relative `.py` path starts from, and that modules are also looked for in
            (the sweep file's folder); the current folder if None.

    Raises:
        UserCodeError: the module or the name in it does not exist, or importing it raised.
        MissingExtraError: it imports a package of one of our extras, which is not installed.
    """
    module_name, separator, name = target.rpartition(":")
    if not separator or not module_name or not name:
        raise UserCodeError(f'"{target}" names no object; write package.module:name or path/to/file.py:name')
    module = _load_module(module_name, root=(root or Path.cwd()).resolve())
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, [n for n in vars(module) if not n.startswith("_")], n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise UserCodeError(f'{module_name} has no "{name}".{hint}')
    return getattr(module, name)


def load_plugin(plugin: Plugin) -> object:
    """Import what another package adds.

    Raises:
        UserCodeError: that failed, there is no such object, or it is none that a plug-in of its kind can be.
    """
    module, _, name = plugin.place.partition(":")
    cannot = f"the plug-in {plugin.name} (tuner.{plugin.kind}, of {plugin.package}) cannot be used"
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise UserCodeError(f"{cannot}: importing {plugin.place} failed: {type(error).__name__}: {error}") from error
    kinds = "a class" if plugin.kind == "trackers" else "a function or a class"
    if not (isinstance(found, type) if plugin.kind == "trackers" else callable(found)):
        raise UserCodeError(f"{cannot}: {plugin.place} must be {kinds}, and is a value of type {type(found).__name__}")
    return found


def _load_module(module_name: str, *, root: Path) -> ModuleType:
    folders = (root, Path.cwd())
    try:
        if not module_name.endswith(".py"):
            _offer(folders)
            own = (name for folder in folders if (name := _folder(folder).translated(module_name)))
            return importlib.import_module(next(own, module_name))
        path = (root / module_name).resolve()
        if not path.is_file():
            raise UserCodeError(f"no such file: {path}")
        _offer((path.parent, *folders))
        return importlib.import_module(_folder(path.parent).name_of_file(path))
    except UserCodeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS_OF_USERS.get(error.name or "")):
            require(str(error.name), extra=extra)
        raise UserCodeError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error


# Users' modules. A file of theirs imports its neighbours by bare names, as in a program that is started in its folder,
# at its top or later. Several such folders in one process may have modules of one name.

_owners: dict[str, tuple[_Folder, ModuleSpec]] = {}
"""The folder of each top-level module of users', by its name in `sys.modules`, and where the module lies."""
_offered: set[str] = set()
"""The folders that we put on Python's path."""
_python_import = builtins.__import__


def _offer(folders: Sequence[Path]) -> None:
    """Have Python look in these folders last: what is installed must not find a user's `random.py`.

    For processes that users' code starts, which know nothing of `_import`, and for `importlib`.
    """
    new = [str(folder) for folder in dict.fromkeys(folders) if str(folder) not in sys.path]
    sys.path += new
    _offered.update(new)


@cache
def _folder(path: Path) -> _Folder:
    return _Folder(path)


class _Folder:
    """A folder of users' modules, and what they are called in `sys.modules`.

    A module has its bare name there, so that what it defines can be pickled, unless another module has that name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[str, str | None] = {}
        """By bare name; None for what is not here."""

    def translated(self, name: str) -> str | None:
        """What a module is called that is imported by this name here; None if it is no module of this folder."""
        head, dot, rest = name.partition(".")
        if head not in self._names:
            found = self._found(head)
            self._names[head] = None if found is None else self._adopt(head, found)
        known = self._names[head]
        return None if known is None else known + dot + rest

    def name_of_file(self, path: Path) -> str:
        """What a file of this folder is called, however odd its name, and if a package has the same one."""
        if path.name not in self._names:
            found = importlib.util.spec_from_file_location(path.stem, path)
            assert found is not None
            by_import = None if "." in path.stem else self._found(path.stem)
            is_usual = by_import is not None and _same_file(by_import.origin, found.origin)
            self._names[path.name] = self.translated(path.stem) if is_usual else self._adopt(f"file {path.stem}", found)
        name = self._names[path.name]
        assert name is not None
        return name

    def _found(self, head: str) -> ModuleSpec | None:
        if head == "__main__" or BuiltinImporter.find_spec(head) or FrozenImporter.find_spec(head):
            return None  # what Python has in itself no file can stand for
        finder = FileFinder(str(self.path), *_LOADERS)  # a new one, which remembers nothing of an earlier look
        return finder.find_spec(head)

    def _adopt(self, head: str, found: ModuleSpec) -> str | None:
        other = _other_module(head, found)
        if other is not None and found.loader is None and other.loader is not None and head not in _owners:
            return (
                None  # a folder without an `__init__.py` gives way to a module that is installed, as it does in Python
            )
        is_free = other is None and head.isidentifier()
        name = head if is_free else f"{head.replace('.', '_')}_{zlib.crc32(bytes(self.path)):08x}"
        _owners[name] = (self, found)
        builtins.__import__ = _import
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)
        return name


def _other_module(head: str, found: ModuleSpec) -> ModuleSpec | None:
    """Another module of that name: one that is loaded, installed, or in another folder of users'."""
    if head in _owners:
        return _owners[head][1]
    known = sys.modules.get(head)
    if known is not None:
        spec = getattr(known, "__spec__", None) or ModuleSpec(head, None)
        return None if _same_file(getattr(known, "__file__", None), found.origin) else spec
    for finder in sys.meta_path:
        if finder is PathFinder:
            other = PathFinder.find_spec(head, [folder for folder in sys.path if folder not in _offered])
        else:
            other = finder.find_spec(head, None)
        if other is not None and not _same_file(other.origin, found.origin):
            return other
    return None


def _same_file(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and Path(one).resolve() == Path(other).resolve()


class _Finder(MetaPathFinder):
    """Finds the modules of `_owners`."""

    @classmethod
    def invalidate_caches(cls) -> None:
        """It has none; the inherited one is for instances, and `importlib.invalidate_caches` would raise."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _owners:
            return None
        found = _owners[fullname][1]
        inside = found.submodule_search_locations
        if found.origin is None:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = inside
            return spec
        return importlib.util.spec_from_file_location(fullname, found.origin, submodule_search_locations=inside)


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """`import` as Python does it, but for users' modules, which find those of their own folder first."""
    if level == 0 and globals is not None:
        owner = _owners.get(str(globals.get("__name__")).partition(".")[0])
        if owner is not None:
            name = owner[0].translated(name) or name
    return _python_import(name, globals, locals, fromlist or (), level)
