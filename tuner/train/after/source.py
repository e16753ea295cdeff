"""The source of an exported folder's predict.py: the files that predict here, as one without tuner."""

from __future__ import annotations

import ast
from pathlib import Path

from tuner.data.sources import pictures

_PARTS = (str(pictures.__file__), "standalone_inputs.py", "standalone_files.py", "standalone.py")
"""Each uses those before it."""


def standalone_source() -> str:
    """The docstring of the last part, what all of them import but from each other, and then the rest of each."""
    texts = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in _PARTS]
    imports: set[str] = set()
    bodies = []
    for text in texts:
        body, own = _without_imports(text)
        bodies.append(body)
        imports |= own
    doc = ast.get_docstring(ast.parse(texts[-1]), clean=False)
    begin = f'"""{doc}"""\n\nfrom __future__ import annotations\n\n'
    return begin + "\n".join(sorted(imports)) + "\n\n" + "\n\n".join(bodies)


def _without_imports(text: str) -> tuple[str, set[str]]:
    """A module's text behind its docstring and its imports, and those imports that are not of tuner."""
    tree = ast.parse(text)
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    kept = {ast.unparse(node) for node in nodes if not _is_ours(node)}
    last = max(node.end_lineno or 0 for node in nodes)
    return "".join(text.splitlines(keepends=True)[last:]).strip("\n") + "\n", kept


def _is_ours(node: ast.Import | ast.ImportFrom) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("tuner", "__future__")
