"""Imports go down only, and each heavy library has its owners: the map of the code in `docs/architecture.md`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

import pytest

from tests.public_names import SOURCE, count, unused
from tuner.cli.main import COMMANDS

pytestmark = pytest.mark.deep  # `make check` runs them

LAYERS = (
    {"errors", "faults", "records", "paths", "plugins"},
    {"spec", "imports", "ranking", "trials", "capacity"},
    {"models", "data", "search", "diagnose", "baselines"},
    {"train", "store"},
    {"execute", "report"},
    {"sweep"},
    {"track"},
    {"python"},
    {"cli"},
)
"""From the bottom up. A part imports from layers below its own, never from its neighbours."""

ENTRANCES = {"__init__", "__main__"}
"""What stands above all layers: `import tuner` and `python -m tuner`."""

OWNERS = {
    "click": {"cli"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "matplotlib": {"report"},
    "optuna": {"search", "store"},
    "pandas": {"data", "report"},
    "PIL": {"data"},
    "pydantic": {"spec"},
    "rich": {"cli", "python", "report"},
    "ruamel": {"spec"},
    "sklearn": {"data", "baselines"},
    "sqlalchemy": {"store"},
    "torch": {"models", "data", "train", "execute"},
}
"""The parts that may import a library. What is not listed (NumPy, SciPy) is free to all."""

LATE = {"optuna": {"cli"}, "pandas": {"python"}, "sklearn": {"report"}, "torch": {"cli", "report"}}
"""The parts that may do so inside a function besides: to say a version, to load the winner's weights, to measure it."""


ROOMS = {
    "report": (
        {"words", "space", "facts", "files", "curves"},
        {"certainty", "code"},
        {"tables", "best"},
        {"analysis"},
        {"advice", "worth", "techniques", "more_data", "groups"},
        {"verdict"},
        {"summary", "compare"},
        {"figures", "terminal"},
        {"page"},
        {"write", "live"},
    ),
    "search": (
        {"strategy", "observe", "distinct", "seeding", "rungs", "sobol"},
        {"cube", "designs"},
        {"portfolio"},
        {"optuna", "wrap"},
        {"request"},
        {"staged", "stock", "population", "priority", "by_path"},
        {"registry", "as_optuna"},
    ),
    "spec": (
        {"space", "command", "described"},
        {"known"},
        {"values", "by_layer"},
        {"blocks"},
        {"model"},
        {"defaults", "objectives", "portfolio", "schema", "own_code", "text"},
        {"checks", "edit", "kept"},
        {"reader"},
    ),
    "train": (
        {"settings", "way", "device", "measure", "replay"},
        {"program"},
        {"batch"},
        {"rows"},
        {"programs"},
        {"ways"},
        {"task"},
        {"loop"},
        {"own"},
        {"before", "after"},
    ),
}
"""The rooms of the parts that have some, and the modules at their doors, from the bottom up, as the layers are."""

MOST_PUBLIC = 95.2
"""Public names for 1,000 lines of code, as `python -m tests.public_names` counts them. It may only be lowered."""
MOST_UNUSED = 61
"""Public names that no other file uses, as it lists them. Likewise."""


