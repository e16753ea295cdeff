"""Losses: a cohort's sum has for each trial the gradient of its own mean loss."""

from __future__ import annotations

import pytest
import torch

from tuner.train.measure.losses import mean_loss, sum_of_mean_losses


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse"])
@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("outputs", [1, 3, 10])
def test_the_gradient_of_each_trial_is_that_of_its_own_loss(loss: str, batch: int, outputs: int) -> None:
    draw = torch.Generator().manual_seed(0)
    z = (3 * torch.randn(5, batch, outputs, generator=draw)).requires_grad_()
    y = torch.randn(5, batch, outputs, generator=draw)
    y = (y > 0).float() if loss == "binary_cross_entropy" else y
    targets = torch.randint(outputs, (5, batch), generator=draw) if loss == "cross_entropy" else y
    total = sum_of_mean_losses(z, targets, loss=loss)
    (together,) = torch.autograd.grad(total, z)
    alone = [mean_loss(z[k], targets[k], loss=loss) for k in range(5)]
    assert float(total.detach()) == pytest.approx(sum(float(value.detach()) for value in alone), rel=1e-5)
    for k in range(5):
        (own,) = torch.autograd.grad(alone[k], z, retain_graph=True)
        assert torch.equal(own[k], together[k])
