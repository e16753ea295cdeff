"""Users' own modules: what cannot be stacked is trained one by one with the reason said, and nothing is shared."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import per_trial
from tuner.errors import TunerError
from tuner.models.build import build_module
from tuner.records import Params, TrialFinished, TrialStarted
from tuner.spec.defaults import settings_for
from tuner.train.program import Member
from tuner.train.programs.attributes import frozen
from tuner.train.programs.modules import structures
from tuner.train.programs.modules.proof import difference_as_rows
from tuner.train.way import Way

pytestmark = pytest.mark.slow

FILE = "tests/train/user_modules.py"


def trained(name: str, folder: Path, configurations: list[Params], **spec: object):
    task = make_task(model=f"{FILE}:{name}", **spec)
    return task, run_cohort(task, jobs(folder, configurations))


def paths(events: list[object]) -> set[str]:
    return {e.path for e in events if isinstance(e, TrialStarted)}


@pytest.mark.parametrize("name", ["two_layers", "normed", "tied", "tempered", "frozen", "residual"])
def test_ordinary_modules_are_stacked(name: str, tmp_path: Path) -> None:
    _, events = trained(name, tmp_path, per_trial(9))
    assert paths(events) == {"vmap"}


def test_fuse_require_says_why_a_module_cannot_be_fused(tmp_path: Path) -> None:
    expected = rf"^fuse: require, but {FILE}:chooser cannot be fused: its forward takes a number out of a tensor"
    with pytest.raises(TunerError, match=expected):
        trained("chooser", tmp_path, per_trial(9), fuse="require")


def test_fuse_auto_trains_such_a_module_one_by_one_and_logs_why_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        task, events = trained("chooser", tmp_path / "a", per_trial(9))
        run_cohort(task, jobs(tmp_path / "b", per_trial(4)))
    said = [r.getMessage() for r in caplog.records if "one trial at a time" in r.getMessage()]
    assert len(said) == 1
    assert f"{FILE}:chooser" in said[0]
    assert "takes a number out of a tensor" in said[0]
    assert paths(events) == {"plain"}
    assert sum(isinstance(e, TrialFinished) for e in events) == 9


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("scaled", "modules keep different values in scale, which is no parameter or buffer"),
        ("identity_without_dropout", "modules of the same shape key differ in structure, at 1"),
        ("noisy", "its forward draws random numbers itself, from PyTorch's generator"),
        ("transformer", "torch.func has no rule for aten::_scaled_dot_product_flash_attention_for_cpu"),
        ("counting", "its forward changes calls, which is no parameter or buffer"),
        ("reset", "scale changes from epoch to epoch, and is no parameter or buffer"),
        ("counting_outside", "its code changes PASSES, which lies outside the module"),
        ("counting_on_its_class", "its code changes CountingOnItsClass.passes, which lies outside the module"),
        ("local_class", "each module has a class Net of its own, at the top: define it outside the factory"),
    ],
)
def test_the_reason_is_in_words(name: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trained(name, tmp_path / "auto", per_trial(9))
    assert reason in [r.getMessage().partition(": ")[2][: len(reason)] for r in caplog.records]
    with pytest.raises(TunerError, match=r"^fuse: require, but .* cannot be fused"):
        trained(name, tmp_path / "require", per_trial(9), fuse="require")


AUTOGRAD = (
    "its forward takes gradients by torch.autograd, which are those of one trial at a time (torch.func.grad would do)"
)
RECOMPUTES = "it computes a part again for its gradient (torch.utils.checkpoint), which works for one trial at a time"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Recurrent", "torch.func has no rule for recurrent layers"),
        ("Cell", "torch.func has no rule for recurrent layers"),
        ("Scripted", "a part of it is compiled by TorchScript, which torch.func cannot see into"),
        ("Recomputes", RECOMPUTES),
        ("TakesSlopes", AUTOGRAD),
        ("TakesSlopesOfAFunction", AUTOGRAD),
        ("Hooked", "its forward changes the hooks of part, which is no parameter or buffer"),
        (
            "LooksWhereItsValuesLie",
            "its forward cannot be computed for several trials at once, at single_modules.py:{}",
        ),
    ],
)
def test_no_text_and_no_private_name_of_the_librarys_is_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    file = "tests/train/single_modules.py"
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    (place,) = (number for number, line in enumerate(lines, start=1) if "untyped_storage" in line)
    task = make_task(model=f"{file}:{name}")
    (job,) = jobs(tmp_path, [{}])
    assert task.ways.told(task.member(job)) == f"one trial at a time: {reason.format(place)}"


@pytest.mark.parametrize(("name", "path"), [("two_layers", "vmap"), ("chooser", "plain")])
def test_a_module_is_built_once_for_a_trial(
    name: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at, counted and trained, once its kind is known."""
    task, events = trained(name, tmp_path / "first", per_trial(1))
    assert paths(events) == {path}
    seeds: list[int] = []

    def counted(*given: Any, seed: int) -> nn.Module:
        seeds.append(seed)
        return build_module(*given, seed=seed)

    monkeypatch.setattr("tuner.train.task.build_module", counted)
    run_cohort(task, jobs(tmp_path / "then", per_trial(3)))
    assert sorted(seeds) == [1000, 1001, 1002]


