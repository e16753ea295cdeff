"""All that is to be measured and tested on a GPU, in one command of a few minutes.

    python benchmarks/on_gpu.py --out FILE [--seconds 300] [--only PHASE,...] [--wheels FOLDER]
    python benchmarks/on_gpu.py --out FILE --rehearse

Each phase is a process of its own with a limit, a share of the seconds that are left. The record is written after each;
one that fails or runs too long is recorded with what it had found until then. Nothing is downloaded. Python 3.11 or
newer with torch is needed; where other libraries are missing, wheels from a folder (`benchmarks/gpu_wheels.sh` collects
them) are installed into a temporary one. `--rehearse` runs every phase on the pretended machine of the tests, on next
to nothing: it shows that the phases run, and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
SHARES: Mapping[str, float] = {
    "facts": 20, "tests": 60, "truth": 25, "costs": 40, "throughput": 75, "widths": 35, "sweeps": 45,
    "out_of_memory": 15,
}  # fmt: skip
"""The phases in their order, and their parts of the time."""
WHEELS = ROOT / ".whl"
GRACE_SECONDS = 3.0
"""Of its limit, for a phase to end by itself."""
SECONDS_OF_ALL_TESTS = 200.0
PRETENDED = "pretended, no measurement"
REHEARSED_TEST = "the_data_lies_on_the_device"
TAIL = 3000
"""Characters of what a phase printed that are kept, if it failed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the record, JSON")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all phases together")
    parser.add_argument("--only", default=",".join(SHARES), metavar="PHASE,...", help=f"of {', '.join(SHARES)}")
    parser.add_argument("--wheels", type=Path, default=WHEELS, metavar="FOLDER", help="used if it is there")
    parser.add_argument("--rehearse", action="store_true", help="on a pretended GPU, on next to nothing")
    args = parser.parse_args()
    phases = args.only.split(",")
    if unknown := set(phases) - SHARES.keys():
        parser.error(f"no such phase: {', '.join(sorted(unknown))}; there are {', '.join(SHARES)}")
    with tempfile.TemporaryDirectory(prefix="on-gpu-") as folder:
        sys.exit(Record(args.out, Path(folder), rehearsal=args.rehearse).run(phases, args.seconds, args.wheels))


