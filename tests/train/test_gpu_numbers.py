"""In which precision a GPU computes what is ranked, and that checkpoints go from it to a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.pretend_cuda import MACHINE
from tests.train.cohorts import curves, jobs, make_task, run_cohort
from tests.train.test_gpu import assert_close, slow
from tuner.errors import StudyMismatchError
from tuner.models.exact import LibraryBatchNorm, TrialBatchNorm, TrialGroupNorm, TrialLayerNorm, TrialRMSNorm
from tuner.models.unpacked import load_trained
from tuner.paths import TrialPaths
from tuner.train.device.gpus import without_tf32
from tuner.train.loop.member import Run

pytestmark = pytest.mark.gpu

NORMED = "tests/train/user_modules.py:normed"


@pytest.mark.parametrize("model", ["mlp", pytest.param(NORMED, marks=pytest.mark.slow)])
def test_bfloat16_is_ranked_by_its_stored_weights_in_float32(gpu: str, model: str, tmp_path: Path) -> None:
    task = make_task(device=gpu, model=model, precision="bf16", batch_size=100, epochs=1)
    members = jobs(tmp_path, [{"learning_rate": 0.1}] * 2, to_epoch=1)
    ranked = curves(run_cohort(task, members))
    for job in members:
        module = task.member(job).make_module().eval()
        load_trained(module, torch.load(TrialPaths(Path(job.folder)).weights, weights_only=True))
        with torch.no_grad():
            outputs = module(make_task().data.dev.inputs)
        loss = nn.functional.cross_entropy(outputs, make_task().data.dev.targets)
        assert ranked[job.trial][-1].dev_loss == pytest.approx(float(loss), rel=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("norm", [TrialBatchNorm(4), TrialLayerNorm(4), TrialGroupNorm(2, 4), TrialRMSNorm(4)])
def test_exact_norms_of_half_numbers_are_computed_in_float32(norm: nn.Module) -> None:
    x = (4.0 + torch.randn(64, 4)).bfloat16()
    torch.testing.assert_close(norm(x).float(), norm(x.float()), rtol=0.0, atol=2e-2)
    library = {TrialBatchNorm: nn.BatchNorm1d, TrialLayerNorm: nn.LayerNorm, TrialGroupNorm: nn.GroupNorm}
    if (own := library.get(type(norm))) is not None:
        args = (2, 4) if own is nn.GroupNorm else (4,)
        expected = own(*args)(x.float())
        assert float((norm(x).float() - expected).abs().max()) < 0.01  # of which means in bfloat16 miss it by 0.02
    if isinstance(norm, TrialBatchNorm):
        assert norm.running_mean is not None
        fresh = TrialBatchNorm(4)
        fresh(x)
        torch.testing.assert_close(fresh.running_mean, 0.1 * x.float().mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_rows_keep_the_librarys_layers_on_a_gpu(gpu: str, tmp_path: Path) -> None:
    """Which are one kernel each; exact ones take ten, for bits that only a CPU promises."""
    launches = {}
    for device in (gpu, "cpu"):
        task = make_task(device=device, model=NORMED)
        runs = [Run.of(job, task) for job in jobs(tmp_path, slow(3))]
        program = task.program([run.member for run in runs])
        assert program.path(0) == "vmap"
        (stack,) = program._programs.values()  # type: ignore[attr-defined]
        launches[device] = {type(part) for part in stack.modules[0].modules()}
    assert nn.BatchNorm1d in launches[gpu]
    assert TrialBatchNorm in launches["cpu"]


@pytest.mark.slow
def test_rows_of_built_in_networks_have_them_too(gpu: str, tmp_path: Path) -> None:
    """And train as a CPU does, whose layers are exact."""
    model, settings = "conv1d", {"channels": 4, "norm": "batch"}
    task = make_task(device=gpu, model=model, settings=settings, batch_size=100)
    members = jobs(tmp_path / "gpu", slow(2))
    program = task.program([task.member(job) for job in members])
    assert program.path(0) == "vmap"
    (stack,) = program._programs.values()  # type: ignore[attr-defined]
    assert {LibraryBatchNorm, nn.Linear} <= {type(part) for part in stack.modules[0].modules()}
    found = curves(run_cohort(task, members))
    expected = curves(run_cohort(make_task(model=model, settings=settings, batch_size=100), jobs(tmp_path, slow(2))))
    for trial in range(2):
        assert_close(found[trial], expected[trial], rel=1e-5)


@pytest.fixture
def tf32_as_it_was() -> Iterator[None]:
    with without_tf32():
        yield


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_products_round_to_tf32_where_the_file_says_so_alone(
    gpu: str, precision: str, allowed: bool, tf32_as_it_was: None
) -> None:
    for before in (True, False):  # as a container's environment, or a user's module, may have set it
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = before
        task = make_task(device=gpu, precision=precision)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed
    assert task.problem.half is (precision == "bf16")


def test_tf32_has_no_effect_elsewhere(caplog: pytest.LogCaptureFixture, tf32_as_it_was: None) -> None:
    make_task(precision="tf32")
    assert "training.precision: tf32 has no effect on cpu; training in float32" in caplog.text
    assert torch.backends.cuda.matmul.allow_tf32 is False


OPTIMIZERS: Mapping[str, str] = {"state by parameter": "lbfgs_like", "tensors in groups": "keeping"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("from_gpu", [True, False])
def test_users_optimisers_move_between_devices(gpu: str, name: str, from_gpu: bool, tmp_path: Path) -> None:
    first, then = (gpu, "cpu") if from_gpu else ("cpu", gpu)
    parts = {"optimizer": f"tests/train/user_parts.py:{OPTIMIZERS[name]}", "batch_size": 100}
    run_cohort(make_task(device=first, **parts), jobs(tmp_path / "moved", slow(2), to_epoch=1))
    kept = torch.load(_body(tmp_path / "moved" / "0000"), weights_only=True)["state"]
    (text,) = (tensor for key, tensor in kept.items() if key.startswith("optimizer.whole"))
    (tmp_path / "state").write_bytes(text.numpy().tobytes())
    state = torch.load(tmp_path / "state", weights_only=True)
    held = [t for values in state["state"].values() for t in values.values() if isinstance(t, torch.Tensor)]
    assert held
    assert {MACHINE.of(t).type for t in held} == {"cpu"}
    moved = curves(run_cohort(make_task(device=then, **parts), jobs(tmp_path / "moved", slow(2))))
    whole = curves(run_cohort(make_task(**parts), jobs(tmp_path / "whole", slow(2))))
    for trial in range(2):
        assert_close(moved[trial], whole[trial], rel=1e-5)


def _body(folder: Path) -> Path:
    """A checkpoint without its first line."""
    body = folder / "body"
    body.write_bytes(TrialPaths(folder).checkpoint.read_bytes().partition(b"\n")[2])
    return body


def test_another_optimiser_is_what_a_checkpoint_does_not_fit(tmp_path: Path) -> None:
    configurations = slow(1)
    run_cohort(make_task(optimizer="tests/train/user_parts.py:lbfgs_like"), jobs(tmp_path, configurations, to_epoch=1))
    with pytest.raises(
        StudyMismatchError, match=r"does not fit tests/train/user_parts.py:sgd, which must have changed"
    ):
        run_cohort(make_task(optimizer="tests/train/user_parts.py:sgd"), jobs(tmp_path, configurations))
