"""What the next epoch needs of the host, computed while a GPU is at work on this one.

Only pure functions are called ahead of time, so it makes no difference to what is computed, and none whether what was
begun is ever taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

Result = TypeVar("Result")

_MOST_THREADS = 4


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Those of this process, all but one for each core that it has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(max(1, min(_MOST_THREADS, cores - 1)), thread_name_prefix="ahead")


class Ahead:
    """Calls of functions whose results depend on their arguments alone, made before these are asked for."""

    def __init__(self) -> None:
        self._begun: dict[Callable[..., Any], dict[Hashable, Future[Any]]] = {}

    def begin(self, function: Callable[..., Any], calls: Iterable[tuple[Hashable, ...]]) -> None:
        """Begin to call a function with each of these arguments, and forget what was begun of it and not taken."""
        for future in self._begun.pop(function, {}).values():
            future.cancel()
        self._begun[function] = {arguments: _threads().submit(function, *arguments) for arguments in calls}

    def take(self, function: Callable[..., Result], *arguments: Hashable) -> Result:
        """What the function returns for these arguments: computed already, or now."""
        future: Future[Result] | None = self._begun.get(function, {}).pop(arguments, None)
        return function(*arguments) if future is None else future.result()
