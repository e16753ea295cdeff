"""Transfer learning: what is taken from a file, what is frozen, and that it pays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.train.cohorts import curves, digits, figures, jobs, make_spec, run_cohort
from tuner.data.dataset import Split, TrainingData
from tuner.errors import DataError
from tuner.models.build import build_module
from tuner.models.transfer import layers_of, load_pretrained, taken_from_file
from tuner.models.weights_file import read_weights
from tuner.records import TrialFinished
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.train.before.checks import run_checks
from tuner.train.task import Task

NORMED = "tests/train/user_modules.py:normed"
SMALL = {"hidden_units": 12, "hidden_layers": 2, "norm": "batch"}


def spec_from(path: Path | None, *, model: str = "mlp", new_layers: tuple[str, ...] = (), **given: object) -> SweepSpec:
    settings = {"mlp": SMALL, "cnn": {"channels": 8, "hidden_units": 32, "norm": "batch"}}.get(model, {})
    spec = make_spec(model=model, settings=settings, **given)
    block = spec.model.model_copy(update={"init_from": path and str(path), "new_layers": list(new_layers)})
    return spec.model_copy(update={"model": block})


def task_from(path: Path | None, data: TrainingData | None = None, **given: object) -> Task:
    return Task(spec_from(path, **given), data or digits(), torch.device("cpu"))  # type: ignore[arg-type]


def module_of(spec: SweepSpec, data: TrainingData | None = None, *, seed: int = 0) -> nn.Module:
    return build_module(spec, settings_for(spec, {}), (data or digits()).info, seed=seed)


def saved(path: Path, *, model: str = "mlp", seed: int = 9) -> dict[str, Tensor]:
    """A file of weights with batch norms that have seen something."""
    state = module_of(spec_from(None, model=model), seed=seed).state_dict()
    for name, tensor in state.items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    torch.save(state, path)
    return state


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    saved(tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def of_five(data: TrainingData | None = None) -> TrainingData:
    """The digits 0 to 4 alone."""
    data = data or digits()

    def part(split: Split) -> Split:
        chosen = split.targets < 5
        return Split(split.inputs[chosen], split.targets[chosen])

    train, dev = part(data.train), part(data.dev)
    info = replace(data.info, num_outputs=5, num_train=len(train), num_dev=len(dev))
    return TrainingData(train, dev, info)


# What is taken


def test_a_layer_is_a_matrix_with_the_vectors_that_follow_it() -> None:
    shapes = {n: p.shape for n, p in module_of(spec_from(None)).named_parameters()}
    assert layers_of(shapes) == (
        ("1.weight", "1.bias", "2.weight", "2.bias"),
        ("5.weight", "5.bias", "6.weight", "6.bias"),
        ("9.weight", "9.bias"),
    )


def test_all_that_fits_is_taken_with_the_statistics_of_the_norms(weights: Path) -> None:
    expected = torch.load(weights, weights_only=True)
    found = module_of(spec_from(weights)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_head_for_other_classes_is_new_and_drawn_from_the_seed(weights: Path) -> None:
    data = of_five()
    spec, expected = spec_from(weights), torch.load(weights, weights_only=True)
    first, second = (module_of(spec, data, seed=seed).state_dict() for seed in (1, 2))
    assert torch.equal(first["5.weight"], expected["5.weight"])
    assert first["9.weight"].shape == (5, 12)
    assert not torch.equal(first["9.weight"], second["9.weight"])
    taken = taken_from_file(spec, {n: p.shape for n, p in module_of(spec, data).named_parameters()})
    assert taken.new == ("9.weight", "9.bias")
    assert str(taken).startswith("8 tensors taken (1.weight, ")


@pytest.mark.parametrize("pattern", ["head", "9", "9.*", "9.weight"])
def test_what_new_layers_names_is_drawn_anew(pattern: str, weights: Path) -> None:
    found = module_of(spec_from(weights, new_layers=(pattern,))).state_dict()
    expected = torch.load(weights, weights_only=True)
    assert not torch.equal(found["9.weight"], expected["9.weight"])
    assert torch.equal(found["5.weight"], expected["5.weight"])


def test_other_forms_of_the_same_weights_are_read_alike(weights: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    state = torch.load(weights, weights_only=True)
    torch.save({"state_dict": {f"module.{n}": t for n, t in state.items()}, "epoch": 3}, tmp_path / "nested.ckpt")
    safetensors.save_file(state, str(tmp_path / "weights.safetensors"))
    for name in ("nested.ckpt", "weights.safetensors"):
        found = read_weights(tmp_path / name)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[n], t) for n, t in state.items())


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("/nonexistent/run", "w"))


def bad_file(kind: str, path: Path) -> None:
    state = torch.load(path, weights_only=True)
    match kind:
        case "missing":
            path.unlink()
        case "no state dict":
            torch.save([1, 2], path)
        case "code":
            torch.save({"weight": Hostile()}, path)
        case "other shape":
            torch.save(state | {"5.weight": torch.zeros(3, 12)}, path)
        case "other names":
            torch.save({n: t for n, t in state.items() if not n.startswith("1.")}, path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"no such file: .*weights\.pt"),
        ("no state dict", r"holds no state dict, names of tensors"),
        ("code", r"holds no state dict that can be loaded safely: "),
        ("other shape", r"5\.weight has shape \(3, 12\) in the file and \(12, 12\) in the network\. Give"),
        ("other names", r"does not fit model mlp: 1\.weight is missing; 1\.bias is missing\. Give"),
    ],
)
def test_a_file_that_does_not_serve_is_refused(kind: str, message: str, weights: Path) -> None:
    bad_file(kind, weights)
    with pytest.raises(DataError, match=rf"model\.init_from: .*{message}"):
        module_of(spec_from(weights))


def test_patterns_that_fit_nothing_and_networks_frozen_whole_are_refused(weights: Path) -> None:
    with pytest.raises(DataError, match=r"training\.freeze: no parameter is called layers; the network has 1\.weight"):
        module_of(spec_from(weights, freeze=["layers"]))
    with pytest.raises(DataError, match=r"training\.freeze leaves nothing to train"):
        module_of(spec_from(weights, freeze=["*"]))
    with pytest.raises(DataError, match=r"model\.new_layers: no parameter is called 7"):
        module_of(spec_from(weights, new_layers=("7",)))


def test_the_check_says_what_is_taken_and_frozen(weights: Path, tmp_path: Path) -> None:
    task = task_from(weights, of_five(), train_last=1)
    first = run_checks(task, jobs(tmp_path, [{}])[0], gradients=True)
    assert first[0].name == "pretrained weights"
    assert first[0].finding.endswith("new: 9.weight, 9.bias; 8 are frozen")
    assert all(check.passed for check in first if check.name in ("forward pass", "gradients"))


# What is trained


def trained(task: Task, folder: Path, params: Mapping[str, float], *, epochs: int = 3) -> dict[str, Tensor]:
    events = run_cohort(task, jobs(folder, [dict(params)], to_epoch=epochs))
    assert any(isinstance(e, TrialFinished) for e in events)
    found: dict[str, Tensor] = torch.load(folder / "0000" / "weights.pt", weights_only=True)
    return found


FROZEN_CASES = [
    ("mlp", "auto", "sgd", {"train_last": 2, "weight_decay": 0.1, "max_norm": 0.5}),
    ("mlp", "auto", "adamw", {"train_last": 2, "weight_decay": 0.1}),
    ("mlp", "off", "adamw", {"train_last": 2, "weight_decay": 0.1, "clip_norm": 0.5}),
    ("mlp", "auto", "lion", {"freeze": ["1", "2"], "weight_decay": 0.1}),
    (NORMED, "auto", "adam", {"train_last": 1, "l1": 0.1}),
    (NORMED, "off", "sgd", {"freeze": ["1.*", "2.*"]}),
]


@pytest.mark.parametrize(("model", "fuse", "optimizer", "given"), FROZEN_CASES)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_moves(
    model: str, fuse: str, optimizer: str, given: Mapping[str, object], tmp_path: Path
) -> None:
    before = saved(tmp_path / "weights.pt", model=model)
    task = task_from(tmp_path / "weights.pt", model=model, fuse=fuse, optimizer=optimizer, **given)
    after = trained(task, tmp_path / "run", {"learning_rate": 0.01})
    for name, value in before.items():
        if "num_batches" not in name:
            assert torch.equal(after[name], value) == name.startswith(("1.", "2.")), name


def test_what_is_frozen_counts_in_no_report_of_gradients(weights: Path, tmp_path: Path) -> None:
    for fuse in ("auto", "off"):
        task = task_from(weights, train_last=1, fuse=fuse)
        events = run_cohort(task, jobs(tmp_path / fuse, [{"learning_rate": 0.01}]))
        (end,) = (e for e in events if isinstance(e, TrialFinished))
        assert list(end.facts["gradient_norms"]) == ["9.weight"]


def test_weights_taken_from_its_own_start_change_nothing(tmp_path: Path) -> None:
    """Off is as if it were not there, and a file of the same weights gives the same bits."""
    configuration = {"learning_rate": 0.05, "dropout": 0.2}
    plain = curves(run_cohort(task_from(None), jobs(tmp_path / "a", [configuration])))[0]
    state = module_of(spec_from(None), seed=1000).state_dict()
    torch.save(state, tmp_path / "own.pt")
    given = curves(run_cohort(task_from(tmp_path / "own.pt"), jobs(tmp_path / "b", [configuration])))[0]
    neutral = task_from(tmp_path / "own.pt", unfreeze_every_epochs=9, train_last=3)
    whole = curves(run_cohort(neutral, jobs(tmp_path / "c", [configuration])))[0]
    assert figures(plain) == figures(given) == figures(whole)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", NORMED])
def test_the_body_goes_its_share_of_the_way(model: str, tmp_path: Path) -> None:
    """One epoch of one step of SGD: each change is the learning rate's share of the gradient."""
    before = saved(tmp_path / "weights.pt", model=model)
    moved = {}
    for factor in (1.0, 0.25):
        task = task_from(
            tmp_path / "weights.pt", model=model, batch_size="full", body_learning_rate_factor=factor, epochs=1
        )
        after = trained(task, tmp_path / str(factor), {"learning_rate": 0.1}, epochs=1)
        moved[factor] = {n: after[n] - before[n] for n in before if n.endswith("weight")}
    head = list(moved[1.0])[-1]
    for name, change in moved[1.0].items():
        assert torch.allclose(moved[0.25][name], change * (1.0 if name == head else 0.25), atol=1e-6), name


