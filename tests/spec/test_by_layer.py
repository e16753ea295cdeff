"""Values by layer: how they are read, what they come to, and where they are refused."""

from __future__ import annotations

import pytest

from tests.spec.helpers import HEAD, errors_of, read, warnings_of
from tuner.records import Json, ParamValue
from tuner.spec.by_layer import as_text, by_layer, by_name, hidden_widths, numbers_in
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec
from tuner.train.programs.fusion import fusion_key


@pytest.mark.parametrize(
    ("value", "text", "numbers"),
    [
        ([256, 64], "[256, 64]", (256, 64)),
        ([0.1, 0], "[0.1, 0]", (0.1, 0)),
        ({"0.*": 1e-5, "*": 0}, '{"0.*": 1e-05, "*": 0}', (1e-5, 0)),
    ],
)
def test_a_list_or_a_mapping_is_a_text_which_reads_back(value: Json, text: str, numbers: tuple[float, ...]) -> None:
    assert as_text(value) == text
    assert numbers_in(text) == numbers
    assert by_layer(text) == (numbers if isinstance(value, list) else ())
    assert by_name(text) == (value if isinstance(value, dict) else {})


@pytest.mark.parametrize("value", [0.5, 3, True, "relu", "[", "[1, a]", "[]", "{}", '["1"]', "[true]", None])
def test_nothing_else_is_by_layer(value: ParamValue | None) -> None:
    assert numbers_in(value) == ()
    assert as_text(value) == value


@pytest.mark.parametrize("value", [[], {}, ["a"], [True], [[1]], [float("nan")], {"a": "b"}])
def test_what_holds_no_numbers_stays_what_it_is(value: Json) -> None:
    assert as_text(value) is value


def test_they_may_be_fixed_and_searched_and_go_through_what_is_written() -> None:
    spec = read(
        "model: {kind: mlp, hidden_units: [48, 24]}\n"
        "training: {weight_decay: [1e-3, 0, 0], l1: {'*.weight': 1e-5}}\n"
        "space: {learning_rate: {}, dropout: {choices: [0.0, [0.1, 0.3]], default: [0.1, 0.3]}}\n"
        "search: {start: [{dropout: [0.1, 0.3]}]}"
    )
    assert SweepSpec.model_validate(spec.model_dump()).model_copy(update={"root": spec.root}) == spec
    dropout = build_space(spec)["dropout"]
    assert (dropout.choices, dropout.default, dropout.ordered) == ((0.0, "[0.1, 0.3]"), "[0.1, 0.3]", False)
    assert spec.search.start == [{"dropout": "[0.1, 0.3]"}]
    values = settings_for(spec, {"dropout": "[0.1, 0.3]"})
    assert (hidden_widths(values), values["hidden_layers"], values["l1"]) == ((48, 24), 2, '{"*.weight": 1e-05}')


def test_widths_may_be_searched_beside_numbers_which_have_a_depth_of_their_own() -> None:
    spec = read(
        "space: {hidden_units: {choices: [64, 32, [64, 32]]}, hidden_layers: {when: {hidden_units: [64, 32]}}, "
        "dropout: {choices: [0.0, [0.1, 0.3]], when: {hidden_units: [[64, 32]]}}}"
    )
    space = build_space(spec)
    assert hidden_widths(settings_for(spec, space.complete({"hidden_units": 32, "hidden_layers": 3}))) == (32, 32, 32)
    assert hidden_widths(settings_for(spec, space.complete({"hidden_units": "[64, 32]"}))) == (64, 32)
    assert space.complete({"hidden_units": "[64, 32]"}) == {"hidden_units": "[64, 32]", "dropout": 0.0}


def test_the_default_space_leaves_out_the_depth_that_a_list_says() -> None:
    names = build_space(read("model: {kind: mlp, hidden_units: [48, 24]}")).names
    assert "hidden_units" not in names
    assert "hidden_layers" not in names


