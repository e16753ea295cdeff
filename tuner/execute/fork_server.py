"""What the process that worker processes are forked from loads in advance, and how it is shielded.

A worker is a fork of the fork server, so it starts with all of this imported: a worker that died is replaced in
milliseconds. The server never imports users' code.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import traceback
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from types import TracebackType

from tuner.execute.helpers import become_ordinary, helpers
from tuner.execute.signals import ENDING
from tuner.spec.model import SweepSpec
from tuner.spec.values import is_own

_ARRAYS = ("ubyte", "ubyte.gz", ".npy", ".npz")
"""Ends of the names of sources that are read without pandas."""


def fork_server(spec: SweepSpec | None) -> ForkServerContext:
    """The way to start processes; the server is started if there is none, and loads while the caller goes on.

    Args:
        spec: The sweep that they will train for; None for a process that trains nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *(preloaded(spec) if spec is not None else [])])
    with helpers():
        forkserver.ensure_running()
    return context


def preloaded(spec: SweepSpec) -> list[str]:
    """The modules that all workers share."""
    return ["tuner.execute.worker", *_readers(spec), *_optimizers(spec)]


def _readers(spec: SweepSpec) -> list[str]:
    """The library that will read the data."""
    source = spec.data.source
    if source == "sklearn/digits":
        return []  # read without scikit-learn, which would be half of the way to the first trained step
    if source.startswith("sklearn/"):
        return ["sklearn.datasets"]
    return [] if source.endswith(_ARRAYS) else ["pandas"]


def _optimizers(spec: SweepSpec) -> list[str]:
    """What torch.optim imports at its first use, which would take each worker over a second (torch 2.13)."""
    return ["torch._dynamo"] if is_own(spec.model.kind) else []


def _shield() -> None:
    """Leave the terminal's and the job's process group: its signals are for the coordinator alone."""
    os.setsid()
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # a worker is born so, and never without a handler
    become_ordinary()
    os.register_at_fork(before=gc.freeze)  # what a child looks through for garbage is its own copy from then on
    atexit.register(os._exit, 0)  # it has nothing to clean up, and whoever waits for its end need not wait for that
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _was_left(error):
            usual(kind, error, trace)

    sys.excepthook = hook


def _was_left(error: BaseException) -> bool:
    """Whether the coordinator ended while it asked for a worker, which is no reason for a traceback on its terminal.

    The server sees it where it takes the request, its child where it reads what it shall be: in multiprocessing's code.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    return (
        isinstance(error, EOFError)
        and bool(frames)
        and frames[-1][0].f_globals["__name__"].startswith("multiprocessing.")
    )


if multiprocessing.parent_process() is None and "multiprocessing.forkserver" in sys.orig_argv[-1]:
    _shield()  # imported as a preload: this process is the fork server
