"""Monte Carlo dropout: which layers stay on, and that predictions are averaged as float64 has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.cohorts import diabetes, digits, jobs, labelled_digits, make_task, run_cohort
from tests.train.test_folds import folded
from tuner.data.dataset import TrainingData
from tuner.errors import UsageError
from tuner.models.generators import seed_generators
from tuner.models.keyed import key
from tuner.models.layers.dropout import keyed_dropouts
from tuner.paths import TrialPaths
from tuner.records import TrialFinished, TrialJob
from tuner.train.after.predictor import MonteCarloPredictor, Predictor
from tuner.train.loop.monte_carlo import dropping, monte_carlo
from tuner.train.program import Member
from tuner.train.task import Task

JOB = TrialJob(trial=0, params={}, seed=7, to_epoch=1, folder="/nowhere")


def trial_of(data: TrainingData | None = None, **spec: object) -> tuple[Task, Member, dict[str, torch.Tensor]]:
    task = make_task(data, **spec)
    member = task.member(JOB)
    folds = member.folds
    weights = {n: t.clone() for n, t in member.make_module().state_dict().items()} if not folds else {}
    return task, member, weights


@pytest.mark.parametrize("data", [digits(), labelled_digits(), diabetes()], ids=["classes", "labels", "numbers"])
def test_what_is_averaged_are_predictions_and_each_pass_has_masks_of_its_own(data: TrainingData) -> None:
    """The passes are done again with masks from the field's definition, and averaged in float64."""
    task, member, weights = trial_of(data, settings={"hidden_units": "[24, 16]"}, dropout="[0.2, 0.5]")
    found = monte_carlo(task, member, weights, passes=5)
    assert found is not None
    module = member.make_module()
    module.eval()
    inputs = task.data.dev.inputs
    predictor = MonteCarloPredictor(Predictor(module, task.info), passes=5, seed=7)
    with torch.no_grad():
        predicted = [predictor(inputs).numpy() for _ in range(2)]
    assert not np.array_equal(*predicted)
    layers = keyed_dropouts(module)
    passes = []
    for number in range(5):
        for place, layer in enumerate(layers):
            layer.training = True
            own = key(7, "monte carlo", 2 * number + place)
            layer.start_step(int(np.uint32(own & 0xFFFFFFFF | 1).view(np.int32)))
        with torch.no_grad():
            passes.append(module(inputs).double().numpy())
    assert not np.array_equal(passes[0], passes[1])
    if data.info.task == "classification":
        each = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in passes]
    else:
        each = [1.0 / (1.0 + np.exp(-z)) if data.info.task == "multi_label" else z for z in passes]
    outputs = found.outputs.double()
    match data.info.task:
        case "classification":
            ours = torch.softmax(outputs, dim=1)
        case "multi_label":
            ours = torch.sigmoid(outputs)
        case _:
            ours = outputs
    np.testing.assert_allclose(ours.numpy(), np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    own_units = np.mean(each, axis=0)
    if data.info.task == "regression":
        own_units = own_units * task.info.target_std + task.info.target_mean
    np.testing.assert_allclose(predicted[0], own_units, rtol=1e-5, atol=1e-4)
    (scores,) = task.dev_scores(found.outputs)
    assert found.facts["metric"] == float(scores.metric[0])
    assert found.facts["loss"] == float(scores.loss[0])
    assert found.facts["passes"] == 5
    again = monte_carlo(task, member, weights, passes=5)
    assert again is not None
    assert torch.equal(again.outputs, found.outputs)


def test_the_mean_of_many_passes_over_a_linear_layer_is_the_pass_without_dropout() -> None:
    task, member, weights = trial_of(diabetes(), settings={"hidden_layers": 1}, dropout=0.3)
    (few, many) = (monte_carlo(task, member, weights, passes=passes) for passes in (2, 400))
    assert few is not None
    assert many is not None
    plain = member.make_module().eval()(task.data.dev.inputs).detach()
    far, near = ((found.outputs - plain).abs().mean() for found in (few, many))
    assert near < 0.2 * far


def test_only_what_drops_is_on() -> None:
    module = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Dropout(0.0), nn.Dropout2d(0.1), nn.GRU(4, 4),
        nn.LSTM(4, 4, num_layers=2, dropout=0.2), nn.MultiheadAttention(4, 1, dropout=0.1),
        nn.MultiheadAttention(4, 1), nn.TransformerEncoderLayer(4, 1, dropout=0.1),
    )  # fmt: skip
    kinds = [type(layer).__name__ for layer in dropping(module)]
    assert kinds[:5] == ["Dropout", "Dropout2d", "LSTM", "MultiheadAttention", "TransformerEncoderLayer"]
    assert set(kinds[5:]) == {"Dropout", "MultiheadAttention"}


def test_norms_stay_in_evaluation_and_the_generators_where_they_were() -> None:
    task, member, weights = trial_of(settings={"norm": "batch"}, dropout=0.4)
    module = member.make_module()
    seed_generators(3, "test", device=torch.device("cpu"))
    before = torch.get_rng_state()
    assert monte_carlo(task, replace(member, make_module=lambda: module), weights, passes=3) is not None
    assert torch.equal(torch.get_rng_state(), before)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d)]
    assert [layer.num_batches_tracked.item() for layer in norms] == [0, 0]
    assert not any(layer.training for layer in norms)
    assert not any(layer.training for layer in keyed_dropouts(module))


def test_a_network_that_drops_nothing_has_no_passes() -> None:
    task, member, weights = trial_of(dropout=0.0)
    assert monte_carlo(task, member, weights, passes=3) is None
    with pytest.raises(UsageError, match="has no dropout, so that all passes are alike"):
        MonteCarloPredictor(Predictor(member.make_module().eval(), task.info), passes=3, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [{}, {"fuse": "off"}, {"model": "tests/train/user_modules.py:two_layers"}, {"data": folded()}],
    ids=["stacked", "plain", "user module", "folds"],
)
def test_a_finished_trial_says_what_its_passes_came_to(spec: dict[str, object], tmp_path: Path) -> None:
    task = make_task(**{"monte_carlo_passes": 4, **spec})  # type: ignore[arg-type]
    (job, other) = jobs(tmp_path, [{"dropout": 0.3}, {"dropout": 0.0}])
    ends = {e.trial: e.facts for e in run_cohort(task, [job, other]) if isinstance(e, TrialFinished)}
    assert "monte_carlo" not in ends[1]
    facts = ends[0]["monte_carlo"]
    assert facts["passes"] == 4
    own = TrialPaths(Path(job.folder))
    mean, usual = (np.load(path) for path in (own.monte_carlo_predictions, own.predictions))
    assert mean.shape == usual.shape
    assert not np.array_equal(mean, usual)
    np.testing.assert_allclose(mean.sum(axis=1), 1.0, rtol=1e-5)
    if not task.folds:
        assert (mean.argmax(axis=1) == task.data.dev.targets.numpy()).mean() == pytest.approx(facts["metric"])
