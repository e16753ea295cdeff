"""Class weights: what they are, that they are those of the library, and that they help where classes are rare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, diabetes, digits, jobs, make_task, run_cohort
from tests.train.trials import member_of, plan_of, settings_of
from tuner.data.dataset import Split, TrainingData
from tuner.errors import DataError
from tuner.models.mlp import mlp
from tuner.spec.model import TrainingSpec
from tuner.train.batch.class_weights import resolve_class_weights
from tuner.train.program import Problem, Program
from tuner.train.programs.plain import PlainProgram
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.programs.stacked.program import StackedProgram

CPU = torch.device("cpu")


def unbalanced() -> TrainingData:
    """Digits: is it a nine? Of the nines, half are left out."""
    data = digits()

    def rare(split: Split) -> Split:
        kept = (split.targets != 9) | (torch.arange(len(split)) % 2 == 0)
        return Split(split.inputs[kept], (split.targets[kept] == 9).long())

    train, dev = rare(data.train), rare(data.dev)
    info = replace(data.info, num_outputs=2, class_names=("other", "nine"), num_train=len(train), num_dev=len(dev))
    return TrainingData(train, dev, info)


def test_balanced_weights_make_classes_equal_and_have_mean_one() -> None:
    data = unbalanced()
    counts = torch.bincount(data.train.targets).tolist()
    weights = resolve_class_weights(TrainingSpec(class_weights="balanced"), data)
    assert weights[0] * counts[0] == pytest.approx(weights[1] * counts[1])
    assert weights[0] * counts[0] + weights[1] * counts[1] == pytest.approx(sum(counts))


def test_weights_by_name_keep_their_ratio_and_count_one_where_left_out() -> None:
    weights = resolve_class_weights(TrainingSpec(class_weights={"nine": 4}), unbalanced())
    assert weights[1] / weights[0] == pytest.approx(4)


@pytest.mark.parametrize(
    ("data", "weights", "message"),
    [
        (unbalanced(), {"nin": 2}, 'training.class_weights: the data have no class "nin"; did you mean "nine"?'),
        (unbalanced(), {"7": 2}, 'training.class_weights: the data have no class "7"; there are other, nine'),
        (
            diabetes(),
            "balanced",
            "training.class_weights is for classification, and these data are for regression: remove it",
        ),
    ],
)  # fmt: skip
def test_weights_that_fit_no_class_are_refused(data: TrainingData, weights: object, message: str) -> None:
    with pytest.raises(DataError) as error:
        make_task(data, class_weights=weights)
    assert str(error.value) == message


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_step_is_that_of_the_library_with_these_weights(smoothing: float) -> None:
    """Stacked and plain: weighted cross entropy, divided by the number of examples."""
    data = digits()
    weights = tuple(0.5 + 0.1 * c for c in range(10))
    network = mlp({"hidden_units": 16, "hidden_layers": 1, "activation": "relu", "norm": "none", "residual": False},
                  input_shape=(1, 8, 8), num_outputs=10)  # fmt: skip
    settings = replace(settings_of(learning_rate=0.1, momentum=0.0, batch_size=32), label_smoothing=smoothing)
    settings = replace(settings, class_weights=weights)
    member = member_of(network, settings, seed=3)
    plan = plan_of([member], num_train=300)
    module = member.make_module().train()
    batch = plan.order_KN[0, :32]
    total = torch.nn.functional.cross_entropy(
        module(data.train.inputs[batch]), data.train.targets[batch],
        weight=torch.tensor(weights), label_smoothing=smoothing, reduction="sum",
    )  # fmt: skip
    (total / 32).backward()
    expected = {n: p.detach() - 0.1 * p.grad for n, p in module.named_parameters() if p.grad is not None}
    problem = Problem(train=data.train, loss="cross_entropy", num_outputs=10, device=CPU)
    programs: list[Program] = [
        PlainProgram([member], lambda member: PlainTrial(member, problem)),
        StackedProgram([member], problem),
    ]
    for program in programs:
        program.train_steps(plan, 0, 1)
        program.save_best([0])
        found = program.best_weights(0)
        for name, value in expected.items():
            assert torch.allclose(found[name], value, atol=1e-6), (program.path(0), name)


def test_weights_raise_the_recall_of_a_rare_class(tmp_path: Path) -> None:
    found = {}
    for weights in (None, "balanced"):
        task = make_task(unbalanced(), class_weights=weights, epochs=3)
        task.metric = replace(task.metric, name="balanced_accuracy")
        task.score_dev = task.scorer(task.data.dev.targets)
        curve = curves(run_cohort(task, jobs(tmp_path / str(weights), [{"learning_rate": 0.02}])))[0]
        found[weights] = curve[-1].dev_metric
    assert found["balanced"] > found[None] + 0.1
