"""Noise on weights: normal, keyed, in the gradient alone, and the same in a program and by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erfinv
from scipy.stats import kstest
from torch import Tensor, nn

from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tests.train.trials import plan_of
from tuner.models.keyed import _GOLDEN, key
from tuner.paths import TrialPaths
from tuner.records import Params, TrialJob
from tuner.train.program import Member
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.rows.weight_noise import ModuleNoise, noise_keys

NOISE = 0.05


def member_of(number: int, **spec: object) -> Member:
    params: Params = {"weight_noise": NOISE * (number + 1)}
    job = TrialJob(trial=number, params=params, seed=100 + number, to_epoch=1, folder="/nowhere")
    return make_task(**spec).member(job)


def reference(seed: int, step: int, size: int) -> NDArray[np.float64]:
    """A step's draws for all weights of a network, from the definition, in NumPy and float64."""
    own = np.uint64(key(seed, "weight noise", step) & 0xFFFFFFFF | 1)
    z = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    field = ((z ^ (z >> np.uint64(31))) >> np.uint64(16)) & np.uint64(0xFFFFFFFF) | np.uint64(1)
    product = ((field * own) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
    uniform = ((product >> 8).astype(np.float64) + 0.5) / 2**23
    return np.asarray(np.sqrt(2) * erfinv(uniform))


def noisy_weights(member: Member, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A plain module's weights before and with the noise of a step."""
    module = member.make_module()
    noise = ModuleNoise(member, module)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    noise.add(noise_keys([member], plan_of([member], num_train=300))[step])
    after = {name: p.detach().clone() for name, p in module.named_parameters()}
    noise.remove()
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters())
    return before, after


def test_what_is_drawn_is_normal_and_its_own_in_each_step_and_layer() -> None:
    member = member_of(0, settings={"hidden_units": "[300, 200]"})
    drawn = []
    for step in (0, 1):
        before, after = noisy_weights(member, step)
        assert all(torch.equal(after[n], p) for n, p in before.items() if p.dim() == 1)
        each = [((after[n] - p) / NOISE).flatten() for n, p in before.items() if p.dim() == 2]
        drawn.append(torch.cat(each).double().numpy())
    assert len(drawn[0]) == 64 * 300 + 300 * 200 + 200 * 10
    np.testing.assert_allclose(drawn[1], reference(100, 1, len(drawn[1])), atol=1e-4)
    for found in drawn:
        assert kstest(found, "norm").pvalue > 1e-3
        assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.02


@pytest.mark.slow
def test_rows_have_the_noise_of_the_modules_at_their_own_widths() -> None:
    """Two networks of other widths that share a shape when rounded; what rounding has added stays zero."""
    members = [member_of(0, settings={"hidden_units": 37}), member_of(1, settings={"hidden_units": 41})]
    program = StackedProgram(members, make_task().problem)
    clean = program.p_KP.clone()
    keys = noise_keys(members, plan_of(members, num_train=300))[2]
    program._noise.add(keys)
    for row, member in enumerate(members):
        assert member.network is not None
        _, after = noisy_weights(member, 2)
        for parameter, value in program.layout.unpack(program.p_KP[row], member.network.parameters()).items():
            own = after[f"{parameter.layer}.{parameter.name}"]
            torch.testing.assert_close(value, own.T if own.dim() == 2 else own, rtol=0, atol=1e-7)
    outside = clean == 0.0
    assert outside.sum() > 1000
    assert (program.p_KP[outside] == 0.0).all()
    program._noise.remove()
    assert torch.equal(program.p_KP, clean)


def test_frozen_weights_have_none() -> None:
    for member in (member_of(0, train_last=1), member_of(0, freeze=["1.*", "4.*"])):
        before, after = noisy_weights(member, 0)
        assert [n for n, p in before.items() if not torch.equal(after[n], p)] == ["7.weight"]
        program = StackedProgram([member], make_task().problem)
        clean = program.p_KP.clone()
        program._noise.add(noise_keys([member], plan_of([member], num_train=300))[0])
        moved = {n for p, n in program._names.items()
                 if not torch.equal(program.layout.view(program.p_KP, p), program.layout.view(clean, p))}  # fmt: skip
        assert moved == {"7.weight"}


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_a_step_goes_down_the_gradient_at_the_noisy_weights_and_penalties_are_of_the_clean_ones(
    fuse: str, tmp_path: Path
) -> None:
    rate, l1, decay = 0.1, 0.003, 0.02
    task = make_task(settings={"hidden_layers": 0}, batch_size="full", epochs=1, fuse=fuse)
    params: Params = {"learning_rate": rate, "momentum": 0.0, "weight_noise": 0.2, "l1": l1, "weight_decay": decay}
    (job,) = jobs(tmp_path, [params], to_epoch=1)
    start = {name: p.detach().double() for name, p in task.member(job).make_module().named_parameters()}
    run_cohort(task, [job])
    kept = torch.load(TrialPaths(Path(job.folder)).weights, weights_only=True)
    weight, bias = start["1.weight"], start["1.bias"].requires_grad_()
    noise = 0.2 * torch.from_numpy(reference(job.seed, 0, weight.numel())).view(weight.shape)
    noisy = (weight + noise).requires_grad_()
    data = digits().train
    loss = nn.functional.cross_entropy(data.inputs.flatten(1).double() @ noisy.T + bias, data.targets)
    of_weight, of_bias = torch.autograd.grad(loss, (noisy, bias))
    of_weight = of_weight + l1 * weight.sign() + decay * weight
    torch.testing.assert_close(kept["1.weight"].double(), weight - rate * of_weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(kept["1.bias"].double(), bias.detach() - rate * of_bias, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        {"settings": {"hidden_units": 37, "norm": "batch"}, "clip_norm": 1.0, "l1": 1e-4},
        {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16}, "augment": 0.3},
        {"model": "tests/train/user_modules.py:two_layers", "averaging": "ema"},
    ],
    ids=["mlp", "cnn", "user module"],
)
def test_fused_and_plain_give_the_same_curves_and_a_trial_the_same_bits(
    spec: dict[str, object], tmp_path: Path
) -> None:
    params: list[Params] = [
        {"learning_rate": 0.02 * (1 + i), "weight_noise": 0.02 * (1 + i), "dropout": 0.0} for i in range(4)
    ]
    runs = {}
    for fuse in ("auto", "off"):
        task = make_task(**{**spec, "fuse": fuse})
        runs[fuse] = curves(run_cohort(task, jobs(tmp_path / fuse, params)))
        if fuse == "auto":
            alone = jobs(tmp_path / "alone", params)[2]
            assert figures(curves(run_cohort(task, [alone]))[2]) == figures(runs[fuse][2])
            short = jobs(tmp_path / "resumed", params, to_epoch=1)
            run_cohort(task, short)
            resumed = curves(run_cohort(task, jobs(tmp_path / "resumed", params)[1:3]))
            assert figures(resumed[2]) == figures(runs[fuse][2])
    for trial in range(4):
        for ours, plain in zip(runs["auto"][trial], runs["off"][trial], strict=True):
            assert ours.dev_loss == pytest.approx(plain.dev_loss, rel=1e-3)
    still = curves(run_cohort(make_task(**spec), jobs(tmp_path / "still", [{**params[3], "weight_noise": 0.0}])))
    assert figures(still[0]) != figures(runs["auto"][3])
