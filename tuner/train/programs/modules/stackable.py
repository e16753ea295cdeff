"""Whether users' modules can be trained as one: `torch.func` sees their tensors and nothing else.

A stack runs the code of one module with the tensors of all. So the modules must agree in everything else that they
hold: their structure, and the numbers, words and functions that they keep as plain attributes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set
from itertools import zip_longest

from torch import nn

from tuner.train.programs.attributes import attributes_of, in_words, own_attributes, structure_of, tensors_of


def signature(module: nn.Module) -> tuple[Hashable, tuple[tuple[str, Hashable], ...]]:
    """What must be equal for modules to be trained as one: all but the values of their tensors and rates of dropout."""
    rates = {f"{name}.p".lstrip(".") for name, part in module.named_modules() if type(part) is nn.Dropout}
    others = {name: value for name, value in attributes_of(module).items() if name not in rates}
    return structure_of(module), tuple(others.items())


def skeleton(module: nn.Module) -> Hashable:
    """What modules of one make have in common in all sizes: their signature without whole numbers that are sizes."""
    sizes = {size for p in module.parameters() for size in p.shape}
    parts = tuple((name, type(part), _without_sizes(tensors_of(part), sizes)) for name, part in module.named_modules())
    _, attributes = signature(module)
    return parts, _without_sizes(attributes, sizes)


def _without_sizes(value: Hashable, sizes: Set[int]) -> Hashable:
    if isinstance(value, tuple):  # the shape of a tensor is one
        return tuple(_without_sizes(item, sizes) for item in value)
    return int if type(value) is int and value in sizes else value


def difference(modules: Sequence[nn.Module]) -> str | None:
    """What modules differ in besides their parameters and buffers, or None."""
    first = modules[0]
    for other in modules[1:]:
        if found := _difference(first, other):
            return found
    return None


def _difference(first: nn.Module, other: nn.Module) -> str | None:
    for (name, a), (other_name, b) in zip_longest(first.named_modules(), other.named_modules(), fillvalue=("", None)):
        if name != other_name or type(a) is not type(b) or a is None or b is None:
            return _of_structure(a, b, where=name or other_name or "the top")
        mine, theirs = dict(own_attributes(a)), dict(own_attributes(b))
        for attribute in sorted(mine.keys() | theirs.keys()):
            if mine.get(attribute) != theirs.get(attribute):
                where = in_words(first, f"{name}.{attribute}".lstrip("."))
                return f"modules keep different values in {where}, which is no parameter or buffer"
        if tensors_of(a) != tensors_of(b):
            return f"modules of the same shape key differ in their parameters, at {name or 'the top'}"
    return None


def _of_structure(a: nn.Module | None, b: nn.Module | None, *, where: str) -> str:
    if type(a).__qualname__ != type(b).__qualname__:
        return f"modules of the same shape key differ in structure, at {where}"
    return class_of_its_own(a, where=where)


def class_of_its_own(part: nn.Module | None, *, where: str) -> str:
    """What is to be said of a part whose class each module has for itself."""
    own = f"each module has a class {type(part).__name__} of its own, at {where}"
    if part is not None and hasattr(part, "parametrizations"):
        return f"{own}: torch.nn.utils.parametrize makes one for each"
    return f"{own}: define it outside the factory"