def test_modules_whose_numbers_are_those_of_the_default_configuration_are_stacked(tmp_path: Path) -> None:
    """Others, whose like may never come, are trained as written, whoever their neighbours are."""
    _, events = trained("scaled", tmp_path, [{**c, "dropout": 0.3 * (i % 2)} for i, c in enumerate(per_trial(4))])
    started = {e.trial: e.path for e in events if isinstance(e, TrialStarted)}
    assert started == {0: "vmap", 1: "plain", 2: "vmap", 3: "plain"}


def test_whether_a_trial_is_fused_depends_on_its_own_values(tmp_path: Path) -> None:
    """The verdict on one value of a hyperparameter is not that on another, whichever comes first."""
    for first, second in ((False, True), (True, False)):
        task = make_task(model=f"{FILE}:warming")
        for warm, folder in ((first, "first"), (second, "second")):
            events = run_cohort(task, jobs(tmp_path / f"{first}" / folder, [{"warm": warm}]))
            assert paths(events) == {"plain" if warm else "vmap"}


def test_what_is_proven_in_one_size_is_looked_at_in_others_whichever_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Width and batch size are sizes, of which the first is proven; another number of layers is another module."""
    sizes: list[Params] = [
        {"width": 24}, {"batch_size": 16}, {"width": 24, "batch_size": 16}, {"width": 48}, {}, {"num_layers": 2},
    ]  # fmt: skip
    proven: list[tuple[object, bool]] = []

    def looked(members: Sequence[Member], *given: Any, in_size_only: bool, **named: Any) -> str | None:
        values = members[0].settings.model
        proven.append(((values["width"], values["num_layers"], values["batch_size"]), in_size_only))
        return difference_as_rows(members, *given, in_size_only=in_size_only, **named)

    monkeypatch.setattr(structures, "difference_as_rows", looked)
    wide = sizes[3]
    for order in (sizes, sizes[::-1], [wide, *(size for size in sizes if size is not wide)]):
        proven.clear()
        task = make_task(model=f"{FILE}:sized", settings={"width": 8, "num_layers": 1}, batch_size=32)
        told = {job.trial: task.ways.told(task.member(job)) for job in jobs(tmp_path, order)}
        assert "draws random numbers itself" in told.pop(order.index(wide))
        assert set(told.values()) == {Way.TOGETHER.words}
        whole = [num_layers for (width, num_layers, _), in_size_only in proven if not in_size_only and width != 48]
        assert sorted(whole) == [1, 2]
        assert len(proven) == len(order)


def test_what_another_process_has_proven_is_looked_at_in_its_size_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bytes] = []
    proven: list[bool] = []

    def looked(*given: Any, in_size_only: bool, **named: Any) -> str | None:
        proven.append(in_size_only)
        return difference_as_rows(*given, in_size_only=in_size_only, **named)

    monkeypatch.setattr(structures, "difference_as_rows", looked)
    for width in (8, 24):
        task = make_task(model=f"{FILE}:sized", settings={"width": width, "num_layers": 1}, batch_size=32)
        task.ways.structures.tell = told.append
        for found in [*told]:
            task.ways.structures.take(found)
        assert task.ways.told(task.member(jobs(tmp_path, [{}])[0])) == Way.TOGETHER.words
    assert proven == [False, True]
    assert len(told) == 1


def test_what_no_other_process_could_compare_is_not_told(tmp_path: Path) -> None:
    """A value that is known by its identity alone could be another one there."""
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(frozen(iter(())))
    told: list[bytes] = []
    task = make_task(model=f"{FILE}:keeping_a_function")
    task.ways.structures.tell = told.append
    assert task.ways.told(task.member(jobs(tmp_path, [{}])[0])) == Way.TOGETHER.words
    assert not told


@pytest.mark.parametrize(
    "name", ["chooser", "scaled", "noisy", "identity_without_dropout", "frozen", "tied", "tempered", "residual"]
)
def test_a_trial_does_not_feel_its_neighbours(name: str, tmp_path: Path) -> None:
    """Nor what they keep in plain attributes, nor that their structure differs."""
    task, events = trained(name, tmp_path / "together", per_trial(9))
    together = curves(events)
    for job in jobs(tmp_path / "alone", per_trial(9)):
        if job.trial in (0, 3, 8):
            alone = curves(run_cohort(task, [job]))[job.trial]
            assert figures(alone) == figures(together[job.trial])


@pytest.mark.parametrize(
    "name", ["two_layers", "scaled", "noisy", "identity_without_dropout", "tied", "tempered", "residual", "transformer"]
)
def test_training_is_that_of_the_plain_loop(name: str, tmp_path: Path) -> None:
    configurations = [{**c, "learning_rate": 0.001, "dropout": 0.0} for c in per_trial(9)]
    ours = curves(trained(name, tmp_path / "auto", configurations)[1])
    plain = curves(trained(name, tmp_path / "off", configurations, fuse="off")[1])
    for trial, curve in plain.items():
        for a, b in zip(ours[trial], curve, strict=True):
            assert a.dev_loss == pytest.approx(b.dev_loss, rel=1e-4)
            assert a.train_loss == pytest.approx(b.train_loss, rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", "amsgrad", "nadam", "lion"])
@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_frozen_parameters_stay_whatever_is_decayed(optimizer: str, count: int, fuse: str, tmp_path: Path) -> None:
    configurations: list[Params] = [{"weight_decay": 0.1, "l1": 0.01, "learning_rate": 0.01}] * count
    task, _ = trained("frozen", tmp_path, configurations, optimizer=optimizer, fuse=fuse)
    spec = task.spec
    for job in jobs(tmp_path, configurations):
        start = build_module(spec, settings_for(spec, job.params), task.info, seed=job.seed).state_dict()
        end = torch.load(Path(job.folder) / "weights.pt", weights_only=True)
        assert torch.equal(end["1.weight"], start["1.weight"])
        assert torch.equal(end["1.bias"], start["1.bias"])
        assert not torch.equal(end["3.weight"], start["3.weight"])


@pytest.mark.parametrize("name", ["two_layers", "normed", "tied", "tempered"])
def test_the_weights_of_a_stacked_module_load_into_it(name: str, tmp_path: Path) -> None:
    task, events = trained(name, tmp_path, per_trial(9))
    best = max(r.dev_metric for r in curves(events)[4])
    job = jobs(tmp_path, per_trial(9))[4]
    weights = torch.load(Path(job.folder) / "weights.pt", weights_only=True)
    outputs = task.dev_outputs(task.member(job), weights)
    assert float(task.score_dev(outputs.unsqueeze(0)).metric[0]) == pytest.approx(best)


def test_predictions_without_an_axis_for_outputs_are_taken(tmp_path: Path) -> None:
    _, events = trained("flat", tmp_path / "auto", per_trial(9), data=diabetes())
    _, plain = trained("flat", tmp_path / "off", per_trial(9), data=diabetes(), fuse="off")
    for trial, curve in curves(plain).items():
        for a, b in zip(curves(events)[trial], curve, strict=True):
            assert a.dev_loss == pytest.approx(b.dev_loss, rel=1e-4)


def test_the_data_has_what_these_modules_expect() -> None:
    assert digits().info.input_shape == (1, 8, 8)
