"""What we import is declared, what is declared is pinned, and the package can be entered by both of its doors."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tuner
from tests.test_layering import all_imports

ROOT = Path(__file__).parents[1]
SOURCE = Path(tuner.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_OURSELVES = {"all", "bench", "dev", "mutants", "peers"}
"""Extras that are no feature of the package."""
PROVIDED = {"pydantic-core": "pydantic"}
"""Distributions that another one brings in the one version that fits it."""
BUILD_OF_TORCH = re.compile(r"nvidia-|cuda-|triton")
"""What a build of torch for CUDA asks for, in versions that it pins itself."""


@cache
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    split = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in split}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(r).name) for r in requirements}


def applies(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in extras or {""})


def declared() -> Iterator[Requirement]:
    """Every requirement of ours but the ones that name our own extras."""
    for text in [*PROJECT["dependencies"], *(r for extra in EXTRAS.values() for r in extra)]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            yield requirement


def needed() -> set[str]:
    """The distributions that `make install` brings, as the installed ones tell."""
    waiting, found = list(declared()), set[str]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = f"{name}{sorted(requirement.extras)}"
        if key in found or BUILD_OF_TORCH.match(name):
            continue
        found.add(key)
        try:
            below = [Requirement(r) for r in requires(name) or []]
        except PackageNotFoundError:
            continue  # this environment has no such extra; where all are installed, nothing is passed over
        waiting += [r for r in below if applies(r, set(requirement.extras))]
    return {key.partition("[")[0] for key in found}


@pytest.mark.deep
@pytest.mark.slow
def test_every_library_that_we_import_is_declared_and_none_besides() -> None:
    found = {i.module.split(".")[0] for i in all_imports() if not i.for_types and not i.module.startswith(".")}
    libraries = found - set(sys.stdlib_module_names) - {"tuner"}
    distributions = packages_distributions()
    missing_here = {library for library in libraries if library not in distributions}
    assert missing_here <= {"PIL", "pyarrow"}, "an import that this environment cannot know"
    used = {canonicalize_name(distributions[library][0]) for library in libraries - missing_here}
    used = {PROVIDED.get(name, name) for name in used}
    core = names(PROJECT["dependencies"])
    optional = {name for extra, r in EXTRAS.items() if extra not in FOR_OURSELVES for name in names(r)}
    assert used - core - optional == set()
    assert core - used == set()


@pytest.mark.slow
def test_every_optional_import_names_an_extra_that_exists() -> None:
    asked = {
        str(keyword.value.value)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require"
        for keyword in node.keywords
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Constant)
    }
    assert asked
    assert asked <= EXTRAS.keys()


def test_the_extra_all_holds_every_other_one() -> None:
    (everything,) = (Requirement(r) for r in EXTRAS["all"])
    assert everything.name == PROJECT["name"]
    assert everything.extras == EXTRAS.keys() - FOR_OURSELVES


def test_every_pin_lies_in_our_range() -> None:
    outside = [str(r) for r in declared() if not r.specifier.contains(pins()[canonicalize_name(r.name)])]
    assert outside == []


@pytest.mark.slow
def test_everything_that_is_installed_is_pinned() -> None:
    assert needed() - pins().keys() == set()


def test_the_changelog_is_at_this_version() -> None:
    """What is not yet released comes first; the last release, once there is one, is the version that we are."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, *released = re.findall(r"^## \[(.+?)\]", text, flags=re.MULTILINE)
    assert first == "Unreleased"
    assert released[:1] in ([], [PROJECT["version"]])


def test_our_types_are_offered_to_others() -> None:
    assert (SOURCE / "py.typed").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("door", [[str(Path(sys.executable).with_name("tuner"))], [sys.executable, "-m", "tuner"]])
def test_the_command_and_the_module_answer_alike(door: list[str]) -> None:
    done = subprocess.run([*door, "--version"], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == f"tuner, version {PROJECT['version']}\n"


def test_the_top_of_the_repository_holds_what_a_reader_expects_there() -> None:
    """What a run or a test leaves in the current folder is easily added by `git add --all`."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("this is no checkout of git")
    top = {name.split("/")[0] for name in found.stdout.split("\0") if name}
    assert top == {
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "benchmarks",
        "constraints.txt", "docs", "examples", "pyproject.toml", "results", "sweeps", "tests", "tuner",
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_that_needs_the_tests_finds_ours(path: Path) -> None:
    """Run as `python benchmarks/NAME.py` it would find another package's `tests`, or none."""
    found, _, rest = path.read_text().partition("sys.path.insert(0, str(Path(__file__).parents[1]))")
    assert "\nfrom tests" not in found
    assert not rest or "\nfrom tests" in rest