class Record:
    """The phases that have run, and the file that they are in."""

    def __init__(self, out: Path, folder: Path, *, rehearsal: bool) -> None:
        self.out = out
        self.folder = folder
        self.rehearsal = rehearsal
        self.environment = dict(os.environ)
        self.found: dict[str, Any] = {
            "what": PRETENDED if rehearsal else "measured",
            "began": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
            "commit": _commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "phases": {},
        }

    def run(self, phases: list[str], seconds: float, wheels: Path) -> int:
        """Run the phases and write the record; the exit code."""
        end = time.monotonic() + seconds
        self._prepare(wheels)
        if not self.rehearsal and not self._has_gpu():
            print("torch sees no CUDA device here; --rehearse tries the phases on a pretended one", file=sys.stderr)
            return 2
        self.out.parent.mkdir(parents=True, exist_ok=True)
        for place, phase in enumerate(phases):
            left = end - time.monotonic()
            limit = left * SHARES[phase] / sum(SHARES[p] for p in phases[place:])
            began = time.monotonic()
            figures = self._tests(limit) if phase == "tests" else self._phase(phase, limit)
            figures = {"limit_seconds": round(limit, 1), "seconds": round(time.monotonic() - began, 1), **figures}
            self.found["phases"][phase] = figures
            self.out.write_text(json.dumps(self.found, indent=1) + "\n")
            print(f"== {phase}: {figures['ended']} after {figures['seconds']} s", flush=True)
            for line in figures.get("figures", []):
                print("  ", json.dumps(line), flush=True)
            if phase == "tests":
                print("  ", {name: figures.get(name) for name in ("tests", "skipped", "failed")}, flush=True)
            if figures["ended"] != "well":
                print(figures.get("printed", ""), flush=True)
        return 0 if all(p["ended"] == "well" for p in self.found["phases"].values()) else 1

    def _prepare(self, wheels: Path) -> None:
        """Where processes of the phases find our code, and what is missing of what it needs."""
        paths = [str(ROOT / "benchmarks"), str(ROOT)]
        if wheels.is_dir() and any(wheels.glob("*.whl")):
            site = self.folder / "site"
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target",
                 str(site), *map(str, sorted(wheels.glob("*.whl")))],
                check=True,
            )  # fmt: skip
            paths.insert(0, str(site))
        if self.rehearsal:
            self.environment["PRETEND_CUDA"] = "1"
            paths.insert(0, str(ROOT / "tests" / "pretend_cuda" / "site"))
        self.environment["PYTHONPATH"] = os.pathsep.join([*paths, self.environment.get("PYTHONPATH", "")]).rstrip(":")
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        self.environment["TMPDIR"] = str(self.folder)  # removed with all that the phases leave

    def _has_gpu(self) -> bool:
        code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
        return subprocess.run([sys.executable, "-c", code], env=self.environment, check=False).returncode == 0

    def _phase(self, phase: str, limit: float) -> dict[str, Any]:
        lines = self.folder / f"{phase}.jsonl"
        lines.touch()
        command = [sys.executable, "-m", "gpu.child", phase, str(lines), str(max(limit - 2 * GRACE_SECONDS, 1.0))]
        ended, printed = self._child(command + (["--rehearse"] if self.rehearsal else []), limit)
        whole = lines.read_text().split("\n")[:-1]  # a last one may have been cut off
        found: dict[str, Any] = {"ended": ended, "figures": [json.loads(line) for line in whole]}
        return found if ended == "well" else {**found, "printed": printed}

    def _tests(self, limit: float) -> dict[str, Any]:
        """The tests marked `gpu`; those of `make deep` too if there is time."""
        xml = self.out.with_suffix(".tests.xml").resolve()
        xml.unlink(missing_ok=True)
        files = [str(p) for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in p.read_text()]
        workers = 0 if self.rehearsal else min(4, self.found["cores"])
        has_xdist = importlib.util.find_spec("xdist") is not None
        command = [
            sys.executable, "-m", "pytest", "-q", "-m", "gpu" if limit >= SECONDS_OF_ALL_TESTS else "gpu and not deep",
            "-p", "no:cacheprovider", "-o", "filterwarnings=default", "--continue-on-collection-errors",
            f"--junitxml={xml}", *(["-n", str(workers)] if has_xdist else ["-o", "addopts="]),
            *(["-k", REHEARSED_TEST] if self.rehearsal else []), *files,
        ]  # fmt: skip
        ended, printed = self._child(command, limit)
        found: dict[str, Any] = {"ended": ended, "printed": printed}
        if xml.exists():
            cases = list(ElementTree.parse(xml).iter("testcase"))
            bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
            skipped = sum(c.find("skipped") is not None for c in cases)
            found |= {
                "tests": len(cases),
                "skipped": skipped,
                "failed": [f"{c.get('classname')}: {c.get('name')}" for c in bad],
            }
        return found

    def _child(self, command: list[str], limit: float) -> tuple[str, str]:
        """Run a process and all that it starts, until the limit; how it ended, and the last of what it printed."""
        printed = self.folder / "printed"
        with printed.open("w") as file:
            child = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code = child.wait(timeout=max(limit - GRACE_SECONDS, 1.0))
                ended = "well" if code == 0 else f"with exit code {code}"
            except subprocess.TimeoutExpired:
                ended = f"at its limit of {limit:.0f} s"
                child.send_signal(signal.SIGINT)  # so that it says where it was, and pytest what has passed
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=GRACE_SECONDS)
            finally:
                _kill(child)
        return ended, printed.read_text(errors="replace")[-TAIL:]


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a process and its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _commit() -> str:
    if shutil.which("git") is None:
        return ""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
