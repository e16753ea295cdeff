"""Real runs, real signals, real faults. The rig's assertions say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.reliability.audit", "tests.reliability.rig", "tests.reliability.launch")
