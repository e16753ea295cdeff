"""Which faults the tests would not see: `make mutants` puts 200 of them in, one at a time, and lists those that pass.

The faults are Cosmic Ray's (operators, comparisons, numbers, booleans, decorators, loops), drawn at random by a seed
over the places where one can be, never chosen by hand; a place's lot hangs on its own line alone, so that a change
elsewhere draws no others. Each is put into a copy of the repository, in a process that was forked from one with the
libraries imported, and the tests of its part run until the first that fails. A fault that makes them hang is found as
well. Annotations are left out, since nothing runs them. What became of those that survived is in `mutants.md`.

    python -m tests.mutants [--count 200] [--seed 0] [--only tuner/search tuner/data/split.py:90] [--slow]
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
_MODEL, _OPENING, _PRIORITY, _CLOSED, _STOCK, _WRAPPERS = (
    f"tests/search/test_{name}.py"
    for name in ("model", "opening", "priority", "closed", "stock_strategies", "wrappers")
)
_PARTS, _CONTRACT, _JOURNALS = (f"tests/store/test_{name}.py" for name in ("parts", "contract", "journals"))
PARTS: dict[str, tuple[str, ...]] = {
    "tuner/search/as_optuna.py": ("tests/search/test_as_optuna.py",),
    "tuner/search/optuna": ("tests/search/test_mirror.py", _WRAPPERS, _STOCK),
    "tuner/search/optuna/proposer.py": ("tests/search/test_as_optuna.py", _STOCK),
    "tuner/search/priority/opening.py": (_OPENING,),
    "tuner/search/priority": (_MODEL, _OPENING, _PRIORITY, _CLOSED),
    "tuner/search/wrap/rounds.py": ("tests/search/test_coarse_to_fine.py", _STOCK),
    "tuner/search/wrap/zoom.py": ("tests/search/test_coarse_to_fine.py",),
    "tuner/search/wrap/scalarised.py": ("tests/search/test_scalarised.py",),
    "tuner/search/staged.py": (_CLOSED, _WRAPPERS),
    "tuner/search/distinct.py": (_CLOSED, _PRIORITY),
    "tuner/search/stock.py": (_STOCK,),
    "tuner/search/request.py": (_WRAPPERS, _STOCK, _PRIORITY),
    "tuner/search/registry.py": (_WRAPPERS, _STOCK, _PRIORITY),
    "tuner/search": (_MODEL, _WRAPPERS, _PRIORITY, _CLOSED),
    "tuner/diagnose/bounds.py": ("tests/diagnose/test_bounds.py",),
    "tuner/diagnose/curves.py": ("tests/diagnose/test_curves.py",),
    "tuner/diagnose/error_parts.py": ("tests/diagnose/test_error_parts.py", "tests/diagnose/test_next_step.py"),
    "tuner/diagnose/importance.py": ("tests/diagnose/test_importance.py",),
    "tuner/diagnose/intervals.py": ("tests/diagnose/test_intervals.py",),
    "tuner/diagnose/lr_range.py": ("tests/diagnose/test_lr_range.py",),
    "tuner/diagnose/next_step.py": ("tests/diagnose/test_next_step.py",),
    "tuner/diagnose/noise.py": ("tests/diagnose/test_noise.py",),
    "tuner/diagnose": ("tests/diagnose",),
    "tuner/report/certainty/statistics.py": ("tests/report/test_leaderboard.py", "tests/report/test_statistics.py"),
    "tuner/report/certainty/resampling.py": ("tests/report/test_resampling.py", "tests/report/test_statistics.py"),
    "tuner/ranking.py": ("tests/report/test_statistics.py", "tests/report/test_leaderboard.py"),
    "tuner/report/certainty/ties.py": ("tests/report/test_statistics.py", "tests/report/test_leaderboard.py"),
    "tuner/report/certainty/overstatement.py": ("tests/report/test_statistics.py", "tests/report/test_summary.py"),
    "tuner/train/loop/early_stopping.py": ("tests/train/test_early_stopping.py", "tests/train/test_cohort.py"),
    "tuner/train/rows/optimizers.py": ("tests/train/test_optimizers.py", "tests/train/test_golden.py"),
    "tuner/train/rows/row_optimizer.py": ("tests/train/test_optimizers.py", "tests/train/test_golden.py"),
    "tuner/train/rows/lion.py": ("tests/train/test_optimizers.py",),
    "tuner/train/loop/schedule.py": ("tests/train/test_schedule.py", "tests/train/test_golden.py"),
    "tuner/train/measure/losses.py": ("tests/train/test_losses.py", "tests/train/test_metrics.py"),
    "tuner/data/split.py": ("tests/data/test_split.py", "tests/data/test_load.py"),
    "tuner/data/folds.py": ("tests/data/test_folds.py",),
    "tuner/store/salvage.py": ("tests/store/test_salvage.py",),
    "tuner/store/standing.py": ("tests/cli/test_study_commands.py",),
    "tuner/store/sqlite_file.py": (_JOURNALS, "tests/store/test_reader.py", "tests/store/test_opening.py"),
    "tuner/store/writer.py": (_PARTS, "tests/store/test_durable.py", "tests/store/test_faults.py", _CONTRACT),
    "tuner/store/lease.py": ("tests/store/test_lease.py",),
    "tuner/store": (_PARTS, "tests/store/test_durable.py", _CONTRACT, "tests/store"),
}
"""Where faults are put, and the tests that shall see them: of a file, those of the longest part it begins with."""
Place = tuple[int, int]
"""A line and a column."""
WAITED = 5
"""A fault's tests have so many times the time on the clock that they take without it, in case they wait for ever."""
IMPORTED = ("_hypothesis_pytestplugin", "alembic.command", "hypothesis.strategies", "matplotlib.pyplot", "optuna",
            "pandas", "pydantic", "pytest", "ruamel.yaml", "scipy.optimize", "scipy.stats", "sklearn.datasets",
            "sqlalchemy", "torch")  # fmt: skip
