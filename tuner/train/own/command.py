"""A trial as a program of the user's: started without a shell, watched, and ended with everything that it started.

The contract with the program is in `docs/your-code.md`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tuner.errors import UserCodeError
from tuner.paths import own_place
from tuner.records import FailureReason, ParamValue
from tuner.spec.command import Command, parse_command, parse_text
from tuner.spec.defaults import loop_values
from tuner.spec.model import SweepSpec
from tuner.train.device.gpus import only_gpus
from tuner.train.loop.storing import storing
from tuner.train.own.course import OwnCourse
from tuner.train.own.loop import Why
from tuner.train.own.program import Program
from tuner.train.own.readers import check_reader, open_reader
from tuner.train.own.reports import Report
from tuner.train.own.script import METRIC, REPORT_FILE

PATIENCE_SECONDS: Mapping[Why, float] = {"paused": 10.0, "trained": 60.0, "interrupted": 0.0}
"""So long a program may take to end by itself before it is sent SIGTERM."""
TERMINATION_SECONDS = 10.0
"""So long after SIGTERM comes SIGKILL."""
MAX_LINE = 2**16
MAX_WORDS = 300


class CommandSession:
    """See `train.own.loop.Session`."""

    can_be_killed = True

    def __init__(self, course: OwnCourse) -> None:
        """Start the program for a trial.

        Raises:
            UserCodeError: it cannot be started.
        """
        spec = course.task.spec
        self._course = course
        self._to_epoch = course.job.to_epoch
        self._why: Why | None = None
        """Why it was asked to end."""
        self._log = course.paths.log
        self._report_file = course.paths.report
        self._texts: dict[str, bytes] = {"output": b"", "errors": b"", "file": b""}
        """The beginning of a line that is not whole yet, by where it comes from."""
        self._report_offset = 0
        self._deadline: float | None = None
        """When to send the next signal, or to keep it stopped."""
        self._last_epoch = 0
        self._reported = time.monotonic()
        """When it reported last."""
        self._ahead_seconds = 0.0
        """For how long it had trained since then when it was stopped."""
        self._signals = [signal.SIGTERM, signal.SIGKILL]
        self._is_over = False
        self._last_words = ""
        """The last line of standard error."""
        own_place(self._report_file.parent)
        self._report_file.unlink(missing_ok=True)
        self._reader = open_reader(spec.reports, metric=course.task.metric_name, place=_reports_of(course))
        self._program = Program(arguments_of(course), _environment_of(course), folder=_folder_of(spec))

    def poll(self, timeout_seconds: float) -> list[Report]:
        self._signal_in_time()
        output, errors = self._read_output(timeout_seconds)
        reports = self._reader.read([*output, *self._read_file()], errors)
        if self._deadline is not None and any(report.epoch > self._to_epoch for report in reports):
            self._deadline = min(self._deadline, time.monotonic())  # it trains on
        if reports:
            self._reported = time.monotonic()
        self._last_epoch = max([self._last_epoch, *(report.epoch for report in reports)])
        return reports

    @property
    def ended(self) -> bool:
        return self._is_over

    def ask_to_stop(self, why: Why) -> None:
        is_hopeless = self._last_epoch > self._to_epoch or not self._course.task.can_end
        patience = 0.0 if why == "paused" and is_hopeless else PATIENCE_SECONDS[why]
        self._why, self._deadline = why, time.monotonic() + patience
        self._to_epoch = min(self._to_epoch, self._last_epoch)

    @property
    def outlasts_pause(self) -> Self | None:
        if self._why != "paused" or self._deadline is None or time.monotonic() < self._deadline:
            return None
        if self._program.exit_code is not None:
            return None  # what it wrote last is still to be read
        self._course.task.can_end = False
        return self

    @property
    def num_bytes(self) -> int:
        return self._program.num_bytes

    def stop(self) -> None:
        self._program.send(signal.SIGSTOP)
        self._ahead_seconds = time.monotonic() - self._reported

    def go_on(self, course: OwnCourse) -> None:
        self._to_epoch, self._why, self._deadline = course.job.to_epoch, None, None
        if self._course is not course:  # it was stopped
            self._course, course.began = course, course.began - self._ahead_seconds
        self._program.send(signal.SIGCONT)

    def failure(self) -> tuple[FailureReason, str, bool] | None:
        code = self._program.exit_code
        if not code:
            return None
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal"
            from_outside = -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
            return FailureReason.KILLED, f"the command was killed by {name} ({-code})", from_outside
        words = f": {self._last_words}" if self._last_words else ""
        return FailureReason.EXITED, f"the command ended with exit code {code}{words}", False

    def close(self) -> None:
        self._program.close()

    # Ending

    def _signal_in_time(self) -> None:
        if self._why in (None, "paused") or self._deadline is None or not self._signals:
            return  # one that outlasts a pause is kept
        if time.monotonic() < self._deadline:
            return
        self._program.send(self._signals.pop(0))
        self._deadline = time.monotonic() + TERMINATION_SECONDS

    # Reading

    def _read_output(self, timeout_seconds: float) -> tuple[list[str], list[str]]:
        """Whole lines of standard output and of standard error; all that is written goes to the trial's log."""
        has_ended = self._program.exit_code is not None
        texts = self._program.read(timeout_seconds)
        if texts:
            with storing(self._log), own_place(self._log).open("ab") as log:
                log.write(b"".join(texts.values()))
        self._is_over = has_ended and not texts
        if errors := self._lines("errors", texts.get("errors", b"")):
            self._last_words = errors[-1].strip()[:MAX_WORDS]
        return self._lines("output", texts.get("output", b"")), errors

    def _read_file(self) -> list[str]:
        """Whole lines that were appended to the report file."""
        try:
            with self._report_file.open("rb") as file:
                file.seek(self._report_offset)
                text = file.read()
        except FileNotFoundError:
            return []
        self._report_offset += len(text)
        return self._lines("file", text)

    def _lines(self, source: str, text: bytes) -> list[str]:
        *whole, rest = (self._texts[source] + text).replace(b"\r", b"\n").split(b"\n")
        if self._is_over:
            whole, rest = [*whole, rest], b""
        self._texts[source] = rest[-MAX_LINE:]
        return [line.decode(errors="replace") for line in whole if line.strip()]


