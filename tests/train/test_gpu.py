"""Training on CUDA: the CPU's curves, the same alone and in a cohort, and what only a GPU has.

Without a GPU all of it runs on a pretended one: see `tests/pretend_cuda`.
"""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from tests.pretend_cuda import HAS_GPU
from tests.train.cohorts import curves, diabetes, digits, jobs, labelled_digits, make_task, run_cohort
from tests.train.test_exactness import TWO_LAYERS, per_trial
from tuner.execute.runner import CohortRunner
from tuner.paths import TrialPaths
from tuner.records import EpochResult, Params, TrialFinished, TrialStarted
from tuner.train.replay.cuda_graph import GraphedOperations
from tuner.train.task import Task

pytestmark = pytest.mark.gpu

CASES: Mapping[str, Mapping[str, object]] = {
    "mlp": {},
    "mlp, nesterov, clipped, l1": {"nesterov": True, "clip_norm": 1.0, "l1": 1e-5},
    "mlp, augmented, soft labels": {"augment": 0.5, "augment_noise": True, "mixup": 0.2, "label_smoothing": 0.1},
    "mlp, max norm, ema": {"max_norm": 0.7, "averaging": "ema", "input_dropout": 0.1},
    "mlp, batch norm": {"settings": {"norm": "batch"}},
    "mlp, odd shapes": {"settings": {"hidden_units": 37}, "batch_size": 41},
    "mlp, sigmoid": {"settings": {"hidden_units": 20, "activation": "sigmoid"}},
    "regression": {"data": diabetes()},
    "mlp, layer norm, residual": {
        "settings": {"hidden_units": 37, "hidden_layers": 3, "norm": "layer", "residual": True}
    },
    "mlp, swa, one cycle": {"averaging": "swa", "swa_start": 0.3, "schedule": "one_cycle"},
    "mlp, thawing": {"settings": {"norm": "batch"}, "unfreeze_every_epochs": 1, "body_learning_rate_factor": 0.3},
    "cnn": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "batch"}},
    "cnn, frozen": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "batch"}, "train_last": 2},
    "resnet": {"model": "resnet", "settings": {"channels": 4}},
    "conv1d": {"model": "conv1d", "settings": {"channels": 4}},
    "gru": {"model": "recurrent", "settings": {"hidden_units": 8, "hidden_layers": 2, "bidirectional": True}},
    "lstm": {"model": "recurrent", "settings": {"hidden_units": 8, "cell": "lstm"}},
    "transformer": {"model": "transformer", "settings": {"heads": 2, "units_per_head": 4, "hidden_layers": 1}},
    "labels": {"data": labelled_digits(), "batch_size": 41},
    "users' module": {"model": TWO_LAYERS},
    "users' module, batch norm": {"model": "tests/train/user_modules.py:normed"},
    "plain loop": {"fuse": "off"},
}
FEW = digits(140, 60)
"""Two whole batches and a rest: each call is dear on the pretended machine."""
SMOKE = ("mlp", "users' module", "plain loop")


def in_depth(names: Iterable[str], *, but: Iterable[str] = ()) -> list[ParameterSet]:
    """Cases for `make deep`, and a few that every run of the tests has."""
    return [pytest.param(n, marks=pytest.mark.slow if n in but else pytest.mark.deep) for n in names]


def small_task(gpu: str, **spec: object) -> Task:
    return make_task(**{"data": FEW, "device": gpu, **spec})  # type: ignore[arg-type]


def slow(count: int) -> list[Params]:
    """Configurations that differ in all vectors, at rates so small that rounding is not amplified."""
    return [{**c, "learning_rate": 0.2 * float(c["learning_rate"])} for c in per_trial(count)]


def assert_close(ours: Sequence[EpochResult], theirs: Sequence[EpochResult], *, rel: float) -> None:
    assert [r.epoch for r in ours] == [r.epoch for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=rel)
        assert a.dev_loss == pytest.approx(b.dev_loss, rel=rel)


