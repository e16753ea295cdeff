"""The table of hyperparameters, the resolved space, and the settings of a trial."""

from __future__ import annotations

from typing import Any

import pytest

from tests.spec.helpers import read
from tuner.models.layers.activations import ACTIVATIONS as LAYER_ACTIVATIONS
from tuner.models.layers.norms import NORMS
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.known.hyperparameters import HYPERPARAMETERS, hyperparameters_of
from tuner.spec.known.networks import ACTIVATIONS, MODELS
from tuner.spec.known.optimizers import OPTIMIZERS
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.spec.space import REGULARISATION_TIER, Dimension

NOT_SEARCHED = {
    "epochs",
    "early_stopping",
    "loss",
    "precision",
    "fuse",
    "freeze",
    "class_weights",
    "auxiliary_loss",
    "monte_carlo_passes",
    "changes",
}


def dimension(text: str, name: str, *, is_clear: bool = True) -> Dimension:
    """What `read` makes of a dimension; where it need not be clear, `check` may say what it was read as."""
    return build_space(read(text, is_clear=is_clear))[name]


class TestTable:
    def test_every_setting_of_the_training_is_known_or_the_same_for_all_trials(self) -> None:
        of_training = {h.name for h in HYPERPARAMETERS.values() if not h.of_model}
        assert of_training | NOT_SEARCHED == set(TrainingSpec.model_fields)

    def test_choices_are_those_of_the_training_block(self) -> None:
        schema = TrainingSpec.model_json_schema()["properties"]
        for name in ("optimizer", "schedule", "init"):
            choices = next(form["enum"] for form in (schema[name], *schema[name].get("anyOf", ())) if "enum" in form)
            assert list(HYPERPARAMETERS[name].allowed) == choices
            assert HYPERPARAMETERS[name].default == schema[name]["default"]
        assert schema["nesterov"]["default"] is False
        assert schema["label_smoothing"]["anyOf"][0] == {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
        assert schema["train_last"]["anyOf"][0] == {"type": "integer", "minimum": 1}

    def test_activations_are_those_of_the_networks(self) -> None:
        assert set(ACTIVATIONS) == set(LAYER_ACTIVATIONS)
        assert {"none", *NORMS} == set(HYPERPARAMETERS["norm"].allowed or ())

    def test_it_is_in_the_order_of_the_tiers(self) -> None:
        tiers = [h.tier for h in HYPERPARAMETERS.values()]
        assert tiers == sorted(tiers)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", HYPERPARAMETERS)
    def test_a_standard_range_can_be_searched(self, name: str) -> None:
        known = HYPERPARAMETERS[name]
        for optimizer in sorted(known.optimizers):
            for model in sorted(known.models or MODELS):
                fixed = "" if name == "optimizer" else f"training: {{optimizer: {optimizer}}}\n"
                found = dimension(
                    f"{fixed}model: {model}\nspace: {{{name}: {{}}}}", name, is_clear="dropout" not in name
                )
                assert found.contains(found.default)
                assert not found.fixed
                assert found.tier == known.tier
                assert all(found.contains(found.from_unit(u)) for u in (0.0, 0.5, 1.0))

    def test_defaults_lie_within_bounds(self) -> None:
        for known in HYPERPARAMETERS.values():
            for optimizer in OPTIMIZERS:
                value = known.default_for(optimizer)
                if known.bounds is not None:
                    assert isinstance(value, int | float)
                    assert known.bounds.hold(value)
                else:
                    assert value in known.allowed


class TestDefaultSpace:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("", "learning_rate momentum batch_size hidden_units hidden_layers lr_decay weight_decay dropout"),
            ("training: {optimizer: adam}",
             "learning_rate batch_size hidden_units hidden_layers lr_decay weight_decay dropout"),
            ("training: {optimizer: rmsprop}",
             "learning_rate momentum batch_size hidden_units hidden_layers lr_decay weight_decay dropout"),
            ("model: cnn", "learning_rate momentum batch_size channels hidden_units conv_layers lr_decay weight_decay "
                           "dropout augment"),
            ("model: net.py:build", "learning_rate momentum batch_size lr_decay weight_decay"),
            ("training: {schedule: constant, momentum: 0.9, weight_decay: 0}\nmodel: {hidden_units: 64}",
             "learning_rate batch_size hidden_layers dropout"),
        ],
    )  # fmt: skip
    def test_names_in_ngs_order(self, text: str, names: str) -> None:
        assert " ".join(build_space(read(text)).names) == names

    def test_tiers(self) -> None:
        space = build_space(read(""))
        assert {d.name: d.tier for d in space} == {
            "learning_rate": 1, "momentum": 2, "batch_size": 2, "hidden_units": 2, "hidden_layers": 3, "lr_decay": 3,
            "weight_decay": REGULARISATION_TIER, "dropout": REGULARISATION_TIER,
        }  # fmt: skip

    def test_the_first_trial(self) -> None:
        assert build_space(read("")).default() == {
            "learning_rate": 0.01, "momentum": 0.9, "batch_size": 64, "hidden_units": 64, "hidden_layers": 2,
            "lr_decay": 0.0, "weight_decay": 1e-4, "dropout": 0.0,
        }  # fmt: skip

    def test_a_learning_rate_goes_with_its_optimizer(self) -> None:
        adam = build_space(read("training: {optimizer: adam}"))["learning_rate"]
        assert (adam.low, adam.high, adam.default) == (1e-5, 0.1, 0.001)
        both = dimension("space: {optimizer: {}, learning_rate: {}}", "learning_rate")
        assert (both.low, both.high, both.default) == (1e-5, 1.0, 0.01)


