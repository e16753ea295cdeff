"""What people bring: outputs with names, several inputs, lazy layers, sparse gradients, a loss beside the loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train import brought_modules
from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tuner.data.load import load_training_data
from tuner.errors import UserCodeError
from tuner.models.build import build_module
from tuner.records import EpochResult
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.after.evaluate import outputs_of
from tuner.train.before.contract import check_contract
from tuner.train.task import Task

FILE = "tests/train/brought_modules.py"
TOYS = "red,green,blue,width,height,kind\n" + "".join(
    f"{r},{g},{b},{w},{h},{'ball' if r + w > 8 else 'cube'}\n"
    for r, g, b, w, h in np.random.default_rng(0).integers(0, 9, (120, 5)) / 1.5
)


def sweep(folder: Path, kind: str, *, model: dict[str, Any] | None = None, **data: Any) -> SweepSpec:
    return SweepSpec(
        study="toys",
        data=DataSpec(**{"source": str(folder / "toys.csv"), **data}),
        model=ModelSpec(kind=f"{FILE}:{kind}", **(model or {})),
        training=TrainingSpec(epochs=3, batch_size=16),
    )


def trained(task: Task, folder: Path, *, learning_rate: float = 0.05) -> list[EpochResult]:
    (curve,) = curves(run_cohort(task, jobs(folder, [{"learning_rate": learning_rate}]))).values()
    return curve


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
@pytest.mark.parametrize(("kind", "outputs"), [("AMapping", "logits"), ("ATuple", 1), ("ANamedTuple", "logits")])
def test_the_named_part_of_the_outputs_is_what_counts(kind: str, outputs: str | int, fuse: str, tmp_path: Path) -> None:
    def task(kind: str, **model: Any) -> Task:
        spec = make_task(model=f"{FILE}:{kind}", batch_size=32, fuse=fuse).spec
        named = spec.model_copy(update={"model": spec.model.model_copy(update=model)})
        return Task(named, digits(), torch.device("cpu"))

    plain = trained(task("Net"), tmp_path / "plain")
    named = task(kind, outputs=outputs)
    check_contract(named)
    assert [r.dev_loss for r in trained(named, tmp_path / "named")] == pytest.approx(
        [r.dev_loss for r in plain], rel=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "outputs", "message"),
    [
        ("AMapping", None, "a mapping with hidden, logits; .*model.outputs"),
        ("ATuple", None, "a tuple of 2, from 0 on"),
        ("AMapping", "logit", "there is no logit in .* a mapping with hidden, logits"),
        ("ATuple", 2, "there is no 2 in .* a tuple of 2"),
    ],
)
def test_outputs_without_a_name_hear_which_names_there_are(kind: str, outputs: Any, message: str) -> None:
    spec = make_task(model=f"{FILE}:Net").spec
    named = spec.model_copy(update={"model": ModelSpec(kind=f"{FILE}:{kind}", outputs=outputs)})
    with pytest.raises(UserCodeError, match=message):
        check_contract(Task(named, digits(), torch.device("cpu")))


@pytest.mark.slow
def test_lazy_layers_are_shaped_by_a_first_batch_and_drawn_by_the_trials_seed(tmp_path: Path) -> None:
    task = make_task(model=f"{FILE}:Lazy", batch_size=32)
    check_contract(task)
    curve = trained(task, tmp_path / "a")
    assert curve[-1].dev_metric > 0.6
    assert figures(curve) == figures(trained(task, tmp_path / "b"))
    values = settings_for(task.spec, build_space(task.spec).default())
    module = build_module(task.spec, values, task.info, seed=3)
    assert all(part.training for part in module.modules())


def test_sparse_gradients_are_for_the_optimisers_that_take_them(tmp_path: Path) -> None:
    task = make_task(model=f"{FILE}:Sparse", batch_size=32, optimizer="sgd", momentum=0.0, weight_decay=0.0)
    check_contract(task)
    assert trained(task, tmp_path, learning_rate=0.05)[-1].dev_metric > 0.6
    for optimizer, settings in {"adam": {}, "sgd": {"weight_decay": 0.1}}.items():
        with pytest.raises(UserCodeError, match=r"sparse gradients \(rows.weight\), which .* leave out sparse=True"):
            check_contract(make_task(model=f"{FILE}:Sparse", optimizer=optimizer, **settings))


def test_a_further_loss_that_the_module_leaves_is_added(tmp_path: Path) -> None:
    """As a loop written by hand adds it."""
    task = make_task(model=f"{FILE}:Balanced", batch_size=300, epochs=1, momentum=0.0, auxiliary_loss="penalty")
    check_contract(task)
    (job,) = jobs(tmp_path, [{"learning_rate": 0.05}])
    module = task.member(job).make_module()
    (event,) = (e for e in curves(run_cohort(task, [job])).values())
    loss = torch.nn.functional.cross_entropy(module(digits().train.inputs), digits().train.targets) + module.penalty
    loss.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.05 * parameter.grad
        outputs = module.eval()(digits().dev.inputs)
    expected = float(torch.nn.functional.cross_entropy(outputs, digits().dev.targets))
    assert event[0].dev_loss == pytest.approx(expected, rel=1e-5)
    with pytest.raises(UserCodeError, match=r"self.gain is NoneType"):
        check_contract(make_task(model=f"{FILE}:Balanced", auxiliary_loss="gain"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ByName", "ByPlace"])
def test_columns_reach_the_inputs_that_they_are_for(kind: str, tmp_path: Path) -> None:
    (tmp_path / "toys.csv").write_text(TOYS)
    groups = {"sizes": ["width", "height"], "colours": ["r*", "green", "blue"]}
    spec = sweep(tmp_path, kind, inputs=groups)
    data = load_training_data(spec)
    task = Task(spec, data, torch.device("cpu"))
    check_contract(task)
    assert trained(task, tmp_path)[-1].dev_metric > 0.6
    params = {"learning_rate": 0.05}
    weights = task.member(jobs(tmp_path, [params])[0]).make_module().state_dict()
    outputs = outputs_of(task, params, weights, data.dev, seed=0)
    module = brought_modules.ByName({}, data.info)
    module.load_state_dict(weights)
    assert torch.allclose(outputs, module(data.dev.inputs[:, :3], data.dev.inputs[:, 3:]))


def test_a_group_without_a_column_and_a_forward_without_groups_are_told(tmp_path: Path) -> None:
    (tmp_path / "toys.csv").write_text(TOYS)
    spec = sweep(tmp_path, "ByName", inputs={"sizes": ["width", "weight"], "colours": ["red"]})
    with pytest.raises(UserCodeError, match='"weight" names no input; there are: red, green, blue, width, height'):
        check_contract(Task(spec, load_training_data(spec), torch.device("cpu")))
    spec = sweep(tmp_path, "ByName")
    with pytest.raises(UserCodeError, match=r"data\.inputs names the columns of each"):
        check_contract(Task(spec, load_training_data(spec), torch.device("cpu")))


def test_targets_may_stay_in_their_own_units(tmp_path: Path) -> None:
    data = DataSpec(source="sklearn/diabetes", normalise={"inputs": True, "targets": False})
    spec = SweepSpec(study="units", data=data, model=ModelSpec(kind=f"{FILE}:InUnits"), training=TrainingSpec(epochs=5))
    loaded = load_training_data(spec)
    assert loaded.info.target_mean == (0.0,)
    assert loaded.info.target_std == (1.0,)
    assert 100 < float(loaded.train.targets.mean()) < 200
    assert abs(float(loaded.train.inputs.mean())) < 1e-5
    task = Task(spec, loaded, torch.device("cpu"))
    check_contract(task)
    assert 40 < trained(task, tmp_path)[-1].dev_metric < 75  # RMSE in the target's units; a guess has 77


def test_token_ids_that_were_normalised_are_told(tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(0, 20, (80, 6))
    rows = "".join(",".join(map(str, row)) + f",{'xy'[int(row.max() > 17)]}\n" for row in words)
    (tmp_path / "toys.csv").write_text("a,b,c,d,e,f,y\n" + rows)
    spec = sweep(tmp_path, "Tokens")
    with pytest.raises(UserCodeError, match=r"token ids are whole numbers: write data\.normalise: false"):
        check_contract(Task(spec, load_training_data(spec), torch.device("cpu")))
    spec = sweep(tmp_path, "Tokens", normalise=False)
    check_contract(Task(spec, load_training_data(spec), torch.device("cpu")))
