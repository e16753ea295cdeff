"""The twenty real tables of `advice.py`: small ones, other than those that judge in `tables.py`."""

from __future__ import annotations

from collections.abc import Mapping

from tables_at_hand import RealTable

_KEEL = (
    "australian", "breast", "bupa", "contraceptive", "heart", "ionosphere", "saheart", "tic-tac-toe", "titanic",
    "vowel", "wdbc",
)  # fmt: skip

TABLES: Mapping[str, RealTable] = {
    **{name: RealTable("keel", name, classes=True) for name in _KEEL},
    "oj": RealTable("ISLR", "OJ", "Purchase", classes=True),
    "attrition": RealTable("modeldata", "attrition", "Attrition", classes=True),
    "boston": RealTable("MASS", "Boston", "medv"),
    "auto": RealTable("ISLR", "Auto", "mpg", without=("name",)),
    "college": RealTable("ISLR", "College", "Grad.Rate"),
    "hitters": RealTable("ISLR", "Hitters", "Salary"),
    "windsor": RealTable("AER", "HousePrices", "price"),
    "caschools": RealTable("AER", "CASchools", "math", without=("district", "school", "read")),
    "biomass": RealTable("modeldata", "biomass", "HHV", without=("sample", "dataset")),
}
"""By name, from 263 to 2,201 rows: eleven of keel, nine of R's packages; thirteen of classes, seven of numbers."""
