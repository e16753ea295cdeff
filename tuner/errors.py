"""The errors that reach a user, each with the exit code of the command that it ends.

TunerError                  1   no usable trial, or an unforeseen error
├── UsageError              2   flags or arguments that contradict each other
├── SweepFileError          3   the sweep file is wrong (lists every problem)
├── DataError               3   the data cannot be used
├── MissingExtraError       3   an optional package is needed; names the pip command
├── StudyNotFoundError      4   no such study; suggests near names
├── StudyMismatchError      4   the sweep file does not match its study
├── StorageError            5   the database cannot be read or written
├── UserCodeError           6   the user's model, data or training code failed to import
├── FailureLimitError       7   too many trials failed in a row
└── ClusterLostError        8   the cluster that trained is gone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TunerError(Exception):
    """Base of all errors that are shown to the user as one message, without a traceback."""

    exit_code = 1


class UsageError(TunerError):
    """Flags or arguments that cannot be meant together."""

    exit_code = 2


class SweepFileError(TunerError):
    """A sweep file that cannot be used; `problems` holds one line for each thing that is wrong."""

    exit_code = 3

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[Any, ...]:  # as it is made, so that it crosses a process's border whole
        return type(self), (self.problems,)


class DataError(TunerError):
    """Data that cannot be read or cannot be trained on."""

    exit_code = 3


class MissingExtraError(TunerError):
    """A feature whose optional package is not installed."""

    exit_code = 3


class StudyNotFoundError(TunerError):
    """A study that does not exist where it was looked for."""

    exit_code = 4


class StudyMismatchError(TunerError):
    """A sweep file whose search space, data or objective differs from that of its study."""

    exit_code = 4


class StorageError(TunerError):
    """A study database that is locked, read-only, full, damaged, foreign or of a newer schema."""

    exit_code = 5


class UserCodeError(TunerError):
    """A model, data set or training function of the user's that cannot be imported or called."""

    exit_code = 6


class FailureLimitError(TunerError):
    """The sweep was stopped because trials kept failing in the same way."""

    exit_code = 7


class ClusterLostError(TunerError):
    """The cluster that trials were trained on is gone; what it had written is kept."""

    exit_code = 8


NO_MEMORY = "there is not enough memory; where it is limited (`ulimit -v`, a container), raise the limit"
_NO_ROOM_FOR_A_LIBRARY = ("failed to map segment", "cannot allocate memory", "Cannot allocate memory")
"""What the loader of shared libraries says where too little memory is left."""
_NO_ROOM_FOR_A_TENSOR = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "Unable to find a valid cuDNN algorithm",  # each one asked for room to work in
    "unable to find an engine to execute this computation",
)
"""What PyTorch and its libraries say of it in errors of no class of their own."""


def memory_error_in(error: BaseException | None) -> BaseException | None:
    """The error itself, or the one that it was made of, that is of memory which was asked for in vain."""
    while error is not None:
        if is_out_of_memory(error) or "out of memory" in str(error):  # as pandas says it, in an error of another kind
            return error
        error = error.__cause__ or error.__context__
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, the loader of libraries or PyTorch asked for memory in vain."""
    match error:
        case MemoryError():
            return True
        case ImportError():
            return any(words in str(error) for words in _NO_ROOM_FOR_A_LIBRARY)
        case RuntimeError():  # PyTorch is not imported for its own class
            if type(error).__name__ == "OutOfMemoryError" or any(w in str(error) for w in _NO_ROOM_FOR_A_TENSOR):
                return True
            # It may have come of one: a graph whose capture runs out of memory fails again where the capture ends.
            return error.__context__ is not None and is_out_of_memory(error.__context__)
    return False
