"""Our own strategy, held to the contract of strategies and to what it promises beyond it."""

from __future__ import annotations

import pytest

from tests.contracts.strategy_contract import StrategyContract
from tests.search.test_stock_strategies import maker


@pytest.mark.parametrize(
    "make",
    [maker("priority"), maker("priority", "asha"), maker("priority", "none")],
    ids=["priority", "priority+asha", "priority+none"],
)
class TestPriority(StrategyContract):
    trials = 22
