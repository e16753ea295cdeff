"""Where a study comes from: the commit of the sweep file's folder, the packages that are installed, the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_GIT_SECONDS = 5.0
_MOST_NAMED = 5
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.(dist-info|egg-info)")


def origin(root: Path) -> dict[str, str]:
    """What is known of the code's version and of the machine, in words by name.

    Args:
        root: Folder of the sweep file.
    """
    return {**_git(root), **dict(_machine())}


def versions() -> dict[str, str]:
    """Versions of what the results depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("tuner", "torch", "optuna", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def packages() -> dict[str, str]:
    """The version of each package that Python finds, by the names of their folders: none of them is opened."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = sorted(path.name for path in Path(folder).iterdir()) if folder else []
        except OSError:
            continue
        for name in names:
            if match := _DISTRIBUTION.fullmatch(name):
                found.setdefault(match["name"].lower().replace("_", "-"), match["version"])
    return dict(sorted(found.items()))


def _git(root: Path) -> dict[str, str]:
    """The commit, and what is not committed of the files that git knows; nothing where there is no git."""
    # No file system monitor: a repository may name any program as one.
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false"]
    command += ["status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_GIT_SECONDS, check=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.decode(errors="backslashreplace").splitlines()
    heads = dict(line[2:].partition(" ")[::2] for line in lines if line.startswith("# "))
    changed = [line.partition("\t")[0].split(" ")[-1] for line in lines if not line.startswith("# ")]
    found = {"git commit": f"{heads.get('branch.oid', '')} on {heads.get('branch.head', '')}"}
    if changed:
        more = f" and {len(changed) - _MOST_NAMED} more" if len(changed) > _MOST_NAMED else ""
        found["not committed"] = f"{', '.join(changed[:_MOST_NAMED])}{more}"
    return found


def _machine() -> Iterator[tuple[str, str]]:
    yield "machine", platform.node()
    cores = os.cpu_count() or 0
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    yield "processor", f"{_processor()}, {cores} cores{f', {usable} of them usable' if usable != cores else ''}"
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield "memory", f"{size / 2**30:.0f} GiB"
    if accelerators := sorted(_accelerators()):
        yield "accelerators", ", ".join(accelerators)


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _accelerators() -> Iterator[str]:
    """Those that NVIDIA's driver knows; the library that would know more takes seconds to import."""
    for file in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        if found := re.search(r"^Model:\s*(.+)$", file.read_text(errors="replace"), flags=re.MULTILINE):
            yield found[1].strip()
