"""Pretended GPUs for a process and those that it starts, workers as much as commands.

With this folder and the repository on PYTHONPATH, and PRETEND_CUDA set, each has them once it imports torch.
"""

import os
import sys
from contextlib import ExitStack
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_held = ExitStack()


class _Torch(MetaPathFinder, Loader):
    """Loads torch as it would be loaded, and pretends from then on."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        found = PathFinder.find_spec(name, path)
        if found is not None:
            assert found.loader is not None
            self._loader, found.loader = found.loader, self
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        from tests.pretend_cuda import pretended

        _held.enter_context(pretended())


if os.environ.get("PRETEND_CUDA"):
    sys.meta_path.insert(0, _Torch())
