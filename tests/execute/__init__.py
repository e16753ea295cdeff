"""Tests of the executors. The contract's assertions say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.contracts.executor_contract")
