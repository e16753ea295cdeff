"""The real tables that the shipped portfolio is learned from: none that a benchmark judges on or chose defaults by."""

from __future__ import annotations

from collections.abc import Mapping

from tables_at_hand import RealTable

MOST_LEARNED_ROWS = 1_500
"""Of longer tables so many rows, drawn by chance."""

_KEEL = (
    "banana", "bands", "chess", "led7digit", "monk-2", "movement_libras", "ring", "splice", "texture", "wisconsin",
)  # fmt: skip

TABLES: Mapping[str, RealTable] = {
    **{name: RealTable("keel", name, classes=True) for name in _KEEL},
    "cells": RealTable("modeldata", "cells", "class", classes=True, without=("case",)),
    "mlc_churn": RealTable("modeldata", "mlc_churn", "churn", classes=True),
    "sacramento": RealTable("modeldata", "Sacramento", "price", without=("zip",)),
    "stackoverflow": RealTable("modeldata", "stackoverflow", "Remote", classes=True),
    "chicago": RealTable("modeldata", "Chicago", "ridership", without=("date",)),
    "leaves": RealTable("modeldata", "leaf_id_flavia", "species", classes=True),
    "wa_churn": RealTable("modeldata", "wa_churn", "churn", classes=True),
    "college_distance": RealTable("AER", "CollegeDistance", "score"),
    "males": RealTable("Ecdat", "Males", "wage", without=("nr",)),
    "star": RealTable("Ecdat", "Star", "tmathssk", without=("treadssk",)),
    "chile": RealTable("carData", "Chile", "vote", classes=True),
    "hawks": RealTable(
        "Stat2Data", "Hawks", "Species", classes=True, without=("CaptureTime", "ReleaseTime", "BandNumber")
    ),
    "grinnell": RealTable("Stat2Data", "GrinnellHouses", "SalePrice", without=("Address", "CostPerSqFt")),
    "email": RealTable("openintro", "email", "spam", classes=True, without=("time",)),
    "airfare": RealTable("wooldridge", "airfare", "fare", without=("lfare", "id")),
    "gpa": RealTable("wooldridge", "gpa2", "colgpa"),
    "olive": RealTable("dslabs", "olive", "area", classes=True, without=("region",)),
    "caravan": RealTable("ISLR", "Caravan", "Purchase", classes=True),
}
"""By name, from 360 to 7,400 rows: ten of keel, eighteen of R's packages; twenty of classes, eight of numbers."""
