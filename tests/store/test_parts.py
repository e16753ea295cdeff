"""The small pure parts: folding, JSON, distributions, locations."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, json_to_distribution

from tests.contracts.store_contract import JSON, PARAMS, SPACE, epoch_result
from tests.store.studies import reopen
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochsFinished, TrialRecord, TrialStarted, TrialState
from tuner.store.codec import MAX_ATTRIBUTE_BYTES, MAX_DEPTH, decode, encode
from tuner.store.distributions import StoredSpace
from tuner.store.folding import fold, merge_facts, trial_seed
from tuner.store.locations import find_database
from tuner.store.memory import MemoryStore
from tuner.store.pending import newer_records
from tuner.store.rows import TrialRows, records_from_rows
from tuner.store.shapes import StoredValueError, shown_name
from tuner.store.writer import patiently


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


def test_the_epoch_whose_weights_are_kept_ranks_a_trial_where_that_is_told() -> None:
    first = tuple(epoch_result(e, m) for e, m in ((1, 0.5), (2, 0.9), (3, 0.6)))
    record = fold(
        running(), EpochsFinished(trial=0, results=first, kept=first[-1]), direction=Direction.MAXIMIZE, now=""
    )
    assert (record.value, record.epochs) == (0.6, 3)
    again = EpochsFinished(trial=0, results=first[:2], kept=first[1])  # of an old checkpoint: what is known holds
    assert fold(record, again, direction=Direction.MAXIMIZE, now="").value == 0.6
    diverged = epoch_result(4, float("nan"))
    record = fold(
        record, EpochsFinished(trial=0, results=(diverged,), kept=diverged), direction=Direction.MAXIMIZE, now=""
    )
    assert (record.value, record.epochs) == (0.6, 4)


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


def test_white_space_around_json_is_no_fault_and_more_behind_it_is_one() -> None:
    assert decode(' {"a": 1}\n') == {"a": 1}
    with pytest.raises(StoredValueError, match="it is not JSON"):
        decode("1 2")


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
    ("url", "kind", "path"),
    [
        (None, "sqlite", "/r/digits/study.db"),
        ("sqlite:////data/a.db", "sqlite", "/data/a.db"),
        ("sqlite+pysqlite:////data/a.db?timeout=5", "sqlite", "/data/a.db"),
        ("/data/a.db", "sqlite", "/data/a.db"),
        ("mysql://db/x", "server", "/r/digits"),
    ],
)
def test_databases_are_found(url: str | None, kind: str, path: str) -> None:
    found = find_database(StudyPaths(Path("/r/digits")), url=url)
    assert (found.kind, str(found.path)) == (kind, path)


def test_a_store_in_memory_gives_the_seeds_that_a_database_gives(tmp_path: Path) -> None:
    memory = MemoryStore(study="digits").start([(SPACE.default(), 1, "")] * 3)
    with reopen(StudyPaths(tmp_path / "digits")) as store:
        stored = store.start([(SPACE.default(), 1, "")] * 3)
    assert [r.seed for r in memory] == [r.seed for r in stored]


def test_interrupted_are_those_that_ran_and_those_that_paused_short_of_where_they_were_sent() -> None:
    at = {"best": epoch_result(3, 0.5), "last": epoch_result(3, 0.5)}
    states = [
        (TrialState.RUNNING, 3), (TrialState.RUNNING, 9), (TrialState.PAUSED, 3), (TrialState.PAUSED, 9),
        (TrialState.PRUNED, 9), (TrialState.FAILED, 9),
    ]  # fmt: skip
    records = [replace(running(to_epoch=to, **at), number=n, state=state) for n, (state, to) in enumerate(states)]
    assert [record.number for record in MemoryStore(records=records).interrupted()] == [0, 1, 3]


def test_each_trial_that_is_started_with_facts_has_its_own() -> None:
    with pytest.raises(ValueError, match="zip"):
        MemoryStore().start([(SPACE.default(), 1, "")] * 2, facts=[{"repeat_of": 3}])


def test_many_small_lists_are_not_taken_for_deep_ones() -> None:
    pairs = [[n, n + 1] for n in range(3 * MAX_DEPTH)]
    assert decode(encode(pairs)) == pairs


@pytest.mark.parametrize(("kept", "newer"), [
    ({"state": TrialState.RUNNING, "epochs": 3}, True),
    ({"state": TrialState.RUNNING, "epochs": 2}, True),
    ({"state": TrialState.RUNNING, "epochs": 1}, False),
    ({"state": TrialState.FAILED, "epochs": 1}, True),
])  # fmt: skip
def test_what_waits_is_newer_if_it_has_gone_as_far_or_has_ended(kept: dict[str, Any], newer: bool) -> None:
    def after(epochs: int, state: TrialState) -> TrialRecord:
        last = epoch_result(epochs, 0.5)
        return (
            running(best=last, last=last) if state is TrialState.RUNNING else replace(running(last=last), state=state)
        )

    mine, stored = after(kept["epochs"], kept["state"]), after(2, TrialState.RUNNING)
    assert (0 in newer_records({0: mine}, {0: stored})) is newer
    ended = replace(stored, state=TrialState.PRUNED)
    assert newer_records({0: mine}, {0: ended}) == {}
    assert newer_records({0: mine}, {}) == {0: mine}


def test_a_busy_database_is_asked_ever_less_often_up_to_every_other_second(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(random, "random", lambda: 0.5)

    def call() -> int:
        if len(pauses) < 8:
            raise RuntimeError("database is locked")
        return len(pauses)

    assert patiently(call, shown="study.db") == 8
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])


def test_a_name_is_shown_as_it_is_unless_no_line_can_hold_it() -> None:
    assert shown_name("a" * 100) == "a" * 100
    assert len(shown_name("a" * 101)) < 70
    assert shown_name("two\nlines") == "'two\\nlines'"
    assert shown_name(None) == "None"