@pytest.mark.slow
def test_layers_thaw_one_by_one(tmp_path: Path) -> None:
    before = saved(tmp_path / "weights.pt")
    for fuse in ("auto", "off"):
        moving = []
        for epochs in (1, 2, 3):
            task = task_from(tmp_path / "weights.pt", unfreeze_every_epochs=1, epochs=3, fuse=fuse)
            events = run_cohort(task, jobs(tmp_path / f"{fuse}{epochs}", [{"learning_rate": 0.05}], to_epoch=epochs))
            assert events
            moving.append(latest(tmp_path / f"{fuse}{epochs}", task))
        unchanged = [
            {n.split(".")[0] for n, t in before.items() if torch.equal(found[n], t) and "num" not in n}
            for found in moving
        ]
        assert unchanged == [{"1", "2", "5", "6"}, {"1", "2"}, set()]


def latest(folder: Path, task: Task) -> dict[str, Tensor]:
    """The last weights of a trial, by the names of its module, from its checkpoint."""
    from tuner.paths import TrialPaths
    from tuner.train.loop.cohort import Cohort
    from tuner.train.loop.member import Run

    (job,) = jobs(folder, [{"learning_rate": 0.05}])
    assert TrialPaths(folder / "0000").checkpoint.exists()
    run = Run.of(job, task)
    program = task.program([run.member])
    run.resume(program, 0)
    program.save_best([0])
    assert Cohort is not None
    return program.best_weights(0)


