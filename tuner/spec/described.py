"""What the source says of the keys of a block: the string below each, read where a schema is asked for.

pydantic can read them as it makes a class, which takes every start of every process a tenth of a second.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise


def descriptions_of(block: type) -> dict[str, str]:
    """The texts below the annotated names of a class and of those that it is derived from, by name."""
    found: dict[str, str] = {}
    for each in reversed(block.__mro__):
        with suppress(OSError, TypeError):  # it is not from a file
            found |= _below_names(textwrap.dedent(inspect.getsource(each)))
    return found


def _below_names(source: str) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for line, below in pairwise(definition.body):
        match line, below:
            case (ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text)))):
                yield name, inspect.cleandoc(text)
