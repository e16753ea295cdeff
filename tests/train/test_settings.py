"""The resolved values of a trial, and which trials may be trained together."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.train.cohorts import digits, jobs, make_spec, make_task, run_cohort
from tests.train.trials import settings_of
from tuner.records import Params, TrialFinished
from tuner.spec.defaults import settings_for
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.train.programs.fusion import PER_TRIAL, fusion_key
from tuner.train.settings import Settings, resolve_settings

MODULE = "tests/train/user_modules.py:two_layers"


def key_of(params: Params, *, model: str = "mlp"):
    spec = make_spec(model=model)
    return fusion_key(spec, settings_for(spec, params))


VECTORS: st.SearchStrategy[Params] = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(1e-4, 0.05),
        "momentum": st.floats(0, 0.9),
        "weight_decay": st.floats(0, 0.1),
        "l1": st.floats(0, 1e-3),
        "dropout": st.floats(0, 0.9),
        "lr_decay": st.floats(0, 0.5),
        "schedule": st.sampled_from(["constant", "inverse_time", "exponential", "step", "cosine"]),
        "warmup_epochs": st.floats(0, 2),
        "init": st.sampled_from(["auto", "he", "xavier", "orthogonal", "zero"]),
        "clip_norm": st.floats(0.1, 10),
        "beta1": st.floats(0, 0.99),
        "beta2": st.floats(0.5, 0.999),
        "max_norm": st.floats(0.1, 10),
        "ema_decay": st.floats(0.5, 0.999),
        "swa_start": st.floats(0, 0.9),
        "dropout_last": st.floats(0, 0.9),
        "body_learning_rate_factor": st.floats(0.01, 1.0),
        "epsilon": st.floats(1e-10, 1e-3),
        "dampening": st.sampled_from(["auto", 0.0, 0.5]),
        "bias_correction": st.sampled_from(["auto", True, False]),
    }
)


@pytest.mark.slow
@given(VECTORS, VECTORS)
def test_what_is_a_vector_over_trials_never_splits_a_cohort(first: Params, second: Params) -> None:
    assert set(first) | {"epochs"} == PER_TRIAL
    assert key_of(first) == key_of(second)


@pytest.mark.slow
@given(st.lists(VECTORS, min_size=2, max_size=4))
@settings(max_examples=at_depth(10), deadline=None)
def test_trials_of_one_key_train_together(tmp_path_factory: pytest.TempPathFactory, trials: list[Params]) -> None:
    task = make_task(epochs=1, settings={"hidden_units": 16})
    events = run_cohort(task, jobs(tmp_path_factory.mktemp("cohort"), trials, to_epoch=1))
    assert sum(isinstance(e, TrialFinished) for e in events) == len(trials)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("hidden_units", 32, 33),
        ("hidden_layers", 1, 2),
        ("activation", "relu", "tanh"),
        ("norm", "none", "batch"),
        ("residual", False, True),
        ("batch_size", 32, 64),
        ("optimizer", "sgd", "adam"),
        ("nesterov", False, True),
        ("my_own", 1.0, 2.0),
        ("augment", 0.0, 0.1),
        ("augment_flip", False, True),
        ("mixup", 0.0, 0.1),
        ("label_smoothing", 0.0, 0.1),
        ("input_dropout", 0.0, 0.1),
        ("averaging", "none", "ema"),
    ],
)
def test_what_changes_shapes_or_steps_splits(name: str, first: object, second: object) -> None:
    assert key_of({name: first}) != key_of({name: second})  # type: ignore[dict-item]
    assert key_of({name: first}) == key_of({name: first})  # type: ignore[dict-item]


def test_a_setting_is_of_the_kind_that_the_table_says() -> None:
    kinds = {"float": float, "int": int}
    for name, type_of_field in get_type_hints(Settings).items():
        if known := HYPERPARAMETERS.get(name):
            kind = kinds.get(known.kind, type(known.default))
            assert type_of_field == (kind | None if known.optional else kind), name


def test_numbers_are_of_their_kind_however_they_are_written() -> None:
    spec = make_spec(weight_decay=0, clip_norm=2)
    found = resolve_settings(spec, {"learning_rate": 1, "nesterov": True}, num_train=40)
    assert [type(v) for v in (found.weight_decay, found.clip_norm, found.learning_rate)] == [float] * 3
    assert (found.clip_norm, found.max_norm, found.nesterov, found.batch_size) == (2.0, None, True, 40)


def test_widths_that_round_alike_share_a_cohort_but_not_in_users_modules() -> None:
    assert key_of({"hidden_units": 33}) == key_of({"hidden_units": 48})
    assert key_of({"hidden_units": 33}, model=MODULE) != key_of({"hidden_units": 48}, model=MODULE)


def test_parameters_come_before_the_file_and_the_file_before_defaults() -> None:
    spec = make_spec(learning_rate=0.3, optimizer="adam")
    assert resolve_settings(spec, {}, num_train=100).learning_rate == 0.3
    assert resolve_settings(spec, {"learning_rate": 0.2}, num_train=100).learning_rate == 0.2
    assert resolve_settings(make_spec(optimizer="adam"), {}, num_train=100).learning_rate == 0.001
    assert resolve_settings(make_spec(), {}, num_train=100).learning_rate == 0.01


@pytest.mark.parametrize(("given_size", "expected"), [(64, 64), (300, 300), (301, 300), ("full", 300), ("auto", 32)])
def test_a_batch_has_at_most_all_examples(given_size: int | str, expected: int) -> None:
    assert settings_of(batch_size=given_size, num_train=300).batch_size == expected


@pytest.mark.parametrize(
    ("num_train", "expected"), [(20, 20), (500, 32), (4095, 32), (4096, 64), (8191, 64), (8192, 128), (1_000_000, 128)]
)
def test_small_tables_have_small_batches(num_train: int, expected: int) -> None:
    assert settings_of(batch_size="auto", num_train=num_train).batch_size == expected


def test_a_model_sees_all_values_by_name() -> None:
    found = settings_of(hidden_units=17, my_own=3.0).model
    assert (found["hidden_units"], found["my_own"], found["learning_rate"]) == (17, 3.0, 0.01)


def test_the_number_of_parameters_is_that_of_the_module(tmp_path: Path) -> None:
    for spec in ({}, {"settings": {"norm": "batch", "hidden_units": 19}}, {"model": "cnn"}, {"model": MODULE}):
        task = make_task(digits(), **spec)
        member = task.member(jobs(tmp_path, [{}])[0])
        assert task.num_parameters(member) == sum(p.numel() for p in member.make_module().parameters())