"""What takes long to import: once for all, so that what a fault costs is its tests."""


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """One fault: the n-th place in a file where an operator of Cosmic Ray's applies."""

    file: str
    line: int
    column: int
    operator: str
    occurrence: int

    def code(self) -> str:
        """The file with the fault in it."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        found = mutate_code(
            (ROOT / self.file).read_text(encoding="utf-8"), get_operator(self.operator)(), self.occurrence
        )
        assert found is not None
        return str(found)

    def compiles(self) -> bool:
        """Whether it is Python at all; nobody would need a test for the others."""
        try:
            compile(self.code(), self.file, "exec")
        except SyntaxError:
            return False
        return True

    def change(self) -> str:
        """The line as it was and as it is."""
        before = (ROOT / self.file).read_text(encoding="utf-8").splitlines()
        lines = difflib.unified_diff(before, self.code().splitlines(), n=0, lineterm="")
        return "  ".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def python_files() -> list[str]:
    """Each file once, though both it and its folder may be a part."""
    found = {p for part in PARTS for p in ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py"))}
    return sorted(str(p.relative_to(ROOT)) for p in found)


def moved_away() -> list[str]:
    """What the table names and is not there."""
    return [path for part, tests in PARTS.items() for path in (part, *tests) if not (ROOT / path).exists()]


def never_run(tree: ast.Module) -> list[tuple[Place, Place]]:
    """From where to where the annotations go: nothing evaluates them."""
    parts = [p for node in ast.walk(tree) for p in (getattr(node, "annotation", None), getattr(node, "returns", None))]
    return [
        ((p.lineno, p.col_offset), (p.end_lineno or p.lineno, p.end_col_offset or 0))
        for p in parts
        if isinstance(p, ast.expr)
    ]


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every fault that could be put into a file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    text = (ROOT / file).read_text(encoding="utf-8")
    silent = never_run(ast.parse(text))
    nodes = list(ast_nodes(get_ast(text)))
    for name in operator_names():
        kind = get_operator(name)
        if kind.arguments() or name.endswith("NoOp"):
            continue
        places = (start for node in nodes for start, _ in kind().mutation_positions(node))
        for occurrence, (line, column) in enumerate(places):
            if not any(begin <= (line, column) < end for begin, end in silent):
                yield Mutant(file, line, column, name, occurrence)


def lot(*whose: object) -> bytes:
    """A random number for these, whatever else is drawn."""
    return hashlib.sha256(repr(whose).encode()).digest()


def draw(count: int, seed: int) -> list[Mutant]:
    """So many faults at different places: first the place, then one of the faults that fit it."""
    places: dict[tuple[object, ...], list[Mutant]] = {}
    for file in python_files():
        lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
        same = [lines[:number].count(line) for number, line in enumerate(lines)]
        for mutant in mutants_of(file):
            place = (file, lines[mutant.line - 1], same[mutant.line - 1], mutant.column)
            places.setdefault(place, []).append(mutant)
    chosen = sorted(places, key=lambda place: lot(seed, *place))
    drawn = (
        sorted(places[place])[int.from_bytes(lot(seed, "operator", *place)) % len(places[place])] for place in chosen
    )
    return sorted(islice((mutant for mutant in drawn if mutant.compiles()), count))


@dataclass(slots=True)
class Trial:
    """A fault that is being tried: its copy of the repository, and the process that runs the tests there."""

    mutant: Mutant
    copy: Path
    pid: int
    deadline: float

    def ended(self) -> bool | None:
        """Whether the tests passed; None while they run. Tests that a fault makes hang have found it."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() < self.deadline:
            return None
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return False