class TestDimensions:
    @pytest.mark.parametrize(
        ("text", "name", "scale"),
        [
            ("space: {learning_rate: {}}", "learning_rate", "log"),
            ("space: {learning_rate: {log: false, low: 0.1}}", "learning_rate", "linear"),
            ("space: {momentum: {low: 0.0, high: 0.9}}", "momentum", "log1m"),
            ("space: {momentum: {log: true}}", "momentum", "log1m"),
            ("space: {momentum: {log: false}}", "momentum", "linear"),
            ("space: {dropout: {}}", "dropout", "linear"),
            ("space: {dropout: {low: 0.01, log: true}}", "dropout", "log"),
            ("space: {hidden_units: {}}", "hidden_units", "log"),
            ("model: a:b\nspace: {w: {low: 1, high: 9, tier: 1}}", "w", "linear"),
            ("model: a:b\nspace: {w: {low: 1, high: 9, tier: 1, log: true}}", "w", "log"),
        ],
    )
    def test_scales(self, text: str, name: str, scale: str) -> None:
        assert dimension(text, name, is_clear=False).scale == scale

    @pytest.mark.parametrize(
        ("part", "kind"),
        [
            ("low: 1, high: 9", "int"),
            ("low: 1, high: 9.0", "float"),
            ("low: 1.0, high: 9", "float"),
            ("low: 1, high: 9, step: 0.5", "float"),
            ("low: 1, high: 9, type: float", "float"),
            ("low: 1.0, high: 9.0, type: int", "int"),
            ("choices: [1, 2]", "categorical"),
        ],
    )
    def test_kinds_of_own_parameters_are_as_written(self, part: str, kind: str) -> None:
        found = dimension(f"model: a:b\nspace: {{w: {{{part}, tier: 3}}}}", "w", is_clear=False)
        assert found.kind == kind
        if kind != "categorical":
            assert type(found.from_unit(0.3)).__name__ == kind

    @pytest.mark.parametrize(
        ("text", "name", "default"),
        [
            ("space: {learning_rate: {low: 0.1, high: 10, default: 1}}", "learning_rate", 1.0),
            ("space: {learning_rate: {low: 0.1, high: 10}}", "learning_rate", pytest.approx(1.0)),
            ("space: {dropout: {low: 0.2, high: 0.5}}", "dropout", 0.2),
            ("space: {weight_decay: {low: 0.001, high: 0.1}}", "weight_decay", 0.001),
            ("space: {hidden_units: {low: 100, high: 400}}", "hidden_units", 200),
            ("space: {batch_size: {choices: [8, 16, 32]}}", "batch_size", 16),
            ("space: {batch_size: {choices: [32, 64, full]}}", "batch_size", 64),
            ("space: {activation: {choices: [tanh, gelu]}}", "activation", "tanh"),
            ("space: {optimizer: {choices: [adam, adamw]}}", "optimizer", "adam"),
            ("space: {optimizer: {choices: [adam, sgd]}}", "optimizer", "sgd"),
            ("model: a:b\nspace: {w: {low: 0.0, high: 1.0, tier: 1}}", "w", 0.5),
        ],
    )
    def test_defaults(self, text: str, name: str, default: object) -> None:
        assert dimension(text, name).default == default

    def test_choices_get_the_type_of_their_hyperparameter(self) -> None:
        assert repr(dimension("space: {learning_rate: {choices: [1, 0.1]}}", "learning_rate").choices) == "(1.0, 0.1)"
        assert repr(dimension("space: {hidden_units: {choices: [16.0, 32]}}", "hidden_units").choices) == "(16, 32)"
        own = dimension("model: a:b\nspace: {w: {choices: [1, 2.5], tier: 1}}", "w")
        assert repr(own.choices) == "(1.0, 2.5)"
        mixed = dimension("model: a:b\nspace: {w: {choices: [2, x, true], tier: 1}}", "w", is_clear=False)
        assert mixed.choices == (2, "x", True)

    def test_tiers_are_overridden(self) -> None:
        space = build_space(read("space: {dropout: {tier: 1}, learning_rate: {tier: regularisation}, momentum: {}}"))
        assert [(d.name, d.tier) for d in space] == [("dropout", 1), ("momentum", 2), ("learning_rate", 4)]

    def test_what_others_depend_on_comes_first(self) -> None:
        text = """
space:
  momentum: {when: {nesterov: true}}
  learning_rate: {when: {norm: batch}}
  nesterov: {}
  norm: {}
"""
        space = build_space(read(text))
        assert space.names == ("nesterov", "momentum", "norm", "learning_rate")
        assert space["momentum"].when == {"nesterov": (True,)}
        assert space.complete({"nesterov": True})["momentum"] == 0.9


