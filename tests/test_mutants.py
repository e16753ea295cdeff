"""Of the faults that `make mutants` puts in: its table names what is there, and every file of a part has tests."""

from __future__ import annotations

import re

import pytest

from tests import mutants


def test_the_parts_and_their_tests_are_there() -> None:
    assert mutants.moved_away() == []


def test_a_part_that_has_moved_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mutants.PARTS, "tuner/search/gone.py", ("tests/search/test_gone.py",))
    monkeypatch.setattr("sys.argv", ["mutants"])
    with pytest.raises(SystemExit, match=r"tuner/search/gone\.py, tests/search/test_gone\.py"):
        mutants.main()


def test_faults_are_put_into_the_rooms_of_a_part_too() -> None:
    files = mutants.python_files()
    assert "tuner/search/priority/gp.py" in files
    assert mutants.tests_for("tuner/search/priority/gp.py") == mutants.PARTS["tuner/search/priority"]


def test_a_file_with_tests_of_its_own_takes_those_and_not_its_rooms() -> None:
    own = "tuner/search/optuna/proposer.py"
    assert mutants.tests_for(own) == mutants.PARTS[own] != mutants.PARTS["tuner/search/optuna"]


def test_the_tests_that_are_said_to_have_killed_a_fault_are_there() -> None:
    said = set(re.findall(r"`(test_\w+)`", (mutants.ROOT / "tests" / "mutants.md").read_text(encoding="utf-8")))
    texts = [path.read_text(encoding="utf-8") for path in (mutants.ROOT / "tests").rglob("test_*.py")]
    assert len(said) > 10
    assert [name for name in sorted(said) if not any(f"def {name}(" in text for text in texts)] == []
