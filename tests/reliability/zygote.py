"""A process that has everything imported, and forks into `tuner` commands: a run then starts in milliseconds.

The commands that it forks are processes of their own, and die like any other; the fork server of theirs, which would
be another Python process with all its imports, is a fork of theirs with a clean slate, and so is what works apart.
Their runs write the tables of the reports, but draw no plots, which would take most of their time; and each epoch that
a listener hears of is written into a file beside the sweep file, whose disk no test fills: one for each folder of a
study, as `--fresh` makes another. Requests and answers are lines of JSON: {"run": arguments, "cwd": ..., "env": ...,
"stdout": ..., "stderr": ...} -> {"pid": ...}, and {"poll": pid} ->
{"code": exit code or null}.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

PRELOADED = (
    "alembic.command", "alembic.migration", "matplotlib.backends.backend_agg", "optuna", "pandas",
    "pyarrow.pandas_compat", "sklearn.datasets", "sqlalchemy.dialects.sqlite", "torch", "torch._dynamo",
    "torch.testing", "tuner.cli.doctor", "tuner.python.progress", "tuner.cli.report", "tuner.cli.run", "tuner.cli.show",
    "tuner.cli.status", "tuner.data.arrays", "tuner.data.targets", "tuner.execute.inline", "tuner.execute.local",
    "tuner.execute.worker", "tuner.report.terminal", "tuner.report.write", "tuner.search.optuna.samplers",
    "tuner.search.priority.strategy", "tuner.search.registry", "tuner.search.stock", "tuner.spec.kept.changes",
    "tuner.spec.checks.sweep", "tuner.spec.reader", "tuner.store.optuna_store", "tuner.sweep.run",
)  # fmt: skip


def main() -> None:
    from tuner.execute.numeric import set_numeric_environment

    set_numeric_environment(1)
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    from tuner.execute import apart
    from tuner.report import write
    from tuner.sweep import reports

    write.write_drawings = lambda *_: None
    reports.APART = False
    apart.START_METHOD = "fork"
    _listen()
    _fork_the_fork_server()
    sys.dont_write_bytecode = True  # tests change modules within a second, which Python would not see
    gc.collect()
    gc.freeze()  # or the first collection of each fork would copy every page of what is imported
    print("{}", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = _poll(request["poll"]) if "poll" in request else _run(request)
        print(json.dumps(answer), flush=True)


def _listen() -> None:
    """Have a listener in every run."""
    from tuner.records import EpochResult, TrialRecord
    from tuner.sweep import run
    from tuner.sweep.log import LogFile

    class Listener(LogFile):
        def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
            study = "finalists" if record.tier == "finalist" else "trials"
            with Path(f"heard of {self._path.parent.stat().st_ino}").open("a") as file:
                file.write("".join(f"{study} {record.number} {result.epoch}\n" for result in results))

        def said(self, line: str) -> None:
            with suppress(OSError):  # of a full disk: a listener that fails is left out, and this one is to hear on
                super().said(line)

    run.LogFile = Listener  # type: ignore[misc]


def _fork_the_fork_server() -> None:
    """Have a command's fork server be a fork of it, which spares it four seconds of imports."""
    spawn = util.spawnv_passfds

    def start(path: str, arguments: Sequence[Any], descriptors: Sequence[int]) -> int:
        texts = [os.fsdecode(argument) for argument in arguments]
        if "multiprocessing.forkserver" not in texts[-1]:
            return spawn(path, arguments, descriptors)
        pid = os.fork()
        if not pid:
            _be_fork_server(texts, descriptors)
        return pid

    util.spawnv_passfds = start


def _be_fork_server(arguments: Sequence[str], descriptors: Sequence[int]) -> None:
    """Become what `python ARGUMENTS` would be: without the files, the signals and the helpers of the process it was."""
    try:
        kept = sorted({0, 1, 2, *descriptors})
        for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
            os.closerange(low + 1, high)
        for number in signal.valid_signals():
            if signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL, None):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        Path("/proc/self/comm").write_text("forkserver")
        sys.orig_argv = list(arguments)
        forkserver._forkserver.__init__()  # type: ignore[attr-defined,misc]
        del sys.modules["tuner.execute.fork_server"]  # it shields the process that imports it as a fork server
        exec(arguments[-1], {})
    finally:
        os._exit(0)


def _poll(pid: int) -> dict[str, Any]:
    found, status = os.waitpid(pid, os.WNOHANG)
    return {"code": os.waitstatus_to_exitcode(status) if found else None}


def _run(request: dict[str, Any]) -> dict[str, Any]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 1
    try:
        os.setsid()
        for number, key, flags in ((0, None, os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY)):
            path = request[key] if key else os.devnull
            os.dup2(os.open(path, flags | (os.O_CREAT | os.O_APPEND if key else 0), 0o644), number)
        os.chdir(request["cwd"])
        os.environ.update(request["env"])
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.argv = ["tuner", *request["run"]]
        importlib.reload(sys.modules["tuner.faults"])  # it reads the environment when it is imported
        from tuner.cli.main import run_command_line

        code = run_command_line(request["run"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
