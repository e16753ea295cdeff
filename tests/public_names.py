"""Counts the public names of tuner, and lists those that no other file needs: `python -m tests.public_names`.

A name is public where it stands at the top of a module or of a public class (functions, methods, classes, what is
assigned or annotated there) and does not begin with an underscore. Names that a class inherits are counted where they
are defined, and again where they are overridden. Lines of code are those that are not blank, a comment or a docstring.
So the figure can be compared with that of any other package: `python -m tests.public_names FOLDER`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tuner

SOURCE = Path(tuner.__file__).parent


def defined_in(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The public names that the statements of a module or a class define."""
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from ((name, node) for name in names if not name.startswith("_"))


def public_names(tree: ast.Module) -> list[str]:
    """Those of a module, `Class.name` for those of its public classes."""
    found: list[str] = []
    for name, node in defined_in(tree.body):
        found.append(name)
        if isinstance(node, ast.ClassDef):
            found += [f"{name}.{inner}" for inner, _ in defined_in(node.body)]
    return found


def num_code_lines(text: str, tree: ast.Module) -> int:
    ours = {n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            ours -= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(ours)


def count(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Public names, and code lines, of each part of a package."""
    names, lines = Counter[str](), Counter[str]()
    for file in sorted(folder.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        part = file.relative_to(folder).parts[0].removesuffix(".py")
        names[part] += len(public_names(tree))
        lines[part] += num_code_lines(text, tree)
    return names, lines


def used_in(file: Path) -> set[str]:
    """What a file may know of others by name: what it imports, and all words behind a dot or a colon."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return set(re.findall(r"\w+", text))
    imported = re.findall(r"^\s*from \S+ import (\([^)]*\)|.*)$", text, flags=re.MULTILINE)
    return set(re.findall(r"\w+", " ".join(imported))) | set(re.findall(r"[.:](\w+)", text))


def unused() -> list[str]:
    """Public names of modules that no other file of the repository uses: they could begin with an underscore, or go."""
    folders = (SOURCE.parent / name for name in ("tuner", "tests", "benchmarks", "examples", "docs"))
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in (".py", ".md")]
    used = {file: used_in(file) for file in files}
    times = Counter(name for names in used.values() for name in names)
    return [
        f"{file.relative_to(SOURCE.parent)}: {name}"
        for file in sorted(SOURCE.rglob("*.py"))
        for name, _ in defined_in(ast.parse(file.read_text(encoding="utf-8")).body)
        if times[name] == (name in used[file]) and not name.startswith("__")
    ]


if __name__ == "__main__":
    names, lines = count(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE)
    for part in lines:
        print(f"{part:12} {names[part]:5} names in {lines[part]:6} lines")
    print(f"{1000 * names.total() / lines.total():.1f} public names for 1,000 lines of code")
    if len(sys.argv) == 1:
        print("used in no other file:", *unused(), sep="\n  ")