def begin(mutant: Mutant, copy: Path, *, usual: float, seconds: float, slow: bool) -> Trial:
    """Put the fault in, and start the tests of its part."""
    (copy / mutant.file).write_text(mutant.code(), encoding="utf-8")
    pid = start_tests(copy, tests_for(mutant.file), seconds=seconds, slow=slow)
    return Trial(mutant, copy, pid, time.monotonic() + WAITED * usual)


def tests_for(file: str) -> tuple[str, ...]:
    return PARTS[max((part for part in PARTS if file.startswith(part)), key=len)]


def start_tests(copy: Path, tests: Sequence[str], *, seconds: float, slow: bool) -> int:
    """A forked process that runs them until the first that fails, with so many seconds of a processor."""
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        run_tests(copy, tests, slow=slow)
    return pid


def usual_seconds(copy: Path, tests: Sequence[str], *, seconds: float, slow: bool) -> float:
    """On the clock without a fault; where the tests fail or take too long so, every fault would count as found."""
    start = time.monotonic()
    _, status = os.waitpid(start_tests(copy, tests, seconds=seconds / 2, slow=slow), 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{' '.join(tests)} end with {code} without any fault, or take over {seconds / 2:g} s:\n"
                 + (copy / "output").read_text(errors="replace")[-2000:])  # fmt: skip
    return max(10.0, time.monotonic() - start)


def run_tests(copy: Path, tests: Sequence[str], *, slow: bool) -> NoReturn:
    """In the forked process: run them until the first that fails, and exit as pytest says."""
    code = 1
    try:
        os.setsid()
        with (copy / "output").open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)  # for the processes that the tests start
        sys.modules.pop("tests", None)  # the copy's is meant, not the one that this file is in
        import pytest

        marked = "not deep" if slow else "not slow and not deep"
        options = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0", "--hypothesis-seed", "0", "-m", marked]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # what is imported already
        code = int(pytest.main([*options, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def try_all(
    mutants: Sequence[Mutant], folder: Path, *, processes: int, seconds: float, slow: bool
) -> Iterator[tuple[Mutant, bool]]:
    """Each fault, and whether the tests passed with it, as they end."""
    free = [copy_of(folder / str(number)) for number in range(processes)]
    usual = dict[tuple[str, ...], float]()
    waiting, running = list(reversed(mutants)), list[Trial]()
    while waiting or running:
        while waiting and free:
            if (tests := tests_for(waiting[-1].file)) not in usual:
                usual[tests] = usual_seconds(free[-1], tests, seconds=seconds, slow=slow)
            running.append(begin(waiting.pop(), free.pop(), usual=usual[tests], seconds=seconds, slow=slow))
        time.sleep(0.05)
        for trial in tuple(running):
            if (passed := trial.ended()) is not None:
                running.remove(trial)
                file = trial.mutant.file
                shutil.copy2(ROOT / file, trial.copy / file)  # as old as its bytecode
                free.append(trial.copy)
                yield trial.mutant, passed


def copy_of(folder: Path) -> Path:
    """The repository without what was made in it, but for its bytecode."""
    made = shutil.ignore_patterns(".git", ".venv", "results", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, folder, ignore=made)
    return folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="of those drawn: a part, a file, or a file:line")
    parser.add_argument("--slow", action="store_true", help="with the tests that are marked slow")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a processor, for one fault")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    if missing := moved_away():
        sys.exit(f"PARTS names {', '.join(missing)}, which is not there: mend the table")
    sys.dont_write_bytecode = True
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in IMPORTED:
        importlib.import_module(name)
    drawn = [
        mutant
        for mutant in draw(asked.count, asked.seed)
        if any(mutant.file.startswith(only) or f"{mutant.file}:{mutant.line}" == only for only in asked.only)
    ]
    if not drawn:
        sys.exit(f"of the {asked.count} faults none lies in {', '.join(asked.only)}")
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tried = try_all(drawn, Path(folder), processes=asked.processes, seconds=asked.seconds, slow=asked.slow)
        for mutant, passed in tried:
            survivors += passed
            print(f"{'SURVIVED' if passed else 'killed'} {mutant.file}:{mutant.line}  {mutant.change()}", flush=True)
    killed = len(drawn) - survivors
    print(f"{killed} of {len(drawn)} killed ({killed / len(drawn):.1%}), {survivors} survived; seed {asked.seed}")


if __name__ == "__main__":
    main()
