"""Users' layers that round alike alone and stacked: the library's function, and the same bits at any width."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tuner.models.exact import TrialBatchNorm, TrialLinear, make_exact


def twins(layer: nn.Module, exact: nn.Module) -> tuple[nn.Module, nn.Module]:
    exact.load_state_dict(layer.state_dict())
    make_exact(exact)
    return layer, exact


def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    layer(x).square().sum().backward()
    return [t.grad for t in (x, *layer.parameters()) if t.grad is not None]


@pytest.mark.parametrize("outputs", [1, 3, 15, 16, 24])
@pytest.mark.parametrize("shape", [(7, 12), (5, 4, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_the_librarys(outputs: int, shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain, exact = twins(nn.Linear(12, outputs, bias=bias), nn.Linear(12, outputs, bias=bias))
    assert isinstance(exact, TrialLinear)
    x = torch.randn(shape)
    torch.testing.assert_close(exact(x), plain(x), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(gradients(exact, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


NORMS = {
    "1d": (nn.BatchNorm1d, (9, 5)),
    "1d, sequences": (nn.BatchNorm1d, (9, 5, 4)),
    "2d": (nn.BatchNorm2d, (6, 5, 4, 3)),
    "3d": (nn.BatchNorm3d, (4, 5, 2, 3, 2)),
}
OPTIONS = {
    "usual": {},
    "no weights": {"affine": False},
    "no statistics": {"track_running_stats": False},
    "own momentum and eps": {"momentum": 0.3, "eps": 1e-3},
}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("option", OPTIONS)
def test_batch_norm_is_the_librarys(kind: str, option: str) -> None:
    make, shape = NORMS[kind]
    torch.manual_seed(0)
    plain, exact = twins(make(5, **OPTIONS[option]), make(5, **OPTIONS[option]))
    assert isinstance(exact, TrialBatchNorm)
    for step in range(4):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(step)) * 3 + 1
        for ours, theirs in zip(gradients(exact, x), gradients(plain, x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for name in ("running_mean", "running_var"):
        ours, theirs = getattr(exact, name), getattr(plain, name)
        if theirs is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    exact.eval(), plain.eval()
    torch.testing.assert_close(exact(x), plain(x), rtol=1e-5, atol=1e-5)


PER_EXAMPLE = {
    "layer": (nn.LayerNorm, (6,), (9, 6), {}),
    "layer, several axes": (nn.LayerNorm, ((4, 6),), (9, 3, 4, 6), {"eps": 1e-3}),
    "layer, no weights": (nn.LayerNorm, (6,), (9, 2, 6), {"elementwise_affine": False}),
    "layer, no bias": (nn.LayerNorm, (6,), (9, 6), {"bias": False}),
    "group": (nn.GroupNorm, (2, 6), (9, 6), {}),
    "group, images": (nn.GroupNorm, (3, 6), (5, 6, 4, 3), {"eps": 1e-3}),
    "group, no weights": (nn.GroupNorm, (2, 6), (9, 6, 4), {"affine": False}),
    "root mean square": (nn.RMSNorm, (6,), (9, 6), {}),
    "root mean square, own eps": (nn.RMSNorm, ((4, 6),), (9, 4, 6), {"eps": 1e-3, "elementwise_affine": False}),
}


@pytest.mark.parametrize("kind", PER_EXAMPLE)
def test_norms_over_an_example_are_the_librarys(kind: str) -> None:
    make, sizes, shape, options = PER_EXAMPLE[kind]
    torch.manual_seed(0)
    plain, exact = make(*sizes, **options), make(*sizes, **options)
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    plain, exact = twins(plain, exact)
    assert type(exact) is not make
    x = 3 * torch.randn(shape) + 1
    torch.testing.assert_close(exact(x), plain(x), rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients(exact, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_the_cumulative_average_is_left_to_the_library() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3, momentum=None))
    make_exact(module)
    assert type(module[0]) is nn.BatchNorm1d


def test_users_own_subclasses_are_left_alone() -> None:
    class Doubling(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    module = nn.Sequential(Doubling(3, 3))
    make_exact(module)
    assert type(module[0]) is Doubling


def test_a_trial_has_the_same_bits_at_any_width() -> None:
    def network() -> nn.Module:
        made = nn.Sequential(
            nn.Linear(20, 33), nn.BatchNorm1d(33), nn.ReLU(), nn.LayerNorm(33), nn.GroupNorm(3, 33), nn.RMSNorm(33),
            nn.Linear(33, 1),
        )  # fmt: skip
        make_exact(made)
        return made

    torch.manual_seed(0)
    modules = [network() for _ in range(9)]
    x = torch.randn(9, 17, 20)

    def step(rows: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Outputs and gradients of these trials, stacked."""
        chosen = [modules[row] for row in rows]
        parameters = {
            name: torch.stack([dict(m.named_parameters())[name].detach() for m in chosen]).requires_grad_()
            for name, _ in chosen[0].named_parameters()
        }
        buffers = {
            name: torch.stack([dict(m.named_buffers())[name] for m in chosen]) for name, _ in chosen[0].named_buffers()
        }
        outputs = vmap(lambda p, b, inputs: functional_call(chosen[0], (p, b), (inputs,)))(parameters, buffers, x[rows])
        outputs.square().sum().backward()
        return outputs, [p.grad for p in parameters.values() if p.grad is not None]

    whole, whole_grads = step(list(range(9)))
    for rows in ([4], [2, 7], [0, 1, 2, 3, 8]):
        found, grads = step(rows)
        assert torch.equal(found, whole[rows])
        for ours, theirs in zip(grads, whole_grads, strict=True):
            assert torch.equal(ours, theirs[rows])