def test_what_splits_a_cohort_are_shapes_and_whether_penalties_are_by_layer() -> None:
    spec = read("space: {learning_rate: {}}")

    def key(**params: ParamValue) -> object:
        return fusion_key(spec, settings_for(spec, params))

    assert key(hidden_units="[60, 30]") == key(hidden_units="[64, 32]") != key(hidden_units="[64, 16]")
    assert key(hidden_units="[64, 64]") == key(hidden_units=64, hidden_layers=2)
    assert key(dropout="[0.1, 0.3]") == key(dropout=0.0)
    assert key(l1="[1, 2, 3]") == key(l1='{"*": 3}') != key(l1=3.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("training: {dropout: [0.1, 1.5]}", "3:21: training.dropout: must be in [0, 1), got 1.5"),
        ("training: {dropout: [0.1, a]}",
         "3:21: training.dropout: must be a number, or a list with one for each layer, got a list"),
        ("training: {dropout: {a: 0.1}}",
         "3:21: training.dropout: must be a number, or a list with one for each layer, got a mapping"),
        ("training: {l1: []}",
         "3:16: training.l1: must be a number, or a list with one for each layer, or a mapping of names to numbers, "
         "got a list"),
        ("training: {weight_decay: [0.1, 0.2]}",
         "3:26: training.weight_decay: must have a number for each layer (the output's is one): the network has 3 or 4 "
         "or 5, got [0.1, 0.2]"),
        ("model: {kind: mlp, hidden_layers: 3}\ntraining: {dropout: [0.1, 0.2]}",
         "4:21: training.dropout: must have a number for each hidden layer: the network has 3, got [0.1, 0.2]"),
        ("training: {dropout: [0.1, 0.2], dropout_last: 0.3}\nmodel: {kind: mlp, hidden_layers: 2}",
         "3:33: training.dropout_last: has no effect beside a list of rates in dropout; write its rate as the last of "
         "the list"),
        ("model: {kind: mlp, hidden_units: [64, 32], hidden_layers: 2}",
         "3:44: model.hidden_layers: has no effect: hidden_units lists the width of each layer, and so says how many "
         "there are; remove it"),
        ("model: {kind: mlp, hidden_units: [64, 32], residual: true}",
         "3:34: model.hidden_units: must list equal widths with residual, which adds a layer's output to its input, "
         "got [64, 32]; remove residual, or write one width"),
        ("model: {kind: mlp, hidden_units: [64, 0]}", "3:34: model.hidden_units: must be at least 1, got 0"),
        ("model: {kind: mlp, hidden_units: [64, 1.5]}",
         "3:34: model.hidden_units: must be a whole number, got 1.5; write 2"),
        ("model: {kind: cnn, hidden_units: [64, 32]}",
         "3:34: model.hidden_units: is a list of widths, which is for model mlp, not for cnn, got [64, 32]; write one "
         "number"),
        ("space: {hidden_units: {choices: [[64, 32], [64, -1]]}}",
         "3:44: space.hidden_units.choices[1]: must be at least 1, got -1"),
        ("model: 'a.py:f'\ntraining: {dropout: [0.1, 0.2]}",
         "4:21: training.dropout: is a list of rates, which is for built-in models, got [0.1, 0.2]; write one number, "
         "and let your model read it"),
        ("training: {weight_decay: {'*': 0.1}, optimizer: 'a.py:f'}",
         "3:26: training.weight_decay: is by layer, which an optimizer of yours does not read, got {\"*\": 0.1}; make "
         "the groups in your optimizer"),
        ("model: 'a.py:f'\nspace: {mine: {choices: [[1, 2], [3, 4]], tier: 1}}",
         "4:26: space.mine.choices[0]: must be a number, true, false or text, got a list"),
    ],
)  # fmt: skip
def test_what_no_network_can_have_is_refused(text: str, problem: str) -> None:
    assert f"s.yaml:{problem}" in errors_of(HEAD + text)


def test_a_depth_without_effect_beside_a_list_is_told() -> None:
    text = "space: {hidden_units: {choices: [64, [64, 32]]}, hidden_layers: {low: 1, high: 2}}"
    assert warnings_of(text) == [
        "s.yaml:3:50: space.hidden_layers: has no effect where hidden_units is a list; add `when: {hidden_units: [64]}`"
    ]


def test_own_training_code_is_given_no_list() -> None:
    text = "study: s\ncommand: train {params}\nobjective: {metric: accuracy}\nspace: {l1: {choices: [[1, 2], [3, 4]]}}"
    (problem, *_) = errors_of(text)
    assert problem.startswith("s.yaml:4:24: space.l1.choices[0]: is by layer, which is for networks that tuner trains")


def test_passes_with_dropout_on_are_told_where_nothing_is_dropped() -> None:
    text = "training: {monte_carlo_passes: 20}\nspace: {learning_rate: {}}"
    assert warnings_of(text) == [
        "s.yaml:3:12: training.monte_carlo_passes: has no effect: dropout is 0; add dropout, or search it"
    ]
    read("training: {monte_carlo_passes: 20, dropout: 0.1}\nspace: {learning_rate: {}}")
    read("training: {monte_carlo_passes: 20}")
