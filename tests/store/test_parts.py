"""The small pure parts: folding, JSON, distributions, locations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, json_to_distribution

from tests.contracts.store_contract import JSON, PARAMS, SPACE, epoch_result
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochsFinished, TrialRecord, TrialStarted, TrialState
from tuner.store.codec import MAX_ATTRIBUTE_BYTES, decode, encode
from tuner.store.database import cause_of
from tuner.store.distributions import StoredSpace
from tuner.store.folding import fold, merge_facts, trial_seed
from tuner.store.locations import find_database
from tuner.store.rows import TrialRows, records_from_rows
from tuner.store.sqlite_file import on_network_file_system


def running(**changes: object) -> TrialRecord:
    return TrialRecord(number=0, params={}, seed=1, state=TrialState.RUNNING, **changes)  # type: ignore[arg-type]


def test_epochs_repeated_after_an_old_checkpoint_are_known_already() -> None:
    first = EpochsFinished(trial=0, results=tuple(epoch_result(e, 0.5 + e / 10) for e in (1, 2, 3)))
    record = fold(running(), first, direction=Direction.MAXIMIZE, now="")
    restarted = TrialStarted(
        trial=0, worker="w", device="cpu", path="plain", cohort_width=1, from_epoch=1, num_parameters=1
    )
    record = fold(record, restarted, direction=Direction.MAXIMIZE, now="")
    again = EpochsFinished(trial=0, results=(epoch_result(2, 0.7), epoch_result(3, 0.8), epoch_result(4, 0.6)))
    record = fold(record, again, direction=Direction.MAXIMIZE, now="")
    assert (record.epochs, record.value, record.attempts) == (4, 0.8, 1)


def test_what_was_reported_of_a_trial_that_begins_anew_does_not_count() -> None:
    wrong = EpochsFinished(trial=0, results=tuple(epoch_result(e, 0.9) for e in (1, 2, 3)))
    record = fold(running(rungs=((1, 0.9),)), wrong, direction=Direction.MAXIMIZE, now="")
    restarted = TrialStarted(
        trial=0, worker="w", device="cpu", path="plain", cohort_width=1, from_epoch=0, num_parameters=1, anew=True
    )
    record = fold(record, restarted, direction=Direction.MAXIMIZE, now="")
    assert (record.epochs, record.best, record.rungs) == (0, None, ())
    record = fold(
        record, EpochsFinished(trial=0, results=(epoch_result(1, 0.7),)), direction=Direction.MAXIMIZE, now=""
    )
    assert (record.epochs, record.value) == (1, 0.7)


def test_event_for_a_finished_trial_is_our_mistake() -> None:
    finished = TrialRecord(number=0, params={}, seed=1, state=TrialState.PRUNED)
    with pytest.raises(AssertionError, match="trial 0 is pruned"):
        fold(finished, EpochsFinished(trial=0, results=()), direction=Direction.MAXIMIZE, now="")


def test_seed_fits_every_generator() -> None:
    seeds = [trial_seed(0, number) for number in range(2000)]
    assert len(set(seeds)) == 2000
    assert max(seeds) < 2**32


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=30), JSON | st.integers(5_000, 40_000).map("x".__mul__), max_size=12))
def test_facts_fit_an_attribute_and_are_read_back(facts: dict[str, object]) -> None:
    kept = merge_facts({}, facts)
    text = encode(kept)
    assert len(text) <= MAX_ATTRIBUTE_BYTES
    assert repr(decode(text)) == repr(dict(kept))
    assert kept.keys() <= facts.keys() | {"left_out"}


@given(JSON)
def test_json_survives_and_is_strict(value: object) -> None:
    text = encode(value)
    json.loads(text, parse_constant=pytest.fail)
    assert text.isascii()
    assert repr(decode(text)) == repr(value)


def test_numbers_of_other_libraries_become_plain() -> None:
    import numpy as np

    assert decode(encode({"norm": np.float32(0.5), "units": np.int64(3), "worst": np.float32("nan")}))["units"] == 3
    with pytest.raises(TypeError, match="must be JSON, got PosixPath"):
        encode({"path": Path("/")})


@given(PARAMS)
def test_parameters_are_read_back_with_their_types(params: dict[str, bool | int | float | str]) -> None:
    space = StoredSpace(SPACE)
    plain = space.plain(params)
    rows = [(1, name, *space.stored(name, value)) for name, value in plain.items()]
    trials = TrialRows(
        trials=[(1, 0, "RUNNING", None, None)], params=rows, attributes=[], intermediate_values=[], values=[]
    )
    (record,) = records_from_rows(trials, direction=Direction.MAXIMIZE)
    assert repr(record.params) == repr(plain)
    assert plain == params
    for name, value in plain.items():
        number, text = space.stored(name, value)
        assert json_to_distribution(text)._contains(number)


@pytest.mark.parametrize(
    ("name", "value", "distribution"),
    [
        ("momentum", 0.9, FloatDistribution(0.5, 0.99)),
        ("learning_rate", 0.1, FloatDistribution(1e-4, 1.0, log=True)),
        ("learning_rate", 2.0, FloatDistribution(1e-4, 2.0, log=True)),
        ("hidden_units", 64, IntDistribution(16, 256, log=True)),
        ("hidden_units", 8, IntDistribution(8, 256, log=True)),
        ("width", 48, IntDistribution(16, 64, step=16)),
        ("width", 50, IntDistribution(16, 64)),
        ("batch_size", 64, CategoricalDistribution((32, 64, 128))),
        ("batch_size", 50, CategoricalDistribution((32, 64, 128, 50))),
        ("forgotten", "x", CategoricalDistribution(("x",))),
    ],
)
def test_distributions_are_the_dimensions_and_widened_where_a_value_lies_outside(
    name: str, value: float | str, distribution: object
) -> None:
    assert StoredSpace(SPACE).distribution(name, value) == distribution


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("database is locked", "busy"),
        ("server closed the connection unexpectedly", "busy"),
        ("the database system is starting up", "busy"),
        ("database or disk is full", "full"),
        ("[Errno 28] No space left on device", "full"),
        ('connection failed: FATAL:  password authentication failed for user "x"', "fatal"),
        ("attempt to write a readonly database", "fatal"),
        ("no such table: trials", "fatal"),
    ],
)
def test_causes_of_errors_are_told_apart(message: str, cause: str) -> None:
    assert cause_of(RuntimeError(message)) == cause
    wrapped = RuntimeError("An exception is raised during the commit.")
    wrapped.__cause__ = OSError(message)
    assert cause_of(wrapped) == cause


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        (None, "sqlite", "/r/digits/study.db"),
        ("sqlite:////data/a.db", "sqlite", "/data/a.db"),
        ("sqlite+pysqlite:////data/a.db?timeout=5", "sqlite", "/data/a.db"),
        ("/data/a.db", "sqlite", "/data/a.db"),
        ("/data/a.journal", "journal", "/data/a.journal"),
        ("journal:////data/a.x", "journal", "/data/a.x"),
        ("mysql://db/x", "server", "/r/digits"),
    ],
)
def test_databases_are_found(url: str | None, kind: str, path: str) -> None:
    found = find_database(StudyPaths(Path("/r/digits")), url=url)
    assert (found.kind, str(found.path)) == (kind, path)


def test_local_disk_is_no_network_drive(tmp_path: Path) -> None:
    assert not on_network_file_system(tmp_path / "study.db")