class TestTabular:
    """The model for tables brings an optimiser, a schedule and a preparation, where these are left out."""

    def test_what_is_left_out_is_its_own(self) -> None:
        spec = read("model: tabular\ntraining: {epochs: 5}")
        assert (spec.training.optimizer, spec.training.schedule, spec.training.epochs) == ("adamw", "cosine", 5)
        assert spec.data.normalise == "quantile"
        assert settings_for(spec, {})["lr_decay"] == 1.0
        assert settings_for(spec, {})["batch_size"] == "auto"
        names = ("learning_rate", "hidden_units", "number_embedding", "hidden_layers", "weight_decay", "dropout")
        assert build_space(spec).names == names

    def test_what_is_said_stands(self) -> None:
        spec = read("model: {kind: tabular, hidden_units: 32}\ntraining: {optimizer: sgd, schedule: constant}")
        assert (spec.training.optimizer, spec.training.schedule) == ("sgd", "constant")
        assert settings_for(spec, {})["hidden_units"] == 32

    def test_what_is_searched_is_not_fixed(self) -> None:
        spec = read("model: tabular\nspace: {optimizer: {choices: [adamw, lion]}}")
        assert build_space(spec)["optimizer"].choices == ("adamw", "lion")

    def test_a_batch_that_the_data_decide_begins_in_the_middle_where_it_is_searched(self) -> None:
        spec = read("model: tabular\nspace: {batch_size: {}}")
        assert build_space(spec)["batch_size"].default == 128

    def test_a_spec_made_in_python_is_filled_as_well(self) -> None:
        data = DataSpec(source="a.csv", seed=3)
        spec = SweepSpec(study="s", data=data, model=ModelSpec(kind="tabular"), training=TrainingSpec(epochs=3))
        assert (spec.training.optimizer, spec.training.epochs) == ("adamw", 3)
        assert (spec.data.normalise, spec.data.seed) == ("quantile", 3)
        assert SweepSpec.model_validate(spec.model_dump(mode="json")) == spec

    def test_what_is_streamed_keeps_its_shape(self) -> None:
        spec = SweepSpec(study="s", data=DataSpec(source="a.csv", stream=True), model=ModelSpec(kind="tabular"))
        assert spec.data.normalise is True

    def test_other_models_are_as_they_were(self) -> None:
        spec = read("model: mlp")
        assert (spec.training.optimizer, spec.training.schedule, spec.data.normalise) == ("sgd", "inverse_time", True)


class TestSettings:
    def test_every_known_value_is_there(self) -> None:
        for model in (*MODELS, "net.py:build"):
            values = settings_for(read(f"model: {model}"), {})
            assert set(values) == {h.name for h in hyperparameters_of(model) if not h.optional}
            assert None not in values.values()

    @pytest.mark.parametrize(
        ("text", "params", "expected"),
        [
            ("", {}, {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "batch_size": 64, "lr_decay": 0.0}),
            ("training: {optimizer: adam}", {}, {"learning_rate": 0.001, "momentum": 0.0, "beta2": 0.999}),
            ("training: {optimizer: rmsprop}", {}, {"learning_rate": 0.001, "momentum": 0.0, "beta2": 0.99}),
            ("training: {schedule: cosine}", {}, {"lr_decay": 1.0}),
            ("training: {schedule: cosine, lr_decay: 0.5}", {}, {"lr_decay": 0.5}),
            ("training: {batch_size: full, clip_norm: 2}", {}, {"batch_size": "full", "clip_norm": 2.0}),
            ("model: {hidden_units: 8}", {"momentum": 0.5}, {"hidden_units": 8, "momentum": 0.5, "activation": "relu"}),
            ("space: {optimizer: {}}", {"optimizer": "adam"}, {"optimizer": "adam", "learning_rate": 0.001}),
            ("space: {schedule: {}}", {"schedule": "cosine"}, {"schedule": "cosine", "lr_decay": 1.0}),
            ("model: {kind: net.py:build, width: 3}", {"depth": 2}, {"width": 3, "depth": 2, "dropout": 0.0}),
        ],
    )
    def test_values_of_one_trial(self, text: str, params: dict[str, Any], expected: dict[str, Any]) -> None:
        assert settings_for(read(text), params).items() >= expected.items()
