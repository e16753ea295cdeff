"""The architecture as a hyperparameter: which dimensions a choice among models has, and what is refused beside one."""

from __future__ import annotations

import pytest

from tests.spec.helpers import HEAD, errors_of, read, warnings_of
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.edit.rewrite import rewrite_sweep
from tuner.spec.kept.changes import diff_sweeps
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.train.programs.fusion import fusion_key

_ALL = ", ".join(MODELS)


def test_each_model_has_hyperparameters_of_its_own_behind_the_choice() -> None:
    spec = read("model: {choices: [mlp, cnn, resnet]}")
    assert spec.model.kind == "mlp"
    space = build_space(spec)
    assert (space["model"].choices, space["model"].default, space["model"].tier) == (("mlp", "cnn", "resnet"), "mlp", 5)
    when = {d.name: d.when.get("model") for d in space}
    assert when["hidden_units"] == ("mlp", "cnn")
    assert when["hidden_layers"] == ("mlp",)
    assert when["channels"] == when["conv_layers"] == ("cnn", "resnet")
    assert when["learning_rate"] is when["dropout"] is None
    assert (space["hidden_units"].tier, space["channels"].tier) == (2, 5)
    names = list(space.names)
    assert names.index("model") < min(names.index("hidden_units"), names.index("channels"))
    assert not {"channels", "conv_layers"} & space.default().keys()
    assert space.complete({"model": "resnet"}).keys() >= {"channels", "conv_layers"}
    assert "hidden_units" not in space.complete({"model": "resnet"})


def test_a_trial_has_the_settings_and_defaults_of_its_model() -> None:
    spec = read(
        "model: {choices: [mlp, resnet, recurrent], kernel_size: 5, activation: tanh}\nspace: {learning_rate: {}}"
    )
    assert build_space(spec).names == ("learning_rate", "model")
    values = {kind: settings_for(spec, {"model": kind}) for kind in spec.model.kinds}
    assert {"kernel_size", "channels"}.isdisjoint(values["mlp"])
    assert (values["mlp"]["norm"], values["mlp"]["hidden_layers"], values["mlp"]["activation"]) == ("none", 2, "tanh")
    assert (values["resnet"]["norm"], values["resnet"]["kernel_size"]) == ("batch", 5)
    assert (values["recurrent"]["hidden_layers"], "activation" in values["recurrent"]) == (1, False)
    assert settings_for(spec, {}) == {k: v for k, v in values["mlp"].items() if k != "model"}
    keys = {fusion_key(spec, own) for own in values.values()}
    assert len(keys) == 3


def test_kind_is_the_default_where_it_is_given_and_conditions_may_name_models() -> None:
    spec = read(
        "model: {kind: cnn, choices: [mlp, cnn]}\n"
        "space: {learning_rate: {}, hidden_units: {when: {model: mlp}}, hidden_layers: {}, channels: {}, dropout: {}}"
    )
    space = build_space(spec)
    assert (space["model"].default, space["model"].choices) == ("cnn", ("cnn", "mlp"))
    assert space["hidden_units"].when == {"model": ("mlp",)}
    assert (space["hidden_layers"].tier, space["channels"].tier) == (5, 2)


def test_a_linear_model_has_no_dropout_among_others() -> None:
    space = build_space(read("model: {choices: [linear, mlp]}"))
    assert space["dropout"].when == space["hidden_units"].when == {"model": ("mlp",)}
    assert space.default().keys() == {"learning_rate", "momentum", "batch_size", "model", "lr_decay", "weight_decay"}


def test_a_choice_that_grew_goes_on_and_one_that_shrank_does_not() -> None:
    two, three = read("model: {choices: [mlp, cnn]}"), read("model: {choices: [mlp, cnn, resnet]}")

    def breaking(old: SweepSpec, new: SweepSpec) -> list[str]:
        return [c.line for c in diff_sweeps(old.model_dump(mode="json"), new) if c.breaks]

    assert [line for line in breaking(three, two) if line.startswith("space.model:")] == [
        "space.model: was [mlp, cnn, resnet], is [mlp, cnn]"
    ]
    assert not any(line.startswith("space.model:") for line in breaking(two, three))


def test_a_refined_sweep_keeps_the_choice_in_its_block() -> None:
    text = HEAD + "model: {choices: [mlp, cnn]}\nsearch: {trials: 9}\n"
    spec = read("model: {choices: [mlp, cnn]}\nsearch: {trials: 9}")
    start = build_space(spec).complete({"model": "cnn", "channels": 32})
    found = rewrite_sweep(text, study="s-2", space=build_space(spec), changes=(), start=start)
    again = read(found.removeprefix("study: s-2\ndata: {source: sklearn/digits}\n"))
    assert again.space is not None
    assert "model" not in again.space
    assert build_space(again).names == build_space(spec).names
    assert again.search.start[0]["model"] == "cnn"
    assert build_space(again)["channels"].when == {"model": ("cnn",)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: {choices: [mlp, rezznet]}",
         f'3:24: model.choices[1]: must be {_ALL}, the built-in models, got rezznet. Did you mean "resnet"?'),
        ("model: {choices: [mlp, 'a.py:f']}",
         f'3:24: model.choices[1]: must be {_ALL}, the built-in models, got "a.py:f"; let a factory of yours read a'),
        ("model: {choices: [mlp, cnn, mlp]}",
         "3:29: model.choices[2]: is among the choices already, got mlp; remove it"),
        ("model: {kind: 'a.py:f', choices: [mlp, cnn]}",
         "3:15: model.kind: must be a built-in model beside choices, got \"a.py:f\"; remove it"),
        ("model: {choices: [mlp, cnn], init_from: w.pt}",
         "3:30: model.init_from: is for the parameters of one network, and model.choices has several; remove it, or "
         "name one model"),
        ("model: {choices: [mlp, cnn], heads: 4}",
         "3:30: model.heads: is no setting of mlp or cnn; known settings: hidden_units, hidden_layers, "),
        ("model: {choices: [mlp, cnn]}\nspace: {heads: {}}",
         "4:9: space.heads: is a hyperparameter of transformer, not of mlp or cnn; remove it"),
        ("model: {choices: [mlp, cnn]}\nspace: {channels: {when: {model: mlp}}}",
         "4:34: space.channels.when.model: has no channels, got mlp; name cnn"),
        ("model: {choices: [mlp, cnn]}\nspace: {channels: {when: {model: [resnet]}}}",
         "4:35: space.channels.when.model[0]: must be one of the models mlp, cnn, got resnet"),
        ("model: mlp\nspace: {model: {choices: [mlp, cnn]}}",
         "4:9: space.model: is no hyperparameter of `space:`; write `model: {choices: [...]}`, outside of it"),
        ("model: {choices: [mlp, cnn], hidden_units: [64, 32]}",
         "3:44: model.hidden_units: is a list of widths, which is for model mlp, not for cnn, got [64, 32]; write one "
         "number"),
        ("model: {choices: [mlp, linear]}\ntraining: {l1: {'*': 0.1}}",
         "4:16: training.l1: is by layer, and the models of model.choices have others each, got"),
        ("model: {choices: []}\nspace: {hidden_units: {when: {model: mlp}}}",
         "4:31: space.hidden_units.when.model: is not searched"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_several_models_is_refused(text: str, problem: str) -> None:
    found = errors_of(HEAD + text)
    assert any(one.startswith(f"s.yaml:{problem}") for one in found), found


def test_a_choice_of_one_is_told() -> None:
    assert warnings_of("model: {choices: [cnn]}") == [
        "s.yaml:3:9: model.choices: has only one value; write `model: cnn`"
    ]
