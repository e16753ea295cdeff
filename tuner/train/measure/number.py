"""Numbers as users' code gives them."""

from __future__ import annotations


def as_number(value: object) -> float | None:
    """A number, or a tensor's or an array's only one, as Python's; None for anything else."""
    if hasattr(value, "item") and not isinstance(value, int | float):
        try:
            value = value.item()
        except (RuntimeError, ValueError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