@pytest.mark.parametrize(
    "given",
    [
        {"train_last": 2, "clip_norm": 0.5},
        {"unfreeze_every_epochs": 1},
        {"freeze": ["5.*"], "body_learning_rate_factor": 0.3},
        {"freeze": ["1.*"]},
    ],
    ids=["frozen", "thawing", "in the middle", "below a norm that is trained"],
)
def test_fused_training_in_parts_is_that_of_plain_modules(given: Mapping[str, object], tmp_path: Path) -> None:
    saved(tmp_path / "weights.pt")
    runs = {}
    for fuse in ("auto", "off"):
        task = task_from(tmp_path / "weights.pt", fuse=fuse, epochs=4, weight_decay=1e-3, **given)
        runs[fuse] = trained(task, tmp_path / fuse, {"learning_rate": 0.02, "dropout": 0.2}, epochs=4)
    for name, value in runs["off"].items():
        if "num_batches" not in name:
            assert torch.allclose(runs["auto"][name], value, atol=2e-5, rtol=1e-3), name


def test_load_pretrained_reports_what_the_file_has_besides(weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    torch.save(state | {"extra.weight": torch.zeros(2)}, weights)
    spec = spec_from(weights)
    taken = load_pretrained(spec, module_of(spec))
    assert taken.unused == ("extra.weight",)
    assert str(taken).endswith("none is new; not used: extra.weight")
