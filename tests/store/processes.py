"""Python scripts in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Elsewhere = Callable[..., subprocess.Popen[str]]


@contextmanager
def python_process(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script (its text, its arguments) in the repository's folder; killed when the block ends."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    """What a process prints next."""
    assert process.stdout is not None
    return process.stdout.readline()
