"""Where a string becomes an object, and where an optional package is asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tuner.errors import MissingExtraError, UserCodeError

EXTRAS_OF_USERS: Mapping[str, str] = {"lightning": "lightning", "pytorch_lightning": "lightning"}
"""Packages that users' code imports, by the extra that brings them."""


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


def _load_module(module_name: str, *, root: Path) -> ModuleType:
    for folder in (str(root), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        if not module_name.endswith(".py"):
            return importlib.import_module(module_name)
        path = (root / module_name).resolve()
        if not path.is_file():
            raise UserCodeError(f"no such file: {path}")
        known = sys.modules.get(path.stem)
        if known is not None and Path(getattr(known, "__file__", "") or "") == path:
            return known
        found = importlib.util.spec_from_file_location(path.stem, path)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[path.stem] = module  # so that its classes can be pickled
        found.loader.exec_module(module)
        return module
    except UserCodeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS_OF_USERS.get(error.name or "")):
            require(str(error.name), extra=extra)
        raise UserCodeError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