@dataclass(frozen=True)
class Import:
    """One import statement."""

    file: str
    """Relative to the package."""
    line: int
    module: str
    late: bool
    """Whether it stands inside a function."""
    for_types: bool
    """Whether it stands under `if TYPE_CHECKING`."""

    @property
    def part(self) -> str:
        """Folder or module of the package that the statement stands in."""
        return self.file.split("/", 1)[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"tuner/{self.file}:{self.line} imports {self.module}"


def imports_in(tree: ast.AST, file: str, *, late: bool = False, for_types: bool = False) -> Iterator[Import]:
    """Every import statement below a node, wherever it stands."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(file, node.lineno, alias.name, late, for_types)
            case ast.ImportFrom(module="tuner"):
                for alias in node.names:
                    yield Import(file, node.lineno, f"tuner.{alias.name}", late, for_types)
            case ast.ImportFrom():
                dots = "." * node.level
                yield Import(file, node.lineno, dots + (node.module or ""), late, for_types)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from imports_in(node, file, late=True, for_types=for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from imports_in(node, file, late=late, for_types=True)
            case _:
                yield from imports_in(node, file, late=late, for_types=for_types)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(SOURCE.rglob("*.py")):
        found += imports_in(ast.parse(path.read_text(encoding="utf-8")), path.relative_to(SOURCE).as_posix())
    return found


def layer_of(part: str) -> int:
    return next(n for n, parts in enumerate(LAYERS) if part in parts)


def breaks_the_layers(found: Import) -> bool:
    if found.module.startswith("."):
        return True  # one way to write an import, so that this test sees them all
    above, _, rest = found.module.partition(".")
    target = rest.split(".")[0]
    if above != "tuner" or target == found.part or found.part in ENTRANCES:
        return False
    return not target or layer_of(target) >= layer_of(found.part)


def breaks_the_rooms(found: Import) -> bool:
    """Of one part: whether a room imports from one that is not below it."""
    if found.part not in ROOMS or not found.module.startswith(f"tuner.{found.part}."):
        return False
    room, target = found.file.split("/")[1].removesuffix(".py"), found.module.split(".")[2]
    floors = {name: floor for floor, names in enumerate(ROOMS[found.part]) for name in names}
    return room != target and floors[target] >= floors[room]


def breaks_an_ownership(found: Import) -> bool:
    library = found.module.split(".")[0]
    if library not in OWNERS or found.for_types:
        return False
    return found.part not in OWNERS[library] | (LATE.get(library, set()) if found.late else set())


def statement(file: str, text: str) -> Import:
    (only,) = imports_in(ast.parse(text), file)
    return only


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {p.relative_to(SOURCE).parts[0].removesuffix(".py") for p in SOURCE.rglob("*.py")}
    assert parts - ENTRANCES == set().union(*LAYERS)


@pytest.mark.slow
def test_imports_go_down_only() -> None:
    assert [str(i) for i in all_imports() if breaks_the_layers(i)] == []


@pytest.mark.slow
def test_no_modules_import_one_another() -> None:
    files = {p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py")}
    graph: dict[str, set[str]] = {file: set() for file in files}
    for found in all_imports():
        target = found.module.removeprefix("tuner.").replace(".", "/") + ".py"
        if not found.for_types and target in files:
            graph[found.file].add(target)
    TopologicalSorter(graph).prepare()  # raises a CycleError that names them


@pytest.mark.parametrize("part", ROOMS)
def test_every_room_of_a_part_has_its_floor(part: str) -> None:
    rooms = {p.relative_to(SOURCE / part).parts[0].removesuffix(".py") for p in (SOURCE / part).rglob("*.py")}
    with_code = {room for room in rooms if room != "__init__"}
    assert with_code == set().union(*ROOMS[part])


@pytest.mark.slow
def test_within_a_part_imports_go_down_only() -> None:
    assert [str(i) for i in all_imports() if breaks_the_rooms(i)] == []


def test_an_import_from_a_room_above_is_seen() -> None:
    assert breaks_the_rooms(statement("train/batch/batches.py", "from tuner.train.rows.tables import Tables"))
    assert breaks_the_rooms(statement("train/own/loop.py", "from tuner.train.before import checks"))
    assert not breaks_the_rooms(statement("train/rows/tables.py", "from tuner.train.batch.batches import BatchChanges"))


@pytest.mark.slow
def test_heavy_libraries_stay_with_their_owners() -> None:
    assert [str(i) for i in all_imports() if breaks_an_ownership(i)] == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("report/write.py", "from tuner.execute.local import LocalExecutor"),
        ("report/write.py", "from tuner import sweep"),
        ("records.py", "from tuner.spec.model import SweepSpec"),
        ("search/priority/gp.py", "def f():\n    from tuner.store.store import StudyStore"),
        ("models/mlp.py", "if TYPE_CHECKING:\n    from tuner.data.dataset import Split"),
        ("train/task.py", "from .cohort import Cohort"),
        ("train/task.py", "import tuner"),
    ],
)
def test_the_check_sees_an_import_that_goes_up_or_across(file: str, text: str) -> None:
    assert breaks_the_layers(statement(file, text))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("report/page/html.py", "import torch"),
        ("cli/best.py", "import torch.nn"),
        ("search/priority/gp.py", "def f():\n    import torch"),
        ("execute/local.py", "from optuna.study import Study"),
    ],
)
def test_the_check_sees_a_library_in_the_wrong_hands(file: str, text: str) -> None:
    assert breaks_an_ownership(statement(file, text))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("cli/best.py", "def f():\n    import torch"),
        ("cli/report.py", "if TYPE_CHECKING:\n    import pandas as pd"),
        ("search/priority/gp.py", "from scipy import linalg"),
        ("sweep/loop.py", "from tuner.execute.executor import Executor"),
        ("data/load.py", "from tuner.data.parts import Parts"),
        ("__main__.py", "from tuner.cli.main import main"),
    ],
)
def test_the_check_lets_the_rest_pass(file: str, text: str) -> None:
    found = statement(file, text)
    assert not breaks_the_layers(found)
    assert not breaks_an_ownership(found)


@pytest.mark.slow
def test_the_commands_load_without_any_library_but_click() -> None:
    """`tuner --help` loads every command, so it answers at once only if none of them brings torch or pandas."""
    modules = sorted({place.partition(":")[0] for place in COMMANDS.values()})
    script = f"""
import importlib, sys
before = set(sys.modules)  # an editable installation's own finder is there before any of our code
for name in {modules!r}:
    importlib.import_module(name)
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(*sorted(loaded - set(sys.stdlib_module_names) - {{"tuner"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=600)
    assert set(done.stdout.split()) <= {"click", "colorama"}


@pytest.mark.slow
def test_public_names_become_no_more() -> None:
    names, lines = count(SOURCE)
    assert 1000 * names.total() / lines.total() <= MOST_PUBLIC
    found = unused()
    assert len(found) <= MOST_UNUSED, f"begin with an underscore what only its own file uses: {found}"
