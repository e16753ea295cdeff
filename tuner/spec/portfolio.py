"""The file of a portfolio: configurations that were learned on other data, for `search.portfolio`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from tuner.errors import SweepFileError
from tuner.records import Json
from tuner.spec.values import Part, Value

NO_PORTFOLIO = "off"
"""What `search.portfolio` says where a search is to begin without one."""


class PortfolioEntry(Part):
    """Configurations for some networks and optimisers, the most useful first."""

    models: list[str] = Field(min_length=1)
    """Of `model.kind`; `own` for networks of users'."""
    optimizers: list[str] = Field(min_length=1)
    starts: list[dict[str, Value]] = Field(min_length=1)


class _PortfolioFile(Part):
    """In JSON."""

    about: dict[str, Json]
    """What it was learned from."""
    portfolios: list[PortfolioEntry]


def read_portfolio(path: Path, *, given: str) -> list[PortfolioEntry]:
    """The entries of a file.

    Args:
        path: The file.
        given: What the sweep file calls it.

    Raises:
        SweepFileError: it cannot be read, or is no portfolio.
    """
    try:
        return _PortfolioFile.model_validate(json.loads(path.read_text(encoding="utf-8"))).portfolios
    except OSError as error:
        rule = f"{given} cannot be read: {error.strerror}; looked at {path}"
        raise SweepFileError([f"search.portfolio: {rule}"]) from error
    except UnicodeDecodeError as error:
        raise SweepFileError([f"search.portfolio: {given} is no JSON: it is not UTF-8"]) from error
    except json.JSONDecodeError as error:
        where = f"{given}:{error.lineno}:{error.colno}"
        raise SweepFileError([f"search.portfolio: {where}: is no JSON: {error.msg}"]) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SweepFileError([f"search.portfolio: {given} is no portfolio: {place}: {first['msg']}"]) from error