def _environment_of(course: OwnCourse) -> dict[str, str]:
    """The program's environment: that of the worker, and what it needs to know."""
    paths, job, device = course.paths, course.job, course.task.device
    variables = {
        "TUNER_EPOCHS": str(course.task.spec.training.epochs),
        "TUNER_TO_EPOCH": str(job.to_epoch),
        "TUNER_SEED": str(job.seed),
        "TUNER_TRIAL": str(job.trial),
        "TUNER_CHECKPOINT_DIR": str(paths.own_checkpoint),
        REPORT_FILE: str(paths.report),
        METRIC: course.task.metric_name,
        "TUNER_DEVICE": device.type,
        "PYTHONUNBUFFERED": "1",  # or else what a Python program prints arrives when it ends
    }
    if course.can_resume:
        variables["TUNER_RESUME"] = "1"
    if device.type == "cuda" and device.index is not None:
        variables |= only_gpus(course.task.gpus)
    inherited = {name: value for name, value in os.environ.items() if name != "TUNER_RESUME"}
    return inherited | variables | {"PATH": _search_path()}


def arguments_of(course: OwnCourse) -> list[str]:
    """The program and its arguments."""
    assert course.task.spec.command is not None
    return _filled(parse_command(course.task.spec.command), course)


def _reports_of(course: OwnCourse) -> Path | None:
    """What the trial's reports are read from, if it is a file or a folder."""
    reports = course.task.spec.reports
    written = None if reports is None else reports.csv or reports.tensorboard
    return None if written is None else _folder_of(course.task.spec) / "".join(_filled(parse_text(written), course))


def _filled(command: Command, course: OwnCourse) -> list[str]:
    spec, job = course.task.spec, course.job
    given: dict[str, ParamValue] = {
        "epochs": spec.training.epochs,
        "to_epoch": job.to_epoch,
        "seed": job.seed,
        "trial": job.trial,
        "checkpoint_dir": str(course.paths.own_checkpoint),
    }
    return command.fill(loop_values(spec, job.params), given=given)


def _folder_of(spec: SweepSpec) -> Path:
    """Where the program runs."""
    return Path(spec.root) / (spec.folder or ".")


def check_command(spec: SweepSpec) -> None:
    """Make sure, before a trial is lost, that there is something to start.

    Raises:
        UserCodeError: the folder, the program, or the Python script that it runs is not there.
        MissingExtraError: nor is the package that reads its reports.
    """
    assert spec.command is not None
    folder = _folder_of(spec)
    if not folder.is_dir():
        raise UserCodeError(f"folder: there is no folder {folder}")
    program, *arguments = parse_command(spec.command).fill_nothing()
    if shutil.which(program, path=_search_path()) is None and not (folder / program).is_file():
        raise UserCodeError(f"command: there is no program {program}; write its path, or install it")
    script = next((argument for argument in arguments if not argument.startswith("-")), "")
    if script.endswith(".py") and "{" not in script and not (folder / script).is_file():
        raise UserCodeError(f"command: there is no file {script} in {folder}, where the command runs")
    if spec.reports is not None:
        check_reader(spec.reports)


def _search_path() -> str:
    """Where programs are looked for: `python` is the one that tuner runs in."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
