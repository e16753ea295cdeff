"""The sweep file that a study keeps, as typed values again."""

from __future__ import annotations

from pydantic import ValidationError

from tuner.records import Json
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec


def sweep_from_snapshot(snapshot: Json, *, root: str = ".") -> SweepSpec:
    """The inverse of `SweepSpec.model_dump(mode="json")`.

    Args:
        snapshot: The values that a study keeps.
        root: Folder of the sweep file.

    Raises:
        ValueError: they are no sweep file of this version of tuner; the message says the first reason.
    """
    try:
        spec = SweepSpec.model_validate(snapshot).model_copy(update={"root": root})
        build_space(spec)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{ascii(place)[1:-1][:100]}: {first['msg'][:200]}") from None
    except (ValueError, TypeError, ArithmeticError, LookupError, AssertionError) as error:
        raise ValueError(f"its space cannot be built ({str(error)[:200]})") from None
    return spec
