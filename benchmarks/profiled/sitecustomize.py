"""Every process of a run that `profile_run.py` starts imports this first: it takes the time of the parts named below.

Seconds are those of the processor, of the thread that is in a part, and each second counts for the innermost part
alone. A process writes what it has so far into a file of its own, often, since it may be killed.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import json
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PARTS = {
    "tuner.spec.reader:read_sweep": "sweep file",
    "tuner.execute.training:load_training_data": "data",
    "tuner.execute.training:_calibrate": "calibration",
    "tuner.search.priority.strategy:PriorityStrategy.decide": "decisions",
    "tuner.train.loop.slices:Slices.train": "training",
    "tuner.train.task:Task.evaluate": "evaluation",
    "tuner.execute.runner:CohortRunner.train": "Python between steps",
    "tuner.store.opening:open_database": "database",
    "tuner.store.database:Database.write": "database",
    "tuner.store.reader:read_study": "database",
    "tuner.report.write:write_tables": "leaderboard",
    "tuner.report.write:write_page": "figures and page",
    "tuner.execute.baselines:train_baselines": "baselines",
}
"""What is timed, by where it is."""
WAITS = "tuner.execute.worker:_Link.next"
"""Where a worker waits for jobs."""
MARKS = {
    "tuner.train.loop.slices:Slices.train": "first step",
    "tuner.sweep.watcher:Watchers.ended": "first trial ended",
    "tuner.sweep.run:StudyRun._search_and_confirm": "all trained",
    "tuner.report.terminal:Conclusion.print": "table",
    "tuner.report.terminal:print_report": "table",  # as it was called before
}
"""Of the first call of each the time is noted at which it ended."""
_DUMP_SECONDS = 0.1

folder = Path(os.environ["TUNER_PROFILE"])
spans: dict[str, float] = defaultdict(float)
calls: dict[str, int] = defaultdict(int)
waits: list[float] = []
marks: dict[str, float] = {}
stacks = threading.local()
dumped = 0.0
began = time.process_time()
unwrapped = {*PARTS, *MARKS, WAITS}
load = builtins.__import__


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose seconds count for the part; those of a generator are those of its steps."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with_name = f"first of {name}" if name == "decisions" and not calls[name] else name
        calls[name] += 1
        found = inside(with_name, function, *arguments, **named)
        return stepped(name, found) if isinstance(found, Iterator) else found

    return call


def stepped(name: str, steps: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            step = inside(name, next, steps)
        except StopIteration:
            return
        yield step


def inside(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    stack = stacks.__dict__.setdefault("open", [])
    stack.append(0.0)
    at = time.thread_time()
    try:
        return function(*arguments, **named)
    finally:
        seconds = time.thread_time() - at
        spans[name] += seconds - stack.pop()
        if stack:
            stack[-1] += seconds
        else:
            dump()


def waited(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        at = time.perf_counter()
        found = function(*arguments)
        waits.append(time.perf_counter() - at)
        return found

    return call


def marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        finally:
            marks.setdefault(name, time.time())

    return call


def imported(name: str, *arguments: Any, **named: Any) -> Any:
    if stacks.__dict__.get("importing") or name in sys.modules:
        return load(name, *arguments, **named)
    stacks.importing = True
    try:
        return inside("imports", load, name, *arguments, **named)
    finally:
        stacks.importing = False
        for target in [target for target in unwrapped if target.partition(":")[0] in sys.modules]:
            wrap(target)


def wrap(target: str) -> None:
    """Put the timed function in the place of what is named."""
    unwrapped.discard(target)
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner: Any = sys.modules[module]
    try:
        for part in owners:
            owner = getattr(owner, part)
        function = getattr(owner, name)
    except AttributeError:  # it is being imported
        unwrapped.add(target)
        return
    if target in PARTS:
        function = timed(PARTS[target], function)
    if target in MARKS:
        function = marked(MARKS[target], function)
    if target == WAITS:
        function = waited(function)
    setattr(owner, name, function)


def dump(*, at_end: bool = False) -> None:
    global dumped
    if at_end or time.monotonic() - dumped > _DUMP_SECONDS:
        dumped = time.monotonic()
        found = {"start": began, "cpu": time.process_time(), "spans": spans, "waits": waits, "marks": marks}
        part = folder / f".{os.getpid()}"
        part.write_text(json.dumps(found))
        part.rename(folder / f"{os.getpid()}.json")


def forget() -> None:
    """In a process that was forked: what its parent did is told by that."""
    global began, dumped
    for of_the_parent in (spans, calls, waits, marks):
        of_the_parent.clear()
    stacks.__dict__.clear()
    began, dumped = 0.0, 0.0


os.register_at_fork(after_in_child=forget)
atexit.register(dump, at_end=True)
builtins.__import__ = imported  # type: ignore[assignment]