@pytest.mark.slow
@pytest.mark.parametrize("name", in_depth(CASES, but=SMOKE))
def test_curves_are_those_of_the_cpu(gpu: str, name: str, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", gpu):
        events = run_cohort(small_task(device, **CASES[name]), jobs(tmp_path / device, slow(3)))
        assert {e.device for e in events if isinstance(e, TrialStarted)} == {device}
        found[device] = curves(events)
    for trial in range(3):
        assert_close(found[gpu][trial], found["cpu"][trial], rel=1e-4)


@pytest.mark.parametrize("optimizer", in_depth(["rmsprop", "adam", "adamw", "amsgrad", "nadam", "lion"]))
def test_adaptive_optimisers_too(gpu: str, optimizer: str, tmp_path: Path) -> None:
    rate = 0.00002 if optimizer == "lion" else 0.0005  # whose steps are all of one length, whatever rounding turned
    configurations: list[Params] = [{"learning_rate": rate * (1 + i), "dropout": 0.2} for i in range(3)]
    found = {}
    for device in ("cpu", gpu):
        task = small_task(device, optimizer=optimizer)
        found[device] = curves(run_cohort(task, jobs(tmp_path / device, configurations)))
    for trial in range(3):
        assert_close(found[gpu][trial], found["cpu"][trial], rel=1e-3)


@pytest.mark.parametrize("name", in_depth(CASES))
def test_a_trial_alone_in_a_cohort_and_resumed_gives_the_same_curve(gpu: str, name: str, tmp_path: Path) -> None:
    task = small_task(gpu, **CASES[name])
    together = curves(run_cohort(task, jobs(tmp_path / "together", slow(4), to_epoch=2)))
    alone = jobs(tmp_path / "alone", slow(4), to_epoch=1)[1]
    assert_close(curves(run_cohort(task, [alone]))[1], together[1][:1], rel=1e-5)
    (going_on,) = jobs(tmp_path / "alone", slow(4), to_epoch=2)[1:2]
    assert_close(curves(run_cohort(task, [going_on]))[1], together[1], rel=1e-5)


@pytest.mark.deep
def test_a_replayed_graph_computes_what_its_operations_do(
    gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number, spec in enumerate(({}, {"settings": {"norm": "batch"}, "optimizer": "adam"}, CASES["cnn"])):
        task = small_task(gpu, **spec)
        graphed = curves(run_cohort(task, jobs(tmp_path / f"graphed {number}", slow(4))))
        with monkeypatch.context() as patch:
            patch.setattr(GraphedOperations, "__call__", lambda step: step._operations())
            eager = curves(run_cohort(task, jobs(tmp_path / f"eager {number}", slow(3))))
        for trial in range(3):
            assert_close(graphed[trial], eager[trial], rel=1e-5)


@pytest.mark.slow
def test_the_capture_of_a_graph_is_no_step(gpu: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its warm-up runs change nothing that stays, running statistics included."""
    captures = []
    capture = GraphedOperations._capture

    def counted(step: GraphedOperations) -> torch.cuda.CUDAGraph:
        before = [t.clone() for t in step._state]
        graph = capture(step)
        captures.append(all(torch.equal(a, b) for a, b in zip(before, step._state, strict=True)))
        return graph

    monkeypatch.setattr(GraphedOperations, "_capture", counted)
    task = make_task(device=gpu, settings={"norm": "batch"}, optimizer="adam", batch_size=64)
    run_cohort(task, jobs(tmp_path, slow(3)))
    assert captures == [True, True]  # one for whole batches, one for the last


@pytest.mark.deep
@pytest.mark.parametrize("model", ["mlp", "cnn", TWO_LAYERS])
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_bfloat16_trains_and_leaves_float32_weights(gpu: str, model: str, fuse: str, tmp_path: Path) -> None:
    settings = {"channels": 4} if model == "cnn" else {}
    losses = {}
    for precision in ("float32", "bf16"):
        task = small_task(gpu, model=model, settings=settings, fuse=fuse, precision=precision, batch_size=32)
        # At a rate so small that rounding is not amplified from step to step.
        members = jobs(tmp_path / precision, [{"learning_rate": 0.01, "dropout": 0.1}] * 3)
        losses[precision] = curves(run_cohort(task, members))[0][-1].train_loss
        weights = torch.load(TrialPaths(Path(members[0].folder)).weights, weights_only=True)
        assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}
    assert losses["bf16"] != losses["float32"]
    assert losses["bf16"] == pytest.approx(losses["float32"], rel=0.05)


@pytest.mark.slow
def test_checkpoints_of_a_gpu_go_on_on_a_cpu(gpu: str, tmp_path: Path) -> None:
    run_cohort(small_task(gpu), jobs(tmp_path / "moved", slow(3), to_epoch=1))
    moved = curves(run_cohort(small_task("cpu"), jobs(tmp_path / "moved", slow(3))))
    whole = curves(run_cohort(small_task("cpu"), jobs(tmp_path / "whole", slow(3))))
    for trial in range(3):
        assert_close(moved[trial], whole[trial], rel=1e-4)


@pytest.mark.slow
def test_a_cohort_that_does_not_fit_goes_on_in_halves(
    gpu: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    units = 2048 if HAS_GPU else 128
    task = make_task(device=gpu, settings={"hidden_units": units, "hidden_layers": 3}, epochs=1, optimizer="adam")
    configurations: list[Params] = [{"learning_rate": 1e-4}] * 16

    def train(folder: str, count: int) -> list[object]:
        runner = CohortRunner(task, worker="test", too_wide=lambda width: None)
        members = jobs(tmp_path / folder, configurations[:count], to_epoch=1)
        return [event for events in runner.train(members) for event in events]

    gc.collect()  # what was left in cycles would be measured with it, and be gone afterwards
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(gpu)
    train("measured", 4)
    peak = torch.cuda.max_memory_reserved(gpu)
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * peak / whole), gpu)
    try:
        with caplog.at_level(logging.WARNING):
            events = train("all", 16)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, gpu)
    assert sorted(e.trial for e in events if isinstance(e, TrialFinished)) == list(range(16))
    assert "a cohort of 16 ended with OutOfMemoryError" in caplog.text
    sizes = [int(size) for size in re.findall(r"its trials go on (\d+) at a time", caplog.text)]
    assert len(sizes) == 1, "as many as were measured to fit are tried, and fit"
    assert sizes[0] < 16


def test_the_data_lies_on_the_device(gpu: str) -> None:
    task = make_task(digits(), device=gpu)
    assert task.data.train.inputs.is_cuda
    assert task.data.dev.targets.is_cuda
