"""Who runs a study: one process at a time, told apart from processes that have died."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tuner.store.codec import decode
from tuner.store.shapes import StoredValueError, count, moment, text, whole

_EXPIRY_SECONDS = 60.0
"""After so long without a sign of life, the lease of a process that we cannot look at is void."""
BEAT_SECONDS = 15.0
"""How often an owner gives a sign of life."""

_LEASE = whole(exact=True, token=text, host=text, boot=text, pid=count, process_started=text, since=moment, beat=moment)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to write to a study, held by one process."""

    token: str
    host: str
    boot: str
    """Id of the machine's boot and of the process namespace: under another one, the pid means another process."""
    pid: int
    process_started: str
    """When the process began, in the kernel's own terms; a pid that was given out again has another."""
    since: str
    """UTC, ISO 8601."""
    beat: str
    """UTC, ISO 8601: the last sign of life."""

    @classmethod
    def mine(cls) -> Self:
        """A lease for this process, from now."""
        now = _now().isoformat(timespec="seconds")
        return cls(
            token=os.urandom(8).hex(),
            host=_host(),
            boot=_boot_id(),
            pid=os.getpid(),
            process_started=_process_started(os.getpid()),
            since=now,
            beat=now,
        )

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """The lease of a text; None if it is none that we can read (which then binds nobody)."""
        try:
            values = decode(text)
            _LEASE(values, "the lease")
        except StoredValueError:
            return None
        return cls(**values) if values["beat"] else None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def renewed(self) -> Self:
        """The same lease with a new sign of life."""
        return replace(self, beat=_now().isoformat(timespec="seconds"))

    @property
    def alive(self) -> bool:
        """Whether its owner still runs, as far as can be known from here."""
        if (self.host, self.boot) == (_host(), _boot_id()):
            return self.process_started != "" and _process_started(self.pid) == self.process_started
        return abs((_now() - datetime.fromisoformat(self.beat)).total_seconds()) < _EXPIRY_SECONDS

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since[:19].replace('T', ' ')} UTC)"


def _now() -> datetime:
    return datetime.now(UTC)


def _host() -> str:
    import socket  # takes longer than all else that a look at a study's lease needs

    return socket.gethostname()


def _boot_id() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "/"


def _process_started(pid: int) -> str:
    """When a process began; an empty text if there is no such process, or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _process_started_by_ps(pid) if not Path("/proc/self/stat").exists() else ""
    state, *rest = stat.rpartition(")")[2].split()  # the command's name, in brackets, may hold anything
    return "" if state in "ZX" else rest[18]


def _process_started_by_ps(pid: int) -> str:
    import subprocess

    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()
