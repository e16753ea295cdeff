"""The compiled kernels: built once for each machine by its own C compiler, in the background, and kept in a cache."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import torch

log = logging.getLogger(__name__)

SWITCH = "TUNER_NATIVE"
"""The environment variable that, set to `off`, leaves all steps to PyTorch."""
SOURCE = Path(__file__).with_name("kernels.c")
_FLAGS = ("-O2", "-ftree-vectorize", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC")
_MAX_BUILD_SECONDS = 120.0

_LANES = {"AVX512": 16, "AVX2": 8}
"""Floats in a vector, by what PyTorch says it computes with."""


class UnavailableError(Exception):
    """Steps cannot be run by the kernels here; the message says why."""


class Kernels:
    """The kernels, perhaps still being built, by this process or another."""

    def __init__(self) -> None:
        """Find them in the cache, or begin to build them.

        Raises:
            UnavailableError: that is not possible.
        """
        if os.environ.get(SWITCH, "").lower() in ("off", "0", "no"):
            raise UnavailableError(f"{SWITCH} is off")
        lanes = _LANES.get(torch.backends.cpu.get_cpu_capability())
        if platform.system() != "Linux" or lanes is None:
            raise UnavailableError("they are for Linux on processors with AVX2 or AVX-512")
        compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise UnavailableError("there is no C compiler")
        self._lanes = lanes
        self.path = _cache_folder() / f"kernels-{_fingerprint(compiler)}.so"
        self._library: ctypes.CDLL | None = None
        self._build = None if self.path.exists() else _Build(compiler, self.path)

    def ready(self, *, wait: bool = False) -> ctypes.CDLL | None:
        """The library, or None while it is being built.

        Args:
            wait: Until it is built.

        Raises:
            UnavailableError: it could not be built or loaded.
        """
        if self._library is None:
            if self._build is not None and not self._build.finished(wait=wait):
                return None
            self._library = self._load()
        return self._library

    def _load(self) -> ctypes.CDLL:
        try:
            library = ctypes.CDLL(str(self.path))
        except OSError as error:
            raise UnavailableError(f"{self.path} cannot be loaded ({error})") from error
        library.tuner_run.restype = None
        library.tuner_run.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
        torch_library = Path(torch.__file__).with_name("lib") / "libtorch_cpu.so"
        if missing := library.tuner_open(str(torch_library).encode(), self._lanes):
            raise UnavailableError(f"this build of PyTorch lacks what they call (code {missing})")
        return library


class _Build:
    """A compiler at work, of this process or another. Its result appears in the cache at once and whole."""

    def __init__(self, compiler: str, path: Path) -> None:
        self._path, self._compiler = path, compiler
        self._new = path.with_suffix(".new")
        """Also says that somebody is at it."""
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._new.exists() and time.time() - self._new.stat().st_mtime > _MAX_BUILD_SECONDS:
                self._new.unlink(missing_ok=True)  # its process was killed
            os.close(os.open(self._new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise UnavailableError(f"{path.parent} cannot be written ({error})") from error
        self._process = subprocess.Popen(
            [compiler, *_FLAGS, str(SOURCE), "-o", str(self._new), "-ldl", "-lm"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def finished(self, *, wait: bool) -> bool:
        """Whether it is done.

        Raises:
            UnavailableError: it failed.
        """
        while (done := self._look()) is False and wait:
            time.sleep(0.05)
        return done

    def _look(self) -> bool:
        if self._process is not None:
            self._take(self._process.poll())
        elif not self._new.exists() and not self._path.exists():
            raise UnavailableError("another process could not compile them")
        if self._path.exists():
            return True
        if time.monotonic() - self._began > _MAX_BUILD_SECONDS:
            raise UnavailableError(f"they were not compiled within {_MAX_BUILD_SECONDS:.0f} s")
        return False

    def _take(self, code: int | None) -> None:
        """Put what the compiler has made in its place, once it has ended."""
        if code == 0:
            self._new.replace(self._path)
            self._process = None
        elif code is not None:
            self._new.unlink(missing_ok=True)
            raise UnavailableError(f"{self._compiler} could not compile them (exit code {code})")


def _cache_folder() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "tuner"
    except RuntimeError as error:
        raise UnavailableError("there is no home folder to keep them in") from error


def _fingerprint(compiler: str) -> str:
    """Of the source, the flags, the compiler and the processor."""
    found = hashlib.sha256(SOURCE.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    processor = [line for line in _processor().splitlines() if line.startswith(("flags", "model name"))]
    found.update(repr((_FLAGS, version, sorted(set(processor)))).encode())
    return found.hexdigest()[:16]


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()


class _State:
    """What this process knows of its kernels."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why there are none."""
        self._kernels: Kernels | None = None

    def library(self, *, wait: bool) -> ctypes.CDLL | None:
        if self.reason is not None:
            return None
        try:
            if self._kernels is None:
                self._kernels = Kernels()
            return self._kernels.ready(wait=wait)
        except UnavailableError as error:
            self.reason = str(error)
            log.debug("steps are run by PyTorch alone: %s", error)
            return None


@cache
def _state() -> _State:
    return _State()


def library(*, wait: bool = False) -> ctypes.CDLL | None:
    """The kernels' library; None if there is none here, or not yet.

    Args:
        wait: For a build to end.
    """
    return _state().library(wait=wait)


def unavailable_reason() -> str | None:
    """Why steps are not run by the kernels on this machine, or None if they are; waits for a build."""
    library(wait=True)
    return _state().reason
